"""Events that are taken from the connection get the answers that they get through ASGI."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from dimse_ingestion.catalogue.event_receiver import EventReceiver
from dimse_ingestion.catalogue.group_commit import GroupCommit
from dimse_ingestion.catalogue.record import Outcome
from dimse_ingestion.catalogue.request_body import BodyReader
from dimse_ingestion.events.batch_codec import BATCH_TYPE, encode_batch
from dimse_ingestion.events.cloudevents import CONTENT_TYPE, encode
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.observability import tracing
from dimse_ingestion.observability.short_requests import Headers
from tests.instances import event

SINGLE = [(b"content-type", CONTENT_TYPE.encode())]
BATCH = [(b"content-type", BATCH_TYPE.encode())]
MOST = 100_000


class Catalogue:
    """A receiver whose commits refuse events with "bad" in their name, and fail with "down"."""

    def __init__(self) -> None:
        self.group = GroupCommit(self.commit, 10)
        self.problem = ""
        self.body_reader = BodyReader(MOST, MOST)
        self.receiver = EventReceiver(
            self.group, self.body_reader, lambda: self.problem, lambda sent: sent == "Bearer right"
        )

    def commit(self, events: Sequence[ImageStoredEvent]) -> list[Outcome]:
        if any("down" in each.id for each in events):
            raise Unavailable("The disk is full.")
        return [ValueError("It has no study.") if "bad" in each.id else "new" for each in events]

    async def take(self, headers: Headers, body: bytes) -> Response | None:
        """Return the answer to a request that the receiver has taken, None if it takes it not."""
        answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        assert self.receiver.hold(len(body))
        if not self.receiver.take(headers, body, answered.set_result):
            self.receiver.release(len(body))
            return None
        return await answered

    async def receive(self, headers: Headers, body: bytes) -> Response:
        """Return the answer to a request through ASGI."""
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            return next(messages)

        scope = {"type": "http", "method": "POST", "headers": headers}
        return await self.receiver.receive(Request(scope, receive))


@asynccontextmanager
async def running() -> AsyncIterator[Catalogue]:
    catalogue = Catalogue()
    commits = asyncio.create_task(catalogue.group.run())
    async with asyncio.timeout(20):
        yield catalogue
    commits.cancel()
    await asyncio.gather(commits, return_exceptions=True)
    assert catalogue.receiver.hold(MOST)  # nothing is held any longer


TOKEN = (b"authorization", b"Bearer right")


@pytest.mark.parametrize(
    ("headers", "body", "status", "content"),
    [
        (SINGLE, encode(event("a")), 202, b""),
        (SINGLE, encode(event("bad")), 422, b"It has no study."),
        (SINGLE, encode(event("down")), 503, b"The disk is full."),
        (SINGLE, b"{}", 400, b"This is not an ImageStoredEvent"),
        (SINGLE, b"", 400, b"malformed JSON"),
        ([], encode(event("a")), 400, b"as headers"),
        (BATCH, encode_batch([encode(event("a")), encode(event("bad"))]), 200, b'"status":422'),
        (BATCH, encode_batch([encode(event("a")), b"{}"]), 200, b'"status":400'),
        (BATCH, encode_batch([encode(event("down"))]), 200, b'"status":503'),
        (BATCH, b"[]", 200, b'{"results":[]}'),
        (BATCH, b"{}", 400, b"This is not a batch of events"),
    ],
)
async def test_both_ways_give_the_same_answer(
    headers: list[tuple[bytes, bytes]], body: bytes, status: int, content: bytes
) -> None:
    async with running() as catalogue:
        taken = await catalogue.take([*headers, TOKEN], body)
        received = await catalogue.receive(headers, body)
        assert taken
        assert content in bytes(taken.body)
        assert (
            (taken.status_code, taken.body, taken.raw_headers)
            == (received.status_code, received.body, received.raw_headers)
            == (status, taken.body, taken.raw_headers)
        )


async def test_while_there_is_no_database_events_fail_for_now() -> None:
    async with running() as catalogue:
        catalogue.problem = "The database was not reached yet."
        for answer in (
            await catalogue.take([*SINGLE, TOKEN], encode(event("a"))),
            await catalogue.receive(SINGLE, encode(event("a"))),
        ):
            assert answer
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    "headers", [[], [(b"authorization", b"Bearer wrong")], [(b"authorization", b"wrong"), TOKEN]]
)
async def test_a_request_without_the_token_is_left_to_the_middleware(
    headers: list[tuple[bytes, bytes]],
) -> None:
    async with running() as catalogue:
        assert await catalogue.take([*SINGLE, *headers], encode(event("a"))) is None


async def test_a_request_is_left_to_asgi_when_spans_are_exported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "is_exporting", lambda: True)
    async with running() as catalogue:
        assert await catalogue.take([*SINGLE, TOKEN], encode(event("a"))) is None


async def test_bodies_that_are_too_much_are_not_held() -> None:
    async with running() as catalogue:
        assert not catalogue.receiver.hold(MOST + 1)
        assert catalogue.receiver.hold(MOST)
        assert not catalogue.receiver.hold(1)
        catalogue.receiver.release(MOST)

"""The sink's client against a real HTTP server with given answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.events.cloudevents import decode
from dimse_ingestion.events.http_sink import HttpSink
from dimse_ingestion.observability import tracing
from dimse_ingestion.observability.http_server import serve
from tests.unit.events.examples import event

if TYPE_CHECKING:
    from dimse_ingestion.events.contract import ImageStoredEvent

REFUSED = (Status.PROCESSING_FAILURE, False)
TRANSIENT = (Status.OUT_OF_RESOURCES, True)


class Sink:
    """Answers `status` to events once `open` is set, and remembers them."""

    def __init__(self) -> None:
        self.status = 202
        self.open = asyncio.Event()
        self.open.set()
        self.events: list[ImageStoredEvent] = []
        self.headers: list[dict[str, str]] = []
        self.peers: set[object] = set()
        self.app = Starlette(routes=[Route("/events", self.take, methods=["POST"])])

    async def take(self, request: Request) -> Response:
        headers = dict(request.headers)
        self.events.append(decode(headers, await request.body()))
        self.headers.append(headers)
        self.peers.add(request.client)
        await self.open.wait()
        return Response(status_code=self.status, headers={"location": "/elsewhere"})


@asynccontextmanager
async def client_of(app: Starlette, **options: float) -> AsyncIterator[HttpSink]:
    async with serve(app, "127.0.0.1", 0) as port:
        client = HttpSink(f"http://127.0.0.1:{port}/events", **options)
        try:
            yield client
        finally:
            await client.close()


async def failure(client: HttpSink) -> DimseFailure:
    with pytest.raises(DimseFailure) as raised:
        await client.accept(event())
    return raised.value


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_a_2xx_is_acceptance(status: int) -> None:
    sink = Sink()
    sink.status = status
    async with client_of(sink.app) as client:
        await client.accept(event())
    assert sink.events == [event()]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, REFUSED),
        (401, TRANSIENT),
        (404, REFUSED),
        (413, REFUSED),
        (422, REFUSED),
        (307, REFUSED),
        (408, TRANSIENT),
        (425, TRANSIENT),
        (429, TRANSIENT),
        (500, TRANSIENT),
        (502, TRANSIENT),
        (503, TRANSIENT),
        (504, TRANSIENT),
    ],
)
async def test_no_other_status_is_acceptance(status: int, kind: tuple[Status, bool]) -> None:
    sink = Sink()
    sink.status = status
    async with client_of(sink.app) as client:
        failed_with = await failure(client)
    assert (failed_with.status, failed_with.transient) == kind
    cures = ("correct K_SINK", "set DIMSE_CATALOGUE_TOKEN")
    assert any(each in failed_with.comment for each in (str(status), *cures))
    assert len(sink.events) == 1


async def test_a_sink_that_is_not_reached_has_a_sentence_that_says_what_to_do() -> None:
    for url in ("http://127.0.0.1:1/events", "http://nowhere.invalid/", "http://["):
        client = HttpSink(url)
        failed_with = await failure(client)
        assert (failed_with.status, failed_with.transient) == TRANSIENT
        assert "start it or correct K_SINK" in failed_with.comment
        with pytest.raises(DimseFailure, match="correct K_SINK"):
            await client.check()
        await client.close()


async def test_a_silent_sink_times_out() -> None:
    sink = Sink()
    sink.open.clear()
    async with client_of(sink.app, timeout=0.2) as client:
        failed_with = await failure(client)
        sink.open.set()
    assert (failed_with.status, failed_with.transient) == TRANSIENT
    assert "no answer in 0.2 s" in failed_with.comment


async def test_connections_are_used_again() -> None:
    sink = Sink()
    async with client_of(sink.app) as client:
        for _ in range(20):
            await client.accept(event())
    assert len(sink.events) == 20
    assert len(sink.peers) == 1


async def test_many_at_once_all_arrive() -> None:
    sink = Sink()
    async with client_of(sink.app) as client:
        await asyncio.gather(*(client.accept(event(str(number))) for number in range(200)))
    assert {each.id for each in sink.events} == {str(number) for number in range(200)}


async def test_a_connection_that_the_sink_dropped_is_made_again() -> None:
    dropped: list[bytes] = []

    async def drop_the_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if len(dropped) > 0:
            writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
        dropped.append(head)
        writer.close()

    async with await asyncio.start_server(drop_the_first, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = HttpSink(f"http://127.0.0.1:{port}/events")
        await client.accept(event())
        await client.close()
    assert len(dropped) == 2


async def test_the_trace_context_is_sent() -> None:
    tracing.configure("tests")
    sink = Sink()
    async with client_of(sink.app) as client:
        await client.accept(event())
        with tracing.span("outer"):
            current = tracing.traceparent()
            await client.accept(event())
    assert [each["traceparent"] for each in sink.headers] == [event().traceparent, current]


async def test_the_check_asks_for_no_more_than_an_answer() -> None:
    sink = Sink()
    async with client_of(sink.app) as client:
        await client.check()
    assert sink.events == []


async def test_the_check_fails_when_the_sink_is_not_ready() -> None:
    async def unready(_: Request) -> Response:
        return Response(status_code=503)

    async with client_of(Starlette(routes=[Route("/events", unready, methods=["OPTIONS"])])) as it:
        with pytest.raises(DimseFailure, match="HTTP 503"):
            await it.check()


@asynccontextmanager
async def check_of(app: Starlette, path: str = "/events") -> AsyncIterator[HttpSink]:
    async with serve(app, "127.0.0.1", 0) as port:
        client = HttpSink(f"http://127.0.0.1:{port}{path}")
        yield client
        await client.close()


@pytest.mark.parametrize("path", ["/", "/event", "/events/x"])
async def test_the_check_finds_a_wrong_path(path: str) -> None:
    async with check_of(Sink().app, path) as client:
        with pytest.raises(DimseFailure, match="takes no events at this path") as raised:
            await client.check()
    assert raised.value.status == Status.PROCESSING_FAILURE
    assert "correct K_SINK" in raised.value.comment


class Foreign:
    """A sink that answers `options` to OPTIONS and `post` to what is no event."""

    def __init__(self, options: int, post: int, allow: str = "") -> None:
        self.options, self.post, self.allow = options, post, allow
        self.requests: list[tuple[str, bytes]] = []
        self.app = Starlette(
            routes=[Route("/events", self.answer, methods=["OPTIONS", "POST", "GET"])]
        )

    async def answer(self, request: Request) -> Response:
        self.requests.append((request.method, await request.body()))
        status = self.options if request.method == "OPTIONS" else self.post
        headers = {"allow": self.allow} if self.allow and request.method == "OPTIONS" else {}
        return Response(status_code=status, headers=headers)


@pytest.mark.parametrize(
    ("options", "allow", "post", "methods"),
    [
        (200, "POST, OPTIONS", 500, ["OPTIONS"]),
        (204, "options, post", 500, ["OPTIONS"]),
        (405, "POST", 500, ["OPTIONS"]),
        (200, "", 400, ["OPTIONS", "POST", "OPTIONS"]),
        (404, "", 400, ["OPTIONS", "POST", "OPTIONS"]),
        (405, "", 415, ["OPTIONS", "POST", "OPTIONS"]),
        (403, "", 422, ["OPTIONS", "POST", "OPTIONS"]),
        (501, "", 202, ["OPTIONS", "POST", "OPTIONS"]),
    ],
)
async def test_a_foreign_sink_is_proved_without_an_event(
    options: int, allow: str, post: int, methods: list[str]
) -> None:
    sink = Foreign(options, post, allow)
    async with check_of(sink.app) as client:
        await client.check()
        if len(methods) > 1:
            await client.check()
    assert [method for method, _ in sink.requests] == methods
    assert {body for _, body in sink.requests} == {b""}


@pytest.mark.parametrize(
    ("options", "allow", "post", "expected"),
    [
        (405, "GET, HEAD", 400, "at this path .HTTP 405."),
        (405, "", 405, "at this path .HTTP 405."),
        (200, "", 404, "at this path .HTTP 404."),
        (404, "", 410, "at this path .HTTP 410."),
        (403, "", 403, "HTTP 403"),
        (200, "", 503, "HTTP 503"),
        (307, "", 202, "at this path .HTTP 307."),
        (200, "", 307, "at this path .HTTP 307."),
        (401, "", 400, "401|TOKEN"),
    ],
)
async def test_a_foreign_sink_that_takes_no_events_fails_the_check(
    options: int, allow: str, post: int, expected: str
) -> None:
    async with check_of(Foreign(options, post, allow).app) as client:
        for _ in range(2):
            with pytest.raises(DimseFailure, match=expected):
                await client.check()

"""The sink's client against a real HTTP server with given answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.events.batch_codec import (
    ACCEPT_POST,
    BATCH_TYPE,
    EventResult,
    decode_batch,
    encode_results,
)
from dimse_ingestion.events.cloudevents import decode
from dimse_ingestion.events.contract import Image
from dimse_ingestion.events.http_sink import HttpSink
from dimse_ingestion.failures import Failure, Refused, Unavailable
from dimse_ingestion.observability import tracing
from dimse_ingestion.observability.http_server import serve
from tests.unit.events.examples import event

if TYPE_CHECKING:
    from dimse_ingestion.events.contract import ImageStoredEvent

REFUSED = (Refused, False)
TRANSIENT = (Unavailable, True)


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
async def client_of(app: Starlette, **options: Any) -> AsyncIterator[HttpSink]:
    async with serve(app, "127.0.0.1", 0) as port:
        client = HttpSink(f"http://127.0.0.1:{port}/events", **options)
        try:
            yield client
        finally:
            await client.close()


async def failure(client: HttpSink) -> Failure:
    with pytest.raises(Failure) as raised:
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
async def test_no_other_status_is_acceptance(status: int, kind: tuple[type[Failure], bool]) -> None:
    sink = Sink()
    sink.status = status
    async with client_of(sink.app) as client:
        failed_with = await failure(client)
    assert (type(failed_with), failed_with.transient) == kind
    cures = ("correct K_SINK", "set DIMSE_CATALOGUE_TOKEN")
    assert any(each in failed_with.comment for each in (str(status), *cures))
    assert len(sink.events) == 1


async def test_a_sink_that_is_not_reached_has_a_sentence_that_says_what_to_do() -> None:
    for url in ("http://127.0.0.1:1/events", "http://nowhere.invalid/", "http://["):
        client = HttpSink(url)
        failed_with = await failure(client)
        assert (type(failed_with), failed_with.transient) == TRANSIENT
        assert "start it or correct K_SINK" in failed_with.comment
        with pytest.raises(Unavailable, match="correct K_SINK"):
            await client.check()
        await client.close()


async def test_a_silent_sink_times_out() -> None:
    sink = Sink()
    sink.open.clear()
    async with client_of(sink.app, timeout=0.2) as client:
        failed_with = await failure(client)
        sink.open.set()
    assert (type(failed_with), failed_with.transient) == TRANSIENT
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
        with pytest.raises(Unavailable, match="HTTP 503"):
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
        with pytest.raises(Refused, match="takes no events at this path") as raised:
            await client.check()
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
            with pytest.raises(Failure, match=expected):
                await client.check()


class BatchSink:
    """Announces batches while `announces`; answers events once `open` is set.

    A single event is answered 202, a batch with `statuses`, or as a whole with `status`.
    """

    def __init__(self) -> None:
        self.announces = True
        self.open = asyncio.Event()
        self.statuses: dict[str, int] = {}
        self.status = 200
        self.kinds: list[tuple[str, int]] = []
        self.arrived = asyncio.Event()
        self.app = Starlette(routes=[Route("/events", self.answer, methods=["OPTIONS", "POST"])])

    async def answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            types = {"accept-post": ACCEPT_POST} if self.announces else {}
            return Response(status_code=204, headers={"allow": "POST"} | types)
        body = await request.body()
        is_batch = request.headers["content-type"] == BATCH_TYPE
        events = decode_batch(body) if is_batch else [decode(dict(request.headers), body)]
        self.kinds.append(("batch" if is_batch else "single", len(events)))
        self.arrived.set()
        await self.open.wait()
        if not is_batch:
            return Response(status_code=202)
        if self.status != 200:
            return Response(status_code=self.status)
        results = [EventResult(self.statuses.get(getattr(each, "id", ""), 202)) for each in events]
        return Response(encode_results(results), media_type="application/json")


async def accept_together(client: HttpSink, sink: BatchSink, *names: str) -> list[Failure | None]:
    """Send an event, and the others while its post is under way; return their failures."""
    sink.open.clear()
    sink.arrived.clear()
    first = asyncio.create_task(client.accept(event("first")))
    async with asyncio.timeout(10):
        await sink.arrived.wait()
    others = [asyncio.create_task(client.accept(event(each))) for each in names]
    await asyncio.sleep(0)
    sink.open.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert all(each is None or isinstance(each, Failure) for each in results)
    return results  # type: ignore[return-value] # just checked


async def test_a_sink_that_announces_batches_gets_them() -> None:
    sink = BatchSink()
    async with client_of(sink.app) as client:
        await client.check()
        assert await accept_together(client, sink, "a", "b", "c") == [None] * 4
    assert sink.kinds == [("single", 1), ("batch", 3)]


async def test_a_failure_of_one_event_of_a_batch_is_that_event_s_alone() -> None:
    sink = BatchSink()
    sink.statuses = {"refused": 422, "failed": 503}
    async with client_of(sink.app) as client:
        await client.check()
        first, refused, accepted, failed = await accept_together(
            client, sink, "refused", "accepted", "failed"
        )
    assert first is None
    assert accepted is None
    assert refused
    assert failed
    assert (type(refused), refused.transient) == REFUSED
    assert "refuses the event with HTTP 422" in refused.comment
    assert (type(failed), failed.transient) == TRANSIENT
    assert sink.kinds == [("single", 1), ("batch", 3)]


@pytest.mark.parametrize("status", [202, 204, 400, 404, 405, 413, 415])
async def test_a_sink_that_no_longer_takes_batches_gets_each_event_alone(status: int) -> None:
    sink = BatchSink()
    async with client_of(sink.app) as client:
        await client.check()
        sink.status = status
        assert await accept_together(client, sink, "a", "b") == [None] * 3
        assert await accept_together(client, sink, "c", "d") == [None] * 3
    singles = [("single", 1)]
    assert sink.kinds == [*singles, ("batch", 2), *singles * 2, *singles * 3]


@pytest.mark.parametrize("status", [401, 408, 421, 429, 500, 501, 503])
async def test_a_batch_that_fails_for_now_fails_each_of_its_events_for_now(status: int) -> None:
    sink = BatchSink()
    async with client_of(sink.app) as client:
        await client.check()
        sink.status = status
        first, *failures = await accept_together(client, sink, "a", "b")
        assert first is None
        assert [each and (type(each), each.transient) for each in failures] == [TRANSIENT] * 2
        sink.status = 200
        assert await accept_together(client, sink, "a", "b") == [None] * 3
    assert sink.kinds == [("single", 1), ("batch", 2)] * 2


async def test_a_sink_is_probed_under_load_without_a_check() -> None:
    sink = BatchSink()
    async with client_of(sink.app) as client:
        await accept_together(client, sink, "a", "b")
        assert sink.kinds == [("single", 1)] * 3
        async with asyncio.timeout(10):
            while sink.kinds[-1][0] != "batch":
                await accept_together(client, sink, "a", "b")


async def test_a_sink_of_another_release_is_seen_by_the_next_check() -> None:
    sink = BatchSink()
    sink.announces = False
    async with client_of(sink.app) as client:
        await client.check()
        await accept_together(client, sink, "a", "b")
        assert sink.kinds == [("single", 1)] * 3
        sink.announces = True
        await client.check()
        await accept_together(client, sink, "a", "b")
        assert sink.kinds[3:] == [("single", 1), ("batch", 2)]


async def test_a_cancelled_caller_does_not_fail_the_others_of_its_batch() -> None:
    sink = BatchSink()
    async with client_of(sink.app) as client:
        await client.check()
        first = asyncio.create_task(client.accept(event("first")))
        await sink.arrived.wait()
        others = [asyncio.create_task(client.accept(event(each))) for each in "abc"]
        await asyncio.sleep(0)
        sink.arrived.clear()
        others[0].cancel()
        await asyncio.wait(others[:1])
        sink.open.set()
        await asyncio.gather(first, *others[1:])
    assert sink.kinds == [("single", 1), ("batch", 2)]


async def test_an_event_that_waits_too_long_for_its_post_times_out() -> None:
    sink = BatchSink()
    async with client_of(sink.app, timeout=1.5) as client:
        await client.check()
        failures = await asyncio.gather(
            *(client.accept(event(each)) for each in "ab"), return_exceptions=True
        )
        sink.open.set()
        await client.accept(event("c"))
    for each in failures:
        assert isinstance(each, Unavailable)
        assert (type(each), each.transient) == TRANSIENT
        assert "no answer in 1.5 s" in each.comment


async def test_a_long_event_is_sent_alone_while_others_are_under_way() -> None:
    sink = BatchSink()
    long = event("long")
    element = Element("0040", "A160", "UT", "x" * 300_000)
    image = Image("1.2.840.10008.1.2.1", [element])
    long = msgspec.structs.replace(long, data=msgspec.structs.replace(long.data, image=image))
    async with client_of(sink.app) as client:
        await client.check()
        first = asyncio.create_task(client.accept(event("first")))
        await sink.arrived.wait()
        sink.arrived.clear()
        second = asyncio.create_task(client.accept(long))
        async with asyncio.timeout(10):
            await sink.arrived.wait()
        sink.open.set()
        await asyncio.gather(first, second)
    assert sink.kinds == [("single", 1), ("single", 1)]

"""Requests with a short body are taken before the application, which gets all others whole."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.observability.short_requests import Headers

LONGEST = 100
HEAD = b"POST /short HTTP/1.1\r\nhost: it\r\n"


def request(body: bytes, *headers: bytes, head: bytes = HEAD) -> bytes:
    lines = b"".join(each + b"\r\n" for each in headers)
    return head + lines + b"content-length: %d\r\n\r\n" % len(body) + body


async def turns() -> None:
    """Let the event loop, which is the server's too, take some turns."""
    for _ in range(5):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the fixture limits the time
        await asyncio.sleep(0.001)


class Server:
    """Answers with who had the request and its body; `short` counts what it holds."""

    target = (b"POST", b"/short")
    longest = LONGEST

    def __init__(self) -> None:
        self.held = 0
        self.takes = True
        self.room = 10 * LONGEST
        self.open = asyncio.Event()
        self.open.set()
        self.arrived = asyncio.Event()
        self.waiting: list[asyncio.Task[None]] = []
        self.port = 0
        self.stack = AsyncExitStack()

    def hold(self, length: int) -> bool:
        if self.held + length > self.room:
            return False
        self.held += length
        return True

    def release(self, length: int) -> None:
        self.held -= length

    def take(self, headers: Headers, body: bytes, answer: Callable[[Response], None]) -> bool:
        if (b"x-broken", b"1") in headers:
            raise RuntimeError("a mistake of ours")
        if not self.takes:
            return False
        self.arrived.set()
        if self.open.is_set():
            self.release(len(body))
            answer(PlainTextResponse(b"short " + body))
        else:
            self.waiting.append(asyncio.create_task(self._answer_later(body, answer)))
        return True

    async def _answer_later(self, body: bytes, answer: Callable[[Response], None]) -> None:
        await self.open.wait()
        self.release(len(body))
        answer(PlainTextResponse(b"short " + body))

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            return
        await PlainTextResponse(b"app " + body)(scope, receive, send)

    async def lets_in(self) -> bool:
        try:
            (await self.connect()).writer.close()
        except OSError:
            return False
        return True

    async def connect(self) -> "Client":
        return Client(*await asyncio.open_connection("127.0.0.1", self.port))


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self, *pieces: bytes) -> tuple[bytes, bytes]:
        """Send a request in pieces that the server reads one by one; return head and body."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await turns()
        head = await self.reader.readuntil(b"\r\n\r\n")
        [length] = [
            int(each.partition(b":")[2])
            for each in head.split(b"\r\n")
            if each.startswith(b"content-length")
        ]
        return head, await self.reader.readexactly(length)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    it = Server()
    async with asyncio.timeout(20), it.stack:
        it.port = await it.stack.enter_async_context(
            serve(it.app, "127.0.0.1", 0, short_requests=it)
        )
        yield it
    assert it.held == 0


CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n"


@pytest.mark.parametrize(
    ("pieces", "by"),
    [
        ([request(b"ab")], b"short "),
        ([request(b"ab")[:-2], b"a", b"b"], b"short "),
        ([request(b"ab")[:20], request(b"ab")[20:]], b"short "),
        ([CHUNKED, b"1\r\nc\r\n0\r\n\r\n"], b"short "),
        ([request(b"a" * LONGEST)], b"short "),
        ([request(b"a" * (LONGEST + 1))], b"app "),
        ([request(b"a" * 2 * LONGEST)[: -LONGEST - 10], b"a" * (LONGEST + 10)], b"app "),
        ([request(b"ab", head=HEAD.replace(b"/short", b"/short?a"))], b"app "),
        ([request(b"ab", head=HEAD.replace(b"POST", b"PUT"))], b"app "),
        ([request(b"ab", b"x-broken: 1")], b"app "),
    ],
    ids=[
        *("whole", "in pieces", "in two", "chunked", "just short"),
        *("too long", "too long in pieces", "another URL", "another method", "a mistake"),
    ],
)
async def test_each_request_is_answered_once_by_one_of_them(
    server: Server, pieces: list[bytes], by: bytes
) -> None:
    client = await server.connect()
    for _ in range(2):
        head, body = await client.answer(*pieces)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"date: " in head
        assert b"connection: close" not in head
        assert body.startswith(by)
        assert body.removeprefix(by).strip(b"a") in (b"", b"b", b"bc")


async def test_what_is_not_taken_is_the_application_s(server: Server) -> None:
    client = await server.connect()
    server.takes = False
    assert (await client.answer(request(b"ab")))[1] == b"app ab"
    server.takes = True
    assert (await client.answer(request(b"ab")))[1] == b"short ab"


async def test_without_room_the_application_has_to_refuse(server: Server) -> None:
    server.room = 3
    client = await server.connect()
    assert (await client.answer(request(b"abcd")))[1] == b"app abcd"
    assert (await client.answer(request(b"abcd")[:-2], b"cd"))[1] == b"app abcd"
    assert (await client.answer(request(b"abc")))[1] == b"short abc"


async def test_a_client_that_waits_for_100_is_told_to_go_on(server: Server) -> None:
    client = await server.connect()
    whole = request(b"ab", b"expect: 100-continue")
    client.writer.write(whole[:-2])
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await client.answer(whole[-2:]))[1] == b"app ab"


async def test_answers_have_the_order_of_their_requests(server: Server) -> None:
    client = await server.connect()
    server.open.clear()
    other = HEAD.replace(b"/short", b"/other")
    client.writer.write(request(b"1") + request(b"2") + request(b"3", head=other) + request(b"4"))
    await server.arrived.wait()
    server.open.set()
    answers = [(await client.answer())[1] for _ in range(4)]
    assert [each[-1:] for each in answers] == [b"1", b"2", b"3", b"4"]
    assert answers[0] == b"short 1"


@pytest.mark.parametrize(
    "whole",
    [request(b"ab", b"connection: close"), request(b"ab", head=HEAD.replace(b"1.1", b"1.0"))],
)
async def test_the_connection_ends_when_the_client_wants_it(server: Server, whole: bytes) -> None:
    client = await server.connect()
    head, body = await client.answer(whole)
    assert b"\r\nconnection: close\r\n" in head
    assert body == b"short ab"
    assert await client.reader.read() == b""


async def test_a_body_that_breaks_is_refused_and_held_no_longer(server: Server) -> None:
    client = await server.connect()
    head, _ = await client.answer(CHUNKED, b"zz\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert await client.reader.read() == b""
    assert server.held == 0


async def test_a_client_that_goes_leaves_nothing_behind(server: Server) -> None:
    half, whole = await server.connect(), await server.connect()
    server.open.clear()
    half.writer.write(request(b"ab")[:-1])
    whole.writer.write(request(b"abc"))
    await server.arrived.wait()
    await until(lambda: server.held == 4)
    for each in (half, whole):
        each.writer.close()
    await until(lambda: server.held == 3)  # of the request that is under way
    server.open.set()
    await asyncio.gather(*server.waiting)
    assert server.held == 0
    assert (await (await server.connect()).answer(request(b"ab")))[1] == b"short ab"


async def test_what_is_under_way_at_the_end_is_answered_as_the_last(server: Server) -> None:
    taken, half = await server.connect(), await server.connect()
    server.open.clear()
    half.writer.write(request(b"ab")[:-1])
    taken.writer.write(request(b"abc"))
    await server.arrived.wait()
    end = asyncio.create_task(server.stack.aclose())
    while await server.lets_in():
        pass
    server.open.set()
    for client, piece, answer in ((taken, b"", b"short abc"), (half, b"b", b"app ab")):
        head, body = await client.answer(piece)
        assert b"connection: close" in head
        assert body == answer
        assert await client.reader.read() == b""
    await end

"""Shutdown of the HTTP server: no request in progress is lost, and idle clients do not delay it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from dimse_ingestion.observability.http_server import listening_socket, serve

LONGEST = 1.5


@dataclass
class Connection:
    """One that a client keeps."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, path: str) -> None:
        self.writer.write(f"GET {path} HTTP/1.1\r\nhost: here\r\n\r\n".encode())

    async def until(self, end: bytes) -> bytes:
        return await self.reader.readuntil(end)

    async def is_closed(self) -> bool:
        return await self.reader.read() == b""


@dataclass
class Serving:
    """Serve an answer that does not end until `rest` is set."""

    port: int
    stack: AsyncExitStack
    rest: asyncio.Event

    async def connected(self) -> Connection:
        return Connection(*await asyncio.open_connection("127.0.0.1", self.port))

    async def begin_to_end(self) -> asyncio.Task[None]:
        """Start its end; return the task once no new connection is accepted."""
        end = asyncio.create_task(self.stack.aclose())
        while await self._lets_in():
            pass
        return end

    async def _lets_in(self) -> bool:
        try:
            (await self.connected()).writer.close()
        except OSError:
            return False
        return True


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    rest = asyncio.Event()

    async def quick(_: Request) -> Response:
        return PlainTextResponse("all of it")

    async def slow(_: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"begin"
            await rest.wait()
            yield b"rest!"

        return StreamingResponse(pieces(), headers={"content-length": "10"})

    app = Starlette(routes=[Route("/quick", quick), Route("/slow", slow)])
    async with asyncio.timeout(10), AsyncExitStack() as stack:
        port = await stack.enter_async_context(serve(app, "127.0.0.1", 0, LONGEST))
        yield Serving(port, stack, rest)


async def test_a_connection_stays_open(serving: Serving) -> None:
    remaining = await serving.connected()
    for _ in range(2):
        remaining.send("/quick")
        assert b"connection: close" not in (await remaining.until(b"all of it")).lower()


async def test_a_request_that_meets_the_end_on_a_persistent_connection_is_answered_as_the_last(
    serving: Serving,
) -> None:
    remaining = await serving.connected()
    remaining.send("/quick")
    await remaining.until(b"all of it")
    end = await serving.begin_to_end()
    remaining.send("/quick")
    answer = await remaining.until(b"all of it")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()
    assert await remaining.is_closed()
    await end


async def test_an_answer_under_way_is_finished_and_one_more_is_given(serving: Serving) -> None:
    remaining = await serving.connected()
    remaining.send("/slow")
    await remaining.until(b"begin")
    end = await serving.begin_to_end()
    serving.rest.set()
    await remaining.until(b"rest!")
    remaining.send("/quick")
    assert b"connection: close" in (await remaining.until(b"all of it")).lower()
    await end


async def test_an_idle_connection_does_not_delay_the_shutdown(serving: Serving) -> None:
    remaining, silent = await serving.connected(), await serving.connected()
    remaining.send("/quick")
    await remaining.until(b"all of it")
    await (await serving.begin_to_end())
    assert await remaining.is_closed()
    assert await silent.is_closed()


async def test_an_answer_that_does_not_end_is_given_up(serving: Serving) -> None:
    remaining = await serving.connected()
    remaining.send("/slow")
    await remaining.until(b"begin")
    await (await serving.begin_to_end())
    assert not serving.rest.is_set()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_answer_in_several_writes_waits_for_no_acknowledgement(host: str) -> None:
    """asyncio sets TCP_NODELAY only where a socket was made for TCP by name."""
    with (
        listening_socket(host, 0) as listener,
        socket.create_connection(listener.getsockname()[:2]),
    ):
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

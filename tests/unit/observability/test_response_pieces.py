"""A body that is sent in pieces arrives as their concatenation, framed as HTTP wants it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.observability.response_pieces import JoinedWrites, body_length, body_message

PIECES = [b"", b"a" * 300_000, b"", b"b", b"c" * 70_000]
WHOLE = b"".join(PIECES)


async def answer(
    messages: Sequence[Sequence[bytes]], headers: Sequence[tuple[bytes, bytes]], method: str = "GET"
) -> tuple[bytes, bytes]:
    """Return head and body of an answer with these pieces, one list a message."""

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, pieces in enumerate(messages, start=1):
            await send(body_message(scope, pieces, more_body=number < len(messages)))

    async with serve(app, "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
        async with asyncio.timeout(20):
            received = await reader.read()
        writer.close()
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body


def unchunked(body: bytes) -> bytes:
    """Return the content of a chunked body; it ends with the last chunk."""
    content = b""
    while body != b"0\r\n\r\n":
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        assert length > 0
        assert rest[length : length + 2] == b"\r\n"
        content, body = content + rest[:length], rest[length + 2 :]
    return content


@pytest.mark.parametrize("messages", [[PIECES], [PIECES[:2], PIECES[2:]], [PIECES, []]])
async def test_pieces_of_a_known_length_arrive_as_they_are(messages: list[list[bytes]]) -> None:
    length = [(b"content-length", str(len(WHOLE)).encode())]
    head, body = await answer(messages, length)
    assert b"transfer-encoding" not in head
    assert body == WHOLE


@pytest.mark.parametrize("messages", [[PIECES], [PIECES[:2], PIECES[2:]], [PIECES, [b""], []]])
async def test_pieces_of_an_unknown_length_are_chunks(messages: list[list[bytes]]) -> None:
    head, body = await answer(messages, [])
    assert b"transfer-encoding: chunked" in head
    assert unchunked(body) == WHOLE


async def test_an_answer_to_head_has_no_pieces() -> None:
    head, body = await answer([PIECES], [(b"content-length", b"5")], "HEAD")
    assert b"content-length: 5" in head
    assert body == b""


@pytest.mark.parametrize("length", [len(WHOLE) - 1, len(WHOLE) + 1])
async def test_an_answer_of_another_length_is_broken_off(length: int) -> None:
    _, body = await answer([PIECES], [(b"content-length", str(length).encode())])
    assert len(body) < length


def test_another_server_gets_the_pieces_joined() -> None:
    message = body_message({"type": "http"}, PIECES, more_body=False)
    assert message["body"] == WHOLE
    taken = body_message({"extensions": {"dimse.http.response.pieces": {}}}, PIECES, more_body=True)
    assert body_length(message) == body_length(taken) == len(WHOLE)


class Writes(asyncio.Transport):
    """Remembers what was written together."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.written.append(b"".join(list_of_data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def test_held_bytes_are_written_with_the_next_ones() -> None:
    transport = Writes()
    writes = JoinedWrites(transport, asyncio.get_running_loop())
    writes.is_held = True
    writes.write(b"head ")
    assert transport.written == []
    writes.is_held = False
    writes.write(b"body")
    await asyncio.sleep(0)
    assert transport.written == [b"head body"]


@pytest.mark.parametrize("closes", [False, True])
async def test_held_bytes_that_nothing_follows_are_written_a_moment_later(*, closes: bool) -> None:
    transport = Writes()
    writes = JoinedWrites(transport, asyncio.get_running_loop())
    writes.is_held = True
    writes.write(b"head")
    if closes:
        writes.close()
    await asyncio.sleep(0)
    assert (transport.written, transport.closed) == ([b"head"], closes)


async def test_the_head_of_an_answer_does_not_wait_for_a_late_body() -> None:
    late = asyncio.Event()

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await late.wait()
        await send({"type": "http.response.body", "body": b"late"})

    async with serve(app, "127.0.0.1", 0) as port, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        late.set()
        assert unchunked(await reader.read()) == b"late"
        writer.close()

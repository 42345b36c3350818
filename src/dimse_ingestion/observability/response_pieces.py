"""Responses written in pieces, with few calls of the system: an extension of ASGI.

ASGI has one bytes object a message, so that a body of several large parts would be copied into one,
and the head of a response would be written alone. Requests are read in `http_protocol`.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from starlette.types import Message, Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

PIECES = "dimse.http.response.pieces"
"""The key of the extension in a scope, and of the pieces in a message."""


def body_message(scope: Scope, pieces: Sequence[bytes], *, more_body: bool) -> Message:
    """Return the ASGI message with a part of a body: in pieces, where the server takes them.

    So large pieces are not copied into a longer one before they are written.
    """
    message: Message = {"type": "http.response.body", "more_body": more_body}
    if PIECES in scope.get("extensions", ()):
        return {**message, "body": b"", PIECES: pieces}
    return {**message, "body": b"".join(pieces)}


def body_length(message: Message) -> int:
    """Return the bytes of the body in an ASGI message."""
    return len(message.get("body", b"")) + sum(map(len, message.get(PIECES, ())))


class JoinedWrites:
    """A transport that writes what comes while `is_held` with the next bytes, or a moment later.

    Each write is a call of the system, and wakes the peer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.is_held = False
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Write bytes, and before them what is held."""
        self.writelines([data])

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Write pieces, and before them what is held."""
        self._held += pieces
        if self.is_held:
            self._loop.call_soon(self.flush)
        else:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        held, self._held = self._held, []
        if held and not self._transport.is_closing():
            self._transport.writelines(held)

    def close(self) -> None:
        """Write what is held, and close the transport."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the transport is closing."""
        return self._transport.is_closing()


class ResponseCycle(RequestResponseCycle):
    """A request and its response, which may be sent in pieces (see `body_message`).

    The head of a response is written with the first bytes of its body.
    """

    async def send(self, message: Any) -> None:
        """See ASGI."""
        writes = cast("JoinedWrites", self.transport)
        writes.is_held = message["type"] == "http.response.start"
        if pieces := message.get(PIECES):
            if self.flow.write_paused and not self.disconnected:
                await self.flow.drain()
            if not self.disconnected and self.scope["method"] != "HEAD":
                self.transport.writelines(self._framed(pieces))
            if message["more_body"]:
                return
        await super().send(message)

    def _framed(self, pieces: Sequence[bytes]) -> Iterator[bytes]:
        """Yield the pieces as one chunk (RFC 9112, 7.1), or as they are if the length is known."""
        length = sum(map(len, pieces))
        if not self.chunked_encoding:
            if length > self.expected_content_length:
                raise RuntimeError("A response is longer than its Content-Length.")
            self.expected_content_length -= length
            yield from pieces
        elif length:
            yield b"%x\r\n" % length
            yield from pieces
            yield b"\r\n"

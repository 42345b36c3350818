"""One HTTP/1.1 connection to a peer, with a parser in C (httptools) and one request at a time.

An answer that waits for its reader makes the peer wait. Connections are opened and kept in
`direct`.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

import httptools

_LONGEST_IDLE = 15.0  # seconds; shorter than a server keeps an idle connection
_MOST_BUFFERED = 256 * 1024  # bytes of an answer that wait for its reader


class BrokenOff(OSError):
    """The peer was reached, and closed the connection or sent no HTTP."""


class ClosedWhileIdle(Exception):
    """The connection was closed before a byte of the answer came."""


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a URL: where to connect, and what to request there."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str

    @property
    def is_secure(self) -> bool:
        """Return whether it is requested over TLS."""
        return self.scheme == "https"


class Connection(asyncio.Protocol):
    """One connection, with one request at a time; the peer may be silent for `silence` seconds.

    The event loop and the parser (`on_…`) call it.
    """

    def __init__(self, target: Target, tls: ssl.SSLContext, silence: float) -> None:
        self.status = 0
        self._silence = silence
        self._origin = (target.scheme, target.authority)
        self._tls = tls
        self._transport: asyncio.Transport | None = None
        self._idle_since = 0.0
        self._closed: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._start()

    def _start(self) -> None:
        """Prepare for an answer."""
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._is_paused = False
        self._has_begun = self._has_head = self._has_length = self._is_complete = False
        self._keeps_alive = self._has_surplus = False

    def is_usable(self, target: Target, tls: ssl.SSLContext) -> bool:
        """Return whether a request to this target can be sent on it."""
        return (
            self._closed is None
            and not self._has_begun
            and self._origin == (target.scheme, target.authority)
            and (self._tls is tls or not target.is_secure)
            and time.monotonic() - self._idle_since < _LONGEST_IDLE
        )

    async def begin(self, request: bytes) -> "Connection":
        """Send a request and wait for the head of its answer.

        Raises ClosedWhileIdle, BrokenOff and TimeoutError; the connection is closed then.
        """
        with closed_on_error(self):
            self._write(request)
            while not self._has_head:
                if self._closed is not None:
                    raise self._closed if self._has_begun else ClosedWhileIdle() from self._closed
                await self._wait()
        return self

    async def next_piece(self) -> bytes:
        """Return the next bytes of the body, none at its end."""
        while not self._pieces:
            if self._is_complete:
                return b""
            if self._closed is not None:
                raise self._closed
            await self._wait()
        piece = self._pieces.popleft()
        self._buffered -= len(piece)
        if self._is_paused and self._buffered <= _MOST_BUFFERED and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return piece

    def end(self) -> bool:
        """End a request; return whether another may be sent, because its answer was read."""
        is_reusable = (
            self._is_complete
            and self._keeps_alive
            and not self._has_surplus
            and self._closed is None
            and not self._pieces
        )
        if is_reusable:
            self._idle_since = time.monotonic()
            self._start()
        return is_reusable

    def close(self) -> None:
        """Close the connection."""
        if self._closed is None:
            self._closed = BrokenOff("The connection is closed.")
        if self._transport is not None:
            self._transport.abort()

    def _write(self, request: bytes) -> None:
        if self._transport is not None and self._closed is None:
            with suppress(RuntimeError):  # of uvloop, for a write to a closed connection
                self._transport.write(request)

    async def _wait(self) -> None:
        """Wait for the peer's next sign. Raises TimeoutError after too long a silence."""
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        timer = loop.call_later(self._silence, _time_out, waiter)  # cheaper than asyncio.timeout
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the transport."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """End the request that waits."""
        if self._closed is None:
            self._closed = BrokenOff("The peer closed the connection.")
            self._closed.__cause__ = exc
        self._wake()

    def eof_received(self) -> None:
        """End a body that has no length; then the connection is closed."""
        if self._has_head and not self._has_length:
            self._is_complete = True

    def data_received(self, data: bytes) -> None:
        """Parse bytes of the answer; bytes that no request waits for end the connection."""
        self._has_begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._closed = BrokenOff("The peer sent no HTTP.")
            self._closed.__cause__ = error
            self.close()
        if self._buffered > _MOST_BUFFERED and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_begin(self) -> None:
        """See whether it is another answer, which nothing has asked for."""
        self._has_surplus |= self._is_complete

    def on_header(self, name: bytes, _: bytes) -> None:
        """See whether the body's end is told."""
        self._has_length |= name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        """Begin the answer, unless it is a provisional one."""
        status = self._parser.get_status_code()
        if status >= HTTPStatus.OK:
            self.status, self._has_head = status, True
            self._keeps_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body."""
        if self._has_surplus:
            return
        self._pieces.append(data)
        self._buffered += len(data)

    def on_message_complete(self) -> None:
        """End the answer."""
        self._is_complete = self._has_head


def _time_out(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


@contextmanager
def closed_on_error(connection: Connection) -> Iterator[None]:
    """Close the connection if the block raises."""
    try:
        yield
    except BaseException:
        connection.close()
        raise

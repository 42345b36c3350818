"""The bytes' way out of a NATS connection: written at once, in order, never waited for.

nats-py lets commands pass each other (a PING overtakes what is published) and copies each body
twice; here everything is written straight into the socket's buffer, or WebSocket's queue. Counts
nothing and knows no NATS command.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import aiohttp
from nats.aio.transport import TcpTransport, Transport, WebSocketTransport

HIGH_WATER = 2 * 1024 * 1024
"""Bytes not yet sent at which `drained` begins to wait."""
READ_SIZE = 256 * 1024
"""Bytes taken from the socket at once: what asyncio reads; nats-py's 32 KiB cost a fifth more."""
_JOIN_LIMIT = 16 * 1024


class SocketWriter(Protocol):
    """One way out."""

    encrypted: bool

    @property
    def sent(self) -> int:
        """Bytes handed to the operating system so far."""

    def write(self, head: bytes, body: bytes = b"", tail: bytes = b"") -> None:
        """Send, in this order."""

    async def wait_writable(self) -> None:
        """Wait until less than HIGH_WATER is unsent. Raises OSError when the wire is cut."""

    def abort(self) -> None:
        """Cut it now, whatever is unsent."""


def socket_writer_for(transport: Transport, on_error: Callable[[Exception], None]) -> SocketWriter:
    """The way out of nats-py's transport; `broken` hears of a write that failed later."""
    if isinstance(transport, WebSocketTransport):
        return _WebSocketWriter(transport, on_error)
    if isinstance(transport, TcpTransport):
        return _TcpWriter(transport)
    raise TypeError(f"nats-py speaks over {type(transport).__name__}, which is unknown here")


def abort(transport: Transport | None) -> None:
    """Cut a transport that may be half open, without waiting for its other end."""
    if isinstance(transport, TcpTransport):
        for writer in (transport._io_writer, transport._bare_io_writer):
            if writer is not None:
                writer.transport.abort()
    elif isinstance(transport, WebSocketTransport):
        _abort_web_socket(transport)


class _TcpWriter:
    def __init__(self, transport: TcpTransport) -> None:
        writer = transport._io_writer
        if writer is None:
            raise ConnectionResetError("the connection ended while it was opened")
        self._writer = writer
        self._transport = transport
        self._written = 0
        self.encrypted = writer.get_extra_info("ssl_object") is not None
        _suppress_eof_warning(writer)
        vars(transport._io_reader)["_limit"] = READ_SIZE  # as StreamReader's own argument would
        writer.transport.set_write_buffer_limits(high=HIGH_WATER)

    @property
    def sent(self) -> int:
        return self._written - self._writer.transport.get_write_buffer_size()

    def write(self, head: bytes, body: bytes = b"", tail: bytes = b"") -> None:
        self._written += len(head) + len(body) + len(tail)
        if len(body) < _JOIN_LIMIT:
            self._writer.write(b"".join((head, body, tail)))
            return
        self._writer.write(head)
        self._writer.write(body)
        self._writer.write(tail)

    async def wait_writable(self) -> None:
        await self._writer.drain()

    def abort(self) -> None:
        abort(self._transport)


def _suppress_eof_warning(writer: asyncio.StreamWriter) -> None:
    """Spare the operator asyncio's warning that TLS can't be half closed: nats-py omits to."""
    if isinstance(protocol := writer.transport.get_protocol(), asyncio.StreamReaderProtocol):
        vars(protocol)["_over_ssl"] = writer.get_extra_info("ssl_object") is not None


class _WebSocketWriter:
    """WebSocket frames can't be written without waiting, so a task of ours does it."""

    def __init__(
        self, transport: WebSocketTransport, on_error: Callable[[Exception], None]
    ) -> None:
        if transport._ws is None:
            raise ConnectionResetError("the connection ended while it was opened")
        self._transport = transport
        self._socket = transport._ws
        self._on_error = on_error
        self._frames: deque[bytes] = deque()
        self._unsent = 0
        self._frames_queued = asyncio.Event()
        self._below_high_water = asyncio.Event()
        self._below_high_water.set()
        self.sent = 0
        self.encrypted = bool(transport._using_tls)
        self._send_task = asyncio.create_task(self._send(), name="nats websocket sending")

    def write(self, head: bytes, body: bytes = b"", tail: bytes = b"") -> None:
        frame = b"".join((head, body, tail))
        self._frames.append(frame)
        self._unsent += len(frame)
        self._frames_queued.set()
        if self._unsent > HIGH_WATER:
            self._below_high_water.clear()

    async def wait_writable(self) -> None:
        await self._below_high_water.wait()
        if self._send_task.done():
            raise ConnectionResetError("the WebSocket is closed")

    def abort(self) -> None:
        self._send_task.cancel()
        self._below_high_water.set()
        _abort_web_socket(self._transport)

    async def _send(self) -> None:
        try:
            while True:
                await self._frames_queued.wait()
                self._frames_queued.clear()
                await self._send_frames()
        except (OSError, RuntimeError, aiohttp.ClientError) as trouble:
            self._below_high_water.set()
            self._on_error(trouble)

    async def _send_frames(self) -> None:
        while self._frames:
            frame = self._frames.popleft()
            await self._socket.send_bytes(frame)
            self._unsent -= len(frame)
            self.sent += len(frame)
            if self._unsent < HIGH_WATER // 4:
                self._below_high_water.set()


_closing: set[asyncio.Task[None]] = set()


def _abort_web_socket(transport: WebSocketTransport) -> None:
    """Cut the socket beneath, then let aiohttp tidy up in the background."""
    opened = transport._ws
    under = opened.get_extra_info("socket") if opened is not None else None
    if under is not None:
        with suppress(OSError):
            under.shutdown(socket.SHUT_RDWR)
    task = asyncio.ensure_future(_close_web_socket(transport))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


async def _close_web_socket(transport: WebSocketTransport) -> None:
    opened, session = transport._ws, transport._client
    if opened is not None:
        with suppress(OSError, aiohttp.ClientError):
            await opened.close()
    if session is not None:
        await session.close()

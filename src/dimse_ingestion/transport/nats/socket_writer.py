"""The writers of a NATS connection: bytes go out at once and in order, without waiting.

nats-py reorders commands (a PING overtakes published messages) and copies each body twice; these
writers put everything directly into the socket's buffer, or into a queue for WebSocket. They know
no NATS command.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import aiohttp
from nats.aio.transport import TcpTransport, Transport, WebSocketTransport

from dimse_ingestion.transport.nats.server_protocol import Parser
from dimse_ingestion.transport.nats.socket_reader import SocketReader, read_socket

HIGH_WATER = 2 * 1024 * 1024
"""Unsent bytes at which `wait_writable` starts to wait."""
_JOIN_LIMIT = 16 * 1024


class SocketWriter(Protocol):
    """Writes to one socket or WebSocket."""

    encrypted: bool

    @property
    def sent(self) -> int:
        """Return the number of bytes handed to the operating system so far."""

    def write(self, head: bytes, body: bytes = b"", tail: bytes = b"") -> None:
        """Send the parts in this order."""

    async def wait_writable(self) -> None:
        """Wait until less than HIGH_WATER is unsent. Raises OSError when the connection broke."""

    def read_by(self, parser: Parser) -> SocketReader | None:
        """Have all further bytes read by the reader that is returned; None for a WebSocket."""

    def abort(self) -> None:
        """Close now and drop unsent bytes."""


def socket_writer_for(transport: Transport, on_error: Callable[[Exception], None]) -> SocketWriter:
    """Return the writer for nats-py's transport; `on_error` gets an error of a later write."""
    if isinstance(transport, WebSocketTransport):
        return _WebSocketWriter(transport, on_error)
    if isinstance(transport, TcpTransport):
        return _TcpWriter(transport)
    raise TypeError(f"nats-py speaks over {type(transport).__name__}, which is unknown here")


def abort(transport: Transport | None) -> None:
    """Close a transport that may be half open, without waiting for the peer."""
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
        self._reader: SocketReader | None = None
        self.encrypted = writer.get_extra_info("ssl_object") is not None
        _suppress_eof_warning(writer)
        writer.transport.set_write_buffer_limits(high=HIGH_WATER)

    @property
    def sent(self) -> int:
        return self._written - self._writer.transport.get_write_buffer_size()

    def write(self, head: bytes, body: bytes = b"", tail: bytes = b"") -> None:
        if self._writer.transport.is_closing():
            return  # uvloop would raise; the end of the connection is reported by the read loop
        self._written += len(head) + len(body) + len(tail)
        if len(body) < _JOIN_LIMIT:
            self._writer.write(b"".join((head, body, tail)))
            return
        self._writer.writelines((head, body, tail))  # one call of the system on uvloop

    async def wait_writable(self) -> None:
        if self._reader is None:
            await self._writer.drain()
        else:
            await self._reader.wait_writable()

    def read_by(self, parser: Parser) -> SocketReader | None:
        self._reader = read_socket(self._transport, parser)
        return self._reader

    def abort(self) -> None:
        abort(self._transport)


def _suppress_eof_warning(writer: asyncio.StreamWriter) -> None:
    """Set a flag that nats-py omits, so that asyncio does not warn about half-closed TLS."""
    if isinstance(protocol := writer.transport.get_protocol(), asyncio.StreamReaderProtocol):
        vars(protocol)["_over_ssl"] = writer.get_extra_info("ssl_object") is not None


class _WebSocketWriter:
    """Writes in a task, because writing a WebSocket frame has to wait."""

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

    def read_by(self, parser: Parser) -> SocketReader | None:  # noqa: ARG002 - aiohttp reads
        return None

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
        except (OSError, RuntimeError, aiohttp.ClientError) as error:
            self._below_high_water.set()
            self._on_error(error)

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
    """Shut the socket down, then let aiohttp close the session in the background."""
    opened = transport._ws
    under = opened.get_extra_info("socket") if opened is not None else None
    if under is not None:
        with suppress(OSError), socket.socket(fileno=os.dup(under.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)  # the event loop's own object can't do it
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

"""Requests to one peer on kept HTTP/1.1 connections.

Short queries and events are sent often, and aiohttp's work for a request costs several times the
rest of it. So this has what they need and no more: no proxy, redirect, cookie or compression. Only
for requests that may be sent twice: one that a peer's closing of an idle connection has crossed is
sent again. Addresses of both families are tried side by side (RFC 8305). Tokens, CAs and what is
not done here are `client`'s part.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from urllib.parse import SplitResult, urlencode, urlsplit

import aiohappyeyeballs

from dimse_ingestion.secure_http.connection import (
    BrokenOff,
    ClosedWhileIdle,
    Connection,
    Target,
    closed_on_error,
)

_NEXT_ADDRESS_AFTER = 0.25  # seconds
_PORTS = {"http": 80, "https": 443}


class NotReached(OSError):
    """There is no connection to the peer; the cause is the error of the socket or of TLS."""


def parse_target(url: str, parameters: Mapping[str, str] | None = None) -> Target | None:
    """Return the target of a URL with query parameters, or None if it is no plain one.

    One with a user's name, with other than printable ASCII, or without a host, is none.
    """
    with suppress(ValueError):
        parts = urlsplit(url)
        if _is_plain(url, parts):
            query = "&".join(filter(None, (parts.query, urlencode(parameters or {}))))
            path = f"{parts.path or '/'}{'?' * bool(query)}{query}"
            port = parts.port or _PORTS[parts.scheme]
            return Target(parts.scheme, str(parts.hostname), port, parts.netloc, path)
    return None


def _is_plain(url: str, parts: SplitResult) -> bool:
    is_printable = url.isascii() and url.isprintable() and " " not in url
    return (
        is_printable and parts.scheme in _PORTS and bool(parts.hostname) and "@" not in parts.netloc
    )


class Answer:
    """The answer to a request; its body is read once, as a whole or in pieces."""

    def __init__(self, connection: Connection) -> None:
        self.status = connection.status
        self._connection = connection

    async def read(self) -> bytes:
        """Return the whole body; raises as `pieces`."""
        return b"".join([piece async for piece in self.pieces()])

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; raises BrokenOff, and TimeoutError for a silent peer."""
        while piece := await self._connection.next_piece():
            yield piece


class Connections:
    """At most `most` connections to a peer, which may be silent for `timeout` seconds."""

    def __init__(self, *, timeout: float, most: int) -> None:
        self._timeout = timeout
        self._slots = asyncio.Semaphore(most)
        self._idle: deque[Connection] = deque()

    @asynccontextmanager
    async def post(
        self, target: Target, body: bytes, headers: Mapping[str, str], tls: ssl.SSLContext
    ) -> AsyncIterator[Answer]:
        """Send a request; the block reads its answer, and leaving it early closes the connection.

        Raises NotReached, BrokenOff and TimeoutError.
        """
        await self._take_slot()
        try:
            connection = await self._send(target, _encode(target, body, headers), tls)
            try:
                yield Answer(connection)
            finally:
                self._release(connection)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def _take_slot(self) -> None:
        """Wait until there are fewer than the most connections. Raises TimeoutError."""
        if not self._slots.locked():
            await self._slots.acquire()  # at once, without the cost of a timeout
            return
        async with asyncio.timeout(self._timeout):
            await self._slots.acquire()

    async def _send(self, target: Target, request: bytes, tls: ssl.SSLContext) -> Connection:
        """Send a request on an idle connection, or on a new one; return when its answer begins."""
        while (connection := self._take_idle(target, tls)) is not None:
            with suppress(ClosedWhileIdle):
                return await connection.begin(request)
        async with asyncio.timeout(self._timeout):
            connection = await _connect(target, tls, self._timeout)
        with closed_on_error(connection), _as_broken_off():
            return await connection.begin(request)

    def _take_idle(self, target: Target, tls: ssl.SSLContext) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable(target, tls):
                return connection
            connection.close()
        return None

    def _release(self, connection: Connection) -> None:
        if connection.end():
            self._idle.append(connection)
        else:
            connection.close()


@contextmanager
def _as_broken_off() -> Iterator[None]:
    try:
        yield
    except ClosedWhileIdle as closed:
        raise BrokenOff("The peer closed the connection.") from closed.__cause__


async def _connect(target: Target, tls: ssl.SSLContext, silence: float) -> Connection:
    loop = asyncio.get_running_loop()
    try:
        addresses = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        connected = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER, interleave=1, loop=loop
        )
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        _, connection = await loop.create_connection(
            lambda: Connection(target, tls, silence),
            sock=connected,
            ssl=tls if target.is_secure else None,
            server_hostname=target.host.rstrip(".") if target.is_secure else None,
        )
    except (OSError, ValueError) as error:
        raise NotReached("There is no connection.") from error
    return connection


def _encode(target: Target, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = [f"POST {target.path} HTTP/1.1", f"host: {target.authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {len(body)}", "", ""]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1:
        raise ValueError("A header has a line break.")
    return head.encode("latin-1") + body

"""Where associations are listened for: the server, its limits on connections, and its end.

It opens connections and lets go of them; what goes over one is `connection`'s and `association`'s.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.upper_layer.connection import BUFFER_LENGTH, Connection
from dimse_ingestion.upper_layer.limits import Limits
from dimse_ingestion.upper_layer.services import Services

_LOG = logger(__name__)
_BACKLOG = 256
_QUIET = 5.0  # seconds after which a drain no longer waits for an association's next message
_LAST_WORDS = 1.0  # seconds for an A-ABORT to be read
_LOOK = 0.05


class Acceptor:
    """Listens for associations and has `services` answer them."""

    def __init__(
        self, services: Services, limits: Limits | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.services = services
        self.limits = limits or Limits()
        self.buffer = memoryview(bytearray(BUFFER_LENGTH))
        self._tls = tls
        self._count = 0
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; the address, with the port chosen when `port` is 0. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, host, port, backlog=_BACKLOG)
        address = self._server.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    async def stop(self, drain: float = 0.0) -> None:
        """Listen no more; let associations finish for `drain` seconds, then abort what is left.

        An association that is between messages and silent isn't waited for. Requests that are
        still being performed at the end are cancelled.
        """
        if self._server is not None:
            self._server.close()
        await self._emptied(drain, _QUIET)
        self._abort(list(self._connections))
        await self._emptied(_LAST_WORDS, _QUIET)
        for connection in list(self._connections):
            connection.close()
        await self._stop_tasks()

    async def _emptied(self, longest: float, quiet: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + longest
        while (self._connections or self._tasks) and loop.time() < deadline:
            self._abort([each for each in self._connections if _is_over(each, quiet)])
            await asyncio.sleep(_LOOK)

    def _abort(self, connections: list[Connection]) -> None:
        for connection in connections:
            connection.association.abort("This side is shutting down.")

    async def _stop_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _protocol(self) -> asyncio.BaseProtocol:
        return self._connection() if self._tls is None else _Handshake(self, self._tls)

    def _connection(self) -> asyncio.BaseProtocol:
        if self._count >= self.limits.maximum_connections:
            _LOG.warning("Connection closed: there are too many.", open=self._count)
            return _Closed()
        self._count += 1
        return Connection(self)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that ends with the acceptor at the latest."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def opened(self, connection: Connection) -> None:
        """The connection has begun."""
        self._connections.add(connection)

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""
        self._count -= 1
        self._connections.discard(connection)

    async def secure(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        """Begin TLS on a new connection."""
        protocol = self._connection()
        loop = asyncio.get_running_loop()
        longest = self.limits.artim_timeout
        try:
            secure = await loop.start_tls(
                transport, protocol, tls, server_side=True, ssl_handshake_timeout=longest
            )
        except OSError as trouble:  # ssl.SSLError is one
            self._count -= isinstance(protocol, Connection)
            peer = transport.get_extra_info("peername") or ("",)
            _LOG.warning("TLS handshake failed.", peer_address=str(peer[0]), reason=str(trouble))
            transport.abort()
        else:
            protocol.connection_made(cast("asyncio.Transport", secure))


class _Closed(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        cast("asyncio.Transport", transport).abort()


class _Handshake(asyncio.Protocol):
    """A connection before TLS."""

    def __init__(self, acceptor: Acceptor, tls: ssl.SSLContext) -> None:
        self._acceptor = acceptor
        self._tls = tls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read nothing before TLS does."""
        plain = cast("asyncio.Transport", transport)
        plain.pause_reading()
        self._acceptor.spawn(self._acceptor.secure(plain, self._tls), "TLS handshake")


def _is_over(connection: Connection, quiet: float) -> bool:
    return connection.association.is_quiet and connection.silent_for() > quiet


@asynccontextmanager
async def listening(
    services: Services,
    host: str,
    port: int,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[tuple[str, int]]:
    """Listen within the block, whose value is the address; afterwards abort what is left.

    Raises OSError when the address can't be used.
    """
    acceptor = Acceptor(services, limits, tls)
    address = await acceptor.start(host, port)
    try:
        yield address
    finally:
        await acceptor.stop()

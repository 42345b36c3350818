"""The acceptor's server: it listens for connections, limits their number, and shuts down (PS3.8).

It does not read PDUs: `connection` has the bytes of one connection, `association` its states.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.upper_layer.association import Association
from dimse_ingestion.upper_layer.connection import BUFFER_LENGTH, Connection
from dimse_ingestion.upper_layer.limits import UpperLayerLimits
from dimse_ingestion.upper_layer.services import Services
from dimse_ingestion.upper_layer.transport_connection import TransportConnection

_LOG = logger(__name__)
_BACKLOG = 256
_QUIET = (
    5.0  # seconds of silence after which a drain stops waiting for an association's next message
)
_ABORT_LINGER = 1.0  # seconds for peers to read an A-ABORT before the connection closes
_POLL_INTERVAL = 0.05


class Acceptor:
    """Listen for associations and have `services` answer them.

    `handshake_failed` is called with the address of a peer that has no valid TLS or certificate.
    """

    def __init__(
        self,
        services: Services,
        limits: UpperLayerLimits | None = None,
        tls: ssl.SSLContext | None = None,
        handshake_failed: Callable[[str], None] | None = None,
    ) -> None:
        self._handshake_failed = handshake_failed
        self.services = services
        self.limits = limits or UpperLayerLimits()
        self.buffer = memoryview(bytearray(BUFFER_LENGTH))
        self._tls = tls
        self._handshakes = 0
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen, and return the address; port 0 takes a free port. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, host, port, backlog=_BACKLOG)
        address = self._server.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    def adopt(self, plain: socket.socket, closed: Callable[[], None]) -> None:
        """Serve a connection that another process accepted; call `closed` when it is closed."""
        plain.setblocking(False)
        self.spawn(self._adopt(plain, closed), "connection of another process")

    async def _adopt(self, plain: socket.socket, closed: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(self, closed)
        if self._tls is None:
            try:
                await loop.connect_accepted_socket(lambda: connection, plain)
            except OSError:  # it was closed meanwhile
                closed()
        elif not self.has_capacity() or not await self.secure(plain, self._tls, connection):
            plain.close()
            closed()

    def replace_tls(self, tls: ssl.SSLContext | None) -> None:
        """Use another TLS context, or none, for new connections; open ones stay as they are."""
        self._tls = tls

    async def stop(self, drain: float = 0.0) -> None:
        """Stop listening; let associations finish for `drain` seconds, then abort the rest.

        The drain does not wait for an association that is between messages and silent. Requests
        that are still being performed at the end are cancelled.
        """
        if self._server is not None:
            self._server.close()
        await self._wait_until_empty(drain, _QUIET)
        self._abort(list(self._connections))
        await self._wait_until_empty(_ABORT_LINGER, _QUIET)
        for connection in list(self._connections):
            connection.close()
        await self._stop_tasks()

    async def _wait_until_empty(self, longest: float, quiet: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + longest
        while (self._connections or self._tasks) and loop.time() < deadline:
            self._abort([each for each in self._connections if _is_over(each, quiet)])
            await asyncio.sleep(_POLL_INTERVAL)

    def _abort(self, connections: list[Connection]) -> None:
        for connection in connections:
            connection.association.abort("This side is shutting down.")

    async def _stop_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _protocol(self) -> asyncio.BaseProtocol:
        return Connection(self) if self._tls is None else _BeforeTls(self, self._tls)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task; it is cancelled when the acceptor stops."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def has_capacity(self) -> bool:
        """Return whether another connection may open; log a warning if not."""
        count = len(self._connections) + self._handshakes
        if count >= self.limits.maximum_connections:
            _LOG.warning("Connection closed: there are too many.", open=count)
            return False
        return True

    def create_association(
        self, connection: TransportConnection, peer: tuple[str, int]
    ) -> Association:
        """Return the association of a new connection."""
        return Association(self.services, self.limits, connection, self.spawn, peer)

    def add_connection(self, connection: Connection) -> bool:
        """Register a new connection; return False when the limit is reached."""
        if self._tls is None and not self.has_capacity():  # with TLS, checked before the handshake
            return False
        self._connections.add(connection)
        return True

    def remove_connection(self, connection: Connection) -> None:
        """Remove a closed connection."""
        self._connections.discard(connection)

    async def secure(
        self, plain: socket.socket, tls: ssl.SSLContext, connection: Connection | None = None
    ) -> bool:
        """Do the TLS handshake on a new connection, then start the association as without TLS.

        Return whether it succeeded.
        """
        protocol = connection or Connection(self)
        address = _peer_address(plain)  # a handshake that fails closes the socket
        loop = asyncio.get_running_loop()
        longest = self.limits.artim_timeout
        self._handshakes += 1
        try:
            await loop.connect_accepted_socket(
                lambda: protocol, plain, ssl=tls, ssl_handshake_timeout=longest
            )
        except OSError as error:  # ssl.SSLError is one
            _LOG.warning("TLS handshake failed.", peer_address=address, reason=str(error))
            if self._handshake_failed is not None and isinstance(error, ssl.SSLError):
                self._handshake_failed(address)
            return False
        else:
            return True
        finally:
            self._handshakes -= 1


class _BeforeTls(asyncio.Protocol):
    """An accepted connection until its socket is passed to the TLS handshake.

    asyncio.Server would start handshakes without a limit, so the number is checked here first.
    """

    def __init__(self, acceptor: Acceptor, tls: ssl.SSLContext) -> None:
        self._acceptor = acceptor
        self._tls = tls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass the socket on unread: the first bytes belong to the TLS handshake."""
        accepted = transport.get_extra_info("socket")
        if self._acceptor.has_capacity():
            plain = socket.socket(fileno=os.dup(accepted.fileno()))
            plain.setblocking(False)
            self._acceptor.spawn(self._secure(plain), "TLS handshake")
        cast("asyncio.Transport", transport).abort()

    async def _secure(self, plain: socket.socket) -> None:
        await self._acceptor.secure(plain, self._tls)


def _peer_address(plain: socket.socket) -> str:
    """Return a connection's peer, or an empty string if it is not connected any more."""
    try:
        return str(plain.getpeername()[0])
    except OSError:
        return ""


def _is_over(connection: Connection, quiet: float) -> bool:
    return connection.association.is_quiet and connection.silent_for() > quiet


@asynccontextmanager
async def listener(
    services: Services,
    host: str,
    port: int,
    limits: UpperLayerLimits | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[tuple[str, int]]:
    """Listen within the block and yield the address; abort open associations afterwards.

    Raises OSError when the address can't be used.
    """
    acceptor = Acceptor(services, limits, tls)
    address = await acceptor.start(host, port)
    try:
        yield address
    finally:
        await acceptor.stop()

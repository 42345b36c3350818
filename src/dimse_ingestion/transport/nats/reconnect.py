"""The tries at a connection: which server, with what credential, after how long a pause.

One try makes one `connection.Connection`, bounded in time as a whole, so that no server, network
or certificate can hold up the next try. Says in a sentence why a try failed; remembers how many.
"""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any

from dimse_ingestion.transport.carrier import CarrierDown
from dimse_ingestion.transport.nats.connection import Connection, ConnectionListener
from dimse_ingestion.transport.nats.credentials import Credential, CredentialError
from dimse_ingestion.transport.nats.errors import CONNECT_ERRORS, connect_error_message
from dimse_ingestion.transport.nats.options import NatsOptions
from dimse_ingestion.transport.nats.server_urls import Server
from dimse_ingestion.transport.nats.tls import TlsError

_FIRST_BACKOFF = 0.1
_RANDOM = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class OpenedConnection:
    """A connection, and who we are on it."""

    connection: Connection
    credential: Credential


class Connector:
    """Opens one connection after the other. Raises AddressMistake when made without a server."""

    def __init__(self, settings: NatsOptions) -> None:
        self._settings = settings
        servers = settings.servers
        self._servers = _RANDOM.sample(servers, len(servers))
        self._failures = 0

    @property
    def server(self) -> Server:
        """The server to try next; they take turns, in an order of our own."""
        return self._servers[self._failures % len(self._servers)]

    def reset_backoff(self) -> None:
        """A connection has held for a while: the next try comes soon."""
        self._failures = 0

    def count_failure(self) -> None:
        """A try, or a connection that was hardly there, came to nothing."""
        self._failures += 1

    async def pause(self) -> None:
        """Wait before the next try: at random, so that not all clients come at once."""
        rounds, position = divmod(self._failures, len(self._servers))
        if position == 0:  # else another server is next, and it may be well
            longest = min(self._settings.max_backoff, _FIRST_BACKOFF * 2 ** min(rounds, 16))
            await asyncio.sleep(_RANDOM.uniform(longest / 2, longest))

    async def open(self, listener: ConnectionListener) -> OpenedConnection:
        """Try once. Raises CarrierDown with the sentence that says why not."""
        server, connection = self.server, Connection(self.server, listener)
        credential = Credential("no credential")
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                credential = await asyncio.to_thread(self._settings.read_credential)
                await connection.open(await self._options(server, credential))
        except (CredentialError, TlsError, *CONNECT_ERRORS) as trouble:
            connection.cut("it did not open")
            sentence = connect_error_message(server, trouble, credential, connection.connect_bytes)
            raise CarrierDown(sentence) from trouble
        except BaseException:
            connection.cut("it did not open")
            raise
        return OpenedConnection(connection, credential)

    async def _options(self, server: Server, credential: Credential) -> dict[str, Any]:
        """Off the loop: to read the system's authorities takes a tenth of a second."""
        return await asyncio.to_thread(self._settings.connect_options, server, credential)

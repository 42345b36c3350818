"""The attempts to connect: choice of the server, back-off, and a limit of time for each.

One attempt opens one `connection.Connection`. Its whole duration is limited, so that no server,
network or certificate delays the next attempt. Servers take turns in an order of this process,
so that the clients of one cluster do not all reconnect to the same server.
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
    """A connection and its credential."""

    connection: Connection
    credential: Credential


class Connector:
    """Opens one connection after the other. Raises AddressError without a server."""

    def __init__(self, settings: NatsOptions) -> None:
        self._settings = settings
        servers = settings.servers
        self._servers = _RANDOM.sample(servers, len(servers))
        self._failures = 0

    @property
    def server(self) -> Server:
        """Return the server to try next; servers take turns in a random order."""
        return self._servers[self._failures % len(self._servers)]

    def reset_backoff(self) -> None:
        """Reset the back-off after a stable connection: the next reconnect starts at once."""
        self._failures = 0

    def count_failure(self) -> None:
        """Count a failed attempt, which moves on to the next server.

        Only a stable connection resets the count: a server that accepts connections and closes
        them at once would otherwise be retried without a pause.
        """
        self._failures += 1

    async def pause(self) -> None:
        """Wait before the next attempt, with jitter so that clients do not reconnect together."""
        rounds, position = divmod(self._failures, len(self._servers))
        if position == 0:  # else the next server has not failed in this round
            longest = min(self._settings.max_backoff, _FIRST_BACKOFF * 2 ** min(rounds, 16))
            await asyncio.sleep(_RANDOM.uniform(longest / 2, longest))

    async def open(self, listener: ConnectionListener) -> OpenedConnection:
        """Open a connection. Raises CarrierDown with the reason of the failure."""
        server, connection = self.server, Connection(self.server, listener)
        credential = Credential("no credential")
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                credential = await asyncio.to_thread(self._settings.read_credential)
                await connection.open(await self._options(server, credential))
        except (CredentialError, TlsError, *CONNECT_ERRORS) as error:
            connection.cut("it did not open")
            sentence = connect_error_message(server, error, credential, connection.connect_bytes)
            raise CarrierDown(sentence) from error
        except BaseException:
            connection.cut("it did not open")
            raise
        return OpenedConnection(connection, credential)

    async def _options(self, server: Server, credential: Credential) -> dict[str, Any]:
        """Build the options in a thread: reading the system's CAs takes a tenth of a second."""
        return await asyncio.to_thread(self._settings.connect_options, server, credential)

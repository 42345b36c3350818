"""Opens associations to other AEs, over TCP or TLS, within time limits (PS3.8 7.1 and 9.1).

`requested_association` has the association itself. How many are open to one peer, and which peers
there are, is the service's.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from dimse_ingestion.upper_layer.associate_items import Roles
from dimse_ingestion.upper_layer.association_errors import PeerUnreachable
from dimse_ingestion.upper_layer.connection import Connection
from dimse_ingestion.upper_layer.limits import UpperLayerLimits
from dimse_ingestion.upper_layer.proposals import Proposal
from dimse_ingestion.upper_layer.requested_association import RequestedAssociation
from dimse_ingestion.upper_layer.requestor_negotiation import ProposedContext, propose
from dimse_ingestion.upper_layer.transport_connection import TransportConnection

_BUFFER_LENGTH = 32 * 1024  # the peer sends responses only
_ABORT_LINGER = 1.0  # seconds for the peer to read an A-ABORT before the connection closes


@dataclass(frozen=True, slots=True)
class RemoteAe:
    """An AE to connect to."""

    ae_title: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None
    """The TLS context; None: without TLS."""
    tls_server_name: str = ""
    """The name that its certificate must have; empty: `host`."""

    def __str__(self) -> str:
        return f"{self.ae_title} at {self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RequestorLimits:
    """Limits for a peer that this side connects to; times in seconds, lengths in bytes."""

    maximum_pdu_length: int = 128 * 1024
    connect_timeout: float = 10.0
    """For the TCP connection, and again for the TLS handshake."""
    association_timeout: float = 30.0
    """From the A-ASSOCIATE-RQ to its answer."""
    response_timeout: float = 60.0
    """From the last byte of a request to its response."""
    write_timeout: float = 60.0
    """For the peer to read some of the bytes sent."""
    release_timeout: float = 10.0
    """From the A-RELEASE-RQ to the end of the connection."""


@asynccontextmanager
async def open_association(
    peer: RemoteAe,
    calling_ae_title: str,
    contexts: Sequence[ProposedContext],
    *,
    roles: Mapping[str, Roles] | None = None,
    outstanding: int = 1,
    limits: RequestorLimits | None = None,
) -> AsyncIterator[RequestedAssociation]:
    """Open an association for the block; release it at the end, or abort it on an exception.

    `outstanding` is the number of requests at once to negotiate. Raises PeerUnreachable and
    AssociationRejected; requests within the block raise AssociationLost.
    """
    limits = limits or RequestorLimits()
    proposal = propose(
        peer.ae_title,
        calling_ae_title,
        contexts,
        roles=roles,
        maximum_pdu_length=limits.maximum_pdu_length,
        outstanding=outstanding,
    )
    host = _Host(proposal, limits)
    connection = await _connect(host, peer, limits)
    try:
        await _establish(host.association, peer, limits)
        yield host.association
        await host.release()
    finally:
        await host.close(connection)


async def _connect(host: "_Host", peer: RemoteAe, limits: RequestorLimits) -> Connection:
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {}
    if peer.tls is not None:
        options = {
            "ssl": peer.tls,
            "server_hostname": peer.tls_server_name or peer.host,
            "ssl_handshake_timeout": limits.connect_timeout,
        }
    longest = limits.connect_timeout * (1 if peer.tls is None else 2)
    try:
        async with asyncio.timeout(longest):
            _, connection = await loop.create_connection(
                lambda: Connection(host), peer.host, peer.port, **options
            )
    except TimeoutError:
        raise PeerUnreachable(f"{peer} did not answer within {longest:g} s.") from None
    except ssl.SSLError as error:
        raise PeerUnreachable(f"The TLS handshake with {peer} failed: {error}.") from error
    except (OSError, UnicodeError) as error:
        raise PeerUnreachable(f"{peer} is not reached: {_reason(error)}.") from error
    return connection


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")


async def _establish(
    association: RequestedAssociation, peer: RemoteAe, limits: RequestorLimits
) -> None:
    try:
        async with asyncio.timeout(limits.association_timeout):
            await association.wait_established()
    except TimeoutError:
        longest = limits.association_timeout
        explanation = f"{peer} did not answer the association request within {longest:g} s."
        association.abort(explanation)
        raise PeerUnreachable(explanation) from None


class _Host:
    """The owner of one connection, with its buffer, timers' limits and tasks."""

    def __init__(self, proposal: Proposal, limits: RequestorLimits) -> None:
        self.limits = UpperLayerLimits(
            maximum_pdu_length=limits.maximum_pdu_length,
            artim_timeout=_ABORT_LINGER,
            write_timeout=limits.write_timeout,
            response_timeout=limits.response_timeout,
        )
        self.buffer = memoryview(bytearray(_BUFFER_LENGTH))
        self.association: RequestedAssociation
        self._proposal = proposal
        self._release_timeout = limits.release_timeout
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = asyncio.Event()

    def create_association(
        self, connection: TransportConnection, peer: tuple[str, int]
    ) -> RequestedAssociation:
        """Return the association of the connection."""
        self.association = RequestedAssociation(
            self._proposal, self.limits, connection, self._spawn, peer
        )
        return self.association

    def add_connection(self, connection: Connection) -> bool:  # noqa: ARG002 - there is one
        """Accept the connection."""
        return True

    def remove_connection(self, connection: Connection) -> None:  # noqa: ARG002 - there is one
        """Note that the connection is closed."""
        self._closed.set()

    async def release(self) -> None:
        """Release the association; abort it when the peer does not answer in time."""
        try:
            async with asyncio.timeout(self._release_timeout):
                await self.association.release()
        except TimeoutError:
            name, seconds = self.association.peer_name, self._release_timeout
            self.association.abort(f"{name} did not release within {seconds:g} s.")

    async def close(self, connection: Connection) -> None:
        """Abort the association if it has not ended, and close the connection."""
        self.association.abort("The association ends because of an error on this side.")
        try:
            async with asyncio.timeout(_ABORT_LINGER):
                await self._closed.wait()
        except TimeoutError:
            pass
        finally:
            connection.close()
            for task in self._tasks:
                task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

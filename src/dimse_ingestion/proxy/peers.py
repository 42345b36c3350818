"""Associations to the peers of the settings, at most so many to each at once.

The upper layer opens them (`upper_layer.requestor`); what is sent on them is the caller's.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from dimse_ingestion.dicom.uids import IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from dimse_ingestion.failures import Refused
from dimse_ingestion.proxy.dicom_tls import client_context
from dimse_ingestion.settings import Peer, ProxySettings
from dimse_ingestion.upper_layer.associate_items import Roles
from dimse_ingestion.upper_layer.requested_association import RequestedAssociation
from dimse_ingestion.upper_layer.requestor import RemoteAe, RequestorLimits, open_association
from dimse_ingestion.upper_layer.requestor_negotiation import ProposedContext


class PeerAssociations:
    """Open associations to peers. Raises ConfigurationMistake when a file of TLS can't be used."""

    def __init__(self, settings: ProxySettings) -> None:
        self._tls = client_context(settings)
        self._limits = RequestorLimits(
            maximum_pdu_length=settings.maximum_pdu_length,
            association_timeout=settings.artim_timeout,
            response_timeout=settings.message_timeout,
            write_timeout=settings.write_timeout,
        )
        self._free: dict[tuple[str, int], asyncio.Semaphore] = {}

    def replace_tls(self, tls: ssl.SSLContext | None) -> None:
        """Use another TLS context for new associations."""
        self._tls = tls

    @asynccontextmanager
    async def open(
        self,
        peer: Peer,
        calling_ae_title: str,
        contexts: Sequence[ProposedContext],
        *,
        roles: Mapping[str, Roles] | None = None,
    ) -> AsyncIterator[RequestedAssociation]:
        """Open an association to a peer for the block, as soon as fewer than its maximum are open.

        Raises PeerUnreachable and AssociationRejected, and Refused for a peer without an address.
        """
        remote = _remote(peer, self._tls)
        limit = (peer.ae_title, peer.maximum_associations)
        async with (
            self._free.setdefault(limit, asyncio.Semaphore(peer.maximum_associations)),
            open_association(
                remote, calling_ae_title, contexts, roles=roles, limits=self._limits
            ) as association,
        ):
            yield association


async def echo(associations: PeerAssociations, peer: Peer, calling_ae_title: str) -> None:
    """Send a C-ECHO to a peer. Raises a Failure when it does not succeed."""
    contexts = [ProposedContext(VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))]
    async with associations.open(peer, calling_ae_title, contexts) as association:
        if association.context(VERIFICATION) is None:
            raise Refused("It accepts the association, and refuses the Verification SOP class.")
        response = await association.echo()
    if response.status:
        raise Refused(f"It answered the C-ECHO with status {response.status:04X}H.")


def _remote(peer: Peer, tls: ssl.SSLContext | None) -> RemoteAe:
    if peer.address is None:
        raise Refused(f"The peer {peer.ae_title} has no address: give its host and port in peers.")
    host, port = peer.address
    used = tls if peer.tls else None
    return RemoteAe(peer.ae_title, host, port, used, peer.tls_server_name)

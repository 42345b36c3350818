"""Reports as N-EVENT-REPORT requests (PS3.4 J.3.3), on both kinds of association.

On a new association this side is the requestor and stays the SCP, which it says by role selection.
When and how often a report is sent is `reports`' part.
"""

from collections.abc import Callable

from dimse_ingestion.dicom.contexts import COMMITMENT_SYNTAXES
from dimse_ingestion.dicom.uids import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.proxy.commitment.reports import Report, ReportRefused
from dimse_ingestion.proxy.peers import PeerAssociations
from dimse_ingestion.settings import Peer
from dimse_ingestion.upper_layer.associate_items import Roles
from dimse_ingestion.upper_layer.requestor_negotiation import ProposedContext
from dimse_ingestion.upper_layer.services import (
    AssociationHandle,
    Command,
    CommandField,
    PresentationContext,
    Response,
)

_CONTEXTS = (ProposedContext(STORAGE_COMMITMENT, COMMITMENT_SYNTAXES),)
_AS_SCP = {STORAGE_COMMITMENT: Roles(scu=False, scp=True)}


class EventReports:
    """The `ReportSender` of a proxy; `peer` returns the settings of an AE title."""

    def __init__(self, associations: PeerAssociations, peer: Callable[[str], Peer | None]) -> None:
        self._associations = associations
        self._peer = peer

    async def send_on(self, association: AssociationHandle, report: Report) -> None:
        """Send a report on an association that the AE has opened."""
        context = _commitment_context(association)
        if context is None:
            raise Unavailable("The association has no context of storage commitment.")
        event_information = await report.encode(context.transfer_syntax_uid)
        command = Command(
            CommandField.N_EVENT_REPORT_RQ,
            0,
            STORAGE_COMMITMENT,
            STORAGE_COMMITMENT_INSTANCE,
            event_type_id=report.event_type,
        )
        _check(await association.invoke(context, command, event_information))

    async def send(self, report: Report) -> None:
        """Send a report on a new association to the AE's configured address."""
        accepted = report.accepted
        peer = self._peer(accepted.calling_ae_title)
        if peer is None:
            raise Unavailable(f"The AE {accepted.calling_ae_title} is not in peers any more.")
        async with self._associations.open(
            peer, accepted.called_ae_title, _CONTEXTS, roles=_AS_SCP
        ) as association:
            context = association.context(STORAGE_COMMITMENT)
            if context is None:
                raise Unavailable(f"{peer.ae_title} refuses the Storage Commitment Push Model.")
            response = await association.event_report(
                context,
                STORAGE_COMMITMENT_INSTANCE,
                report.event_type,
                await report.encode(context.transfer_syntax_uid),
            )
        _check(response)


def _commitment_context(association: AssociationHandle) -> PresentationContext | None:
    contexts = association.contexts.values()
    return next((each for each in contexts if each.abstract_syntax == STORAGE_COMMITMENT), None)


def _check(response: Response) -> None:
    if response.status:
        raise ReportRefused(f"The AE answered the report with status {response.status:04X}H.")

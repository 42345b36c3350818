"""The decision on an association request: the service's answer, or a rejection if it fails."""

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.upper_layer.negotiation import Agreement, agree
from dimse_ingestion.upper_layer.proposals import Proposal
from dimse_ingestion.upper_layer.services import (
    Acceptance,
    AssociationHandle,
    Rejection,
    RejectReason,
    RejectResult,
    Services,
)

_LOG = logger(__name__)
_UNABLE = Rejection(
    RejectResult.TRANSIENT, RejectReason.TEMPORARY_CONGESTION, "The service could not decide."
)


async def decide(
    services: Services, association: AssociationHandle, proposal: Proposal, maximum_pdu_length: int
) -> Agreement | Rejection:
    """Return the service's decision; if the service raises, log it and reject as transient."""
    try:
        answer = await services.associate(association.request)
    except Exception:  # noqa: BLE001 - the peer gets an answer when a service fails
        return _reject_after_error(association)
    if isinstance(answer, Rejection):
        return answer
    return _agree(services, association, proposal, answer, maximum_pdu_length)


def _agree(
    services: Services,
    association: AssociationHandle,
    proposal: Proposal,
    acceptance: Acceptance,
    maximum_pdu_length: int,
) -> Agreement | Rejection:
    try:
        return agree(proposal, acceptance, maximum_pdu_length)
    except Exception:  # noqa: BLE001 - `choose` is the service's
        services.association_ended(association, "aborted")
        return _reject_after_error(association)


def _reject_after_error(association: AssociationHandle) -> Rejection:
    _LOG.exception(
        "Deciding on an association failed because of an error in this software.",
        association_id=association.request.association_id,
    )
    return _UNABLE

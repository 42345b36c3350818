"""What a requestor proposes, and what it concludes from the answer (PS3.8 7.1; PS3.7 annex D).

It does no I/O. The acceptor's half is `negotiation`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dimse_ingestion.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dimse_ingestion.upper_layer.associate_ac import AssociateAc, ContextAnswer, ContextResult
from dimse_ingestion.upper_layer.associate_items import (
    APPLICATION_CONTEXT_NAME,
    PROTOCOL_VERSION,
    SHORTEST_PDU_LENGTH,
    USUAL_PDU_LENGTH,
    Roles,
    UserInformation,
)
from dimse_ingestion.upper_layer.pdus import AbortReason, ProtocolError
from dimse_ingestion.upper_layer.proposals import Proposal
from dimse_ingestion.upper_layer.services import PresentationContext

MOST_CONTEXTS = 128
"""Presentation contexts of one association: odd ids from 1 to 255 (PS3.8 9.3.2.2)."""
_TITLE_LENGTH = 16
AS_SCU = Roles(scu=True, scp=False)
"""The requestor's roles where none are negotiated (PS3.7 D.3.3.4)."""


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """One presentation context to propose."""

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The result of a negotiation."""

    contexts: Mapping[int, PresentationContext] = field(default_factory=dict)
    """The accepted contexts."""
    refused: Mapping[str, ContextResult] = field(default_factory=dict)
    """Abstract syntax → the result of its last context that was not accepted."""
    roles: Mapping[str, Roles] = field(default_factory=dict)
    """SOP class UID → the roles that the acceptor granted this side; only those it answered."""
    peer_maximum_pdu_length: int = USUAL_PDU_LENGTH
    """Bytes; 0 = unlimited."""
    outstanding: int = 1
    """The most requests that may wait for a response at once."""


def propose(
    called_ae_title: str,
    calling_ae_title: str,
    contexts: Sequence[ProposedContext],
    *,
    roles: Mapping[str, Roles] | None = None,
    maximum_pdu_length: int,
    outstanding: int = 1,
) -> Proposal:
    """Return the proposal for an association. Raises ValueError for too many or no contexts."""
    if not 0 < len(contexts) <= MOST_CONTEXTS:
        raise ValueError(f"{len(contexts)} presentation contexts: 1 to {MOST_CONTEXTS} can be.")
    return Proposal(
        protocol_version=PROTOCOL_VERSION,
        called=_title(called_ae_title),
        calling=_title(calling_ae_title),
        reserved=bytes(32),
        application_context_name=APPLICATION_CONTEXT_NAME,
        contexts={
            2 * index + 1: (each.abstract_syntax, each.transfer_syntaxes)
            for index, each in enumerate(contexts)
        },
        user=UserInformation(
            maximum_pdu_length=maximum_pdu_length,
            implementation_class_uid=IMPLEMENTATION_CLASS_UID,
            implementation_version_name=IMPLEMENTATION_VERSION_NAME,
            asynchronous_operations=(outstanding, 1) if outstanding > 1 else None,
            roles=dict(roles or {}),
        ),
    )


def conclude(proposal: Proposal, answer: AssociateAc) -> Negotiated:
    """Return what an A-ASSOCIATE-AC agrees to. Raises ProtocolError.

    An answer to a context that was not proposed, or with a transfer syntax that was not proposed
    for it, counts as a refusal of the context.
    """
    length = answer.user.maximum_pdu_length
    if 0 < length < SHORTEST_PDU_LENGTH:
        explanation = f"The peer takes PDUs of {length} bytes at most, too short for any message."
        raise ProtocolError(AbortReason.INVALID_PDU_PARAMETER_VALUE, explanation)
    contexts: dict[int, PresentationContext] = {}
    refused: dict[str, ContextResult] = {}
    for context_id, (abstract_syntax, transfer_syntaxes) in proposal.contexts.items():
        given = answer.contexts.get(context_id)
        if given is not None and _is_accepted(given, transfer_syntaxes):
            contexts[context_id] = PresentationContext(
                context_id, abstract_syntax, given.transfer_syntax_uid
            )
        else:
            refused[abstract_syntax] = _result(given)
    return Negotiated(
        contexts=contexts,
        refused=refused,
        roles={uid: each for uid, each in answer.user.roles.items() if uid in proposal.user.roles},
        peer_maximum_pdu_length=length,
        outstanding=_outstanding(proposal.user, answer.user),
    )


def _is_accepted(answer: ContextAnswer, proposed: tuple[str, ...]) -> bool:
    return answer.result is ContextResult.ACCEPTED and answer.transfer_syntax_uid in proposed


def _result(answer: ContextAnswer | None) -> ContextResult:
    if answer is None or answer.result is ContextResult.ACCEPTED:
        return ContextResult.NO_REASON
    return answer.result


def _outstanding(proposed: UserInformation, answered: UserInformation) -> int:
    """Return the requests at once: one, unless both sides negotiated more (PS3.7 D.3.3.3)."""
    if proposed.asynchronous_operations is None or answered.asynchronous_operations is None:
        return 1
    wanted, granted = proposed.asynchronous_operations[0], answered.asynchronous_operations[0]
    return min(wanted, granted) if granted else wanted


def _title(ae_title: str) -> bytes:
    return ae_title.encode("ascii", "replace")[:_TITLE_LENGTH].ljust(_TITLE_LENGTH)

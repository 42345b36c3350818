"""The acceptor's answer to an association request (PS3.8 7.1; PS3.7 annex D).

The service chooses the transfer syntaxes; this module adds what the standard prescribes. It does
no I/O.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dimse_ingestion.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dimse_ingestion.upper_layer.associate_ac import ContextAnswer, ContextResult, encode_accept
from dimse_ingestion.upper_layer.associate_items import (
    APPLICATION_CONTEXT_NAME,
    SHORTEST_PDU_LENGTH,
    Roles,
    UserInformation,
)
from dimse_ingestion.upper_layer.pdus import AbortReason, ProtocolError
from dimse_ingestion.upper_layer.proposals import Proposal
from dimse_ingestion.upper_layer.services import (
    Acceptance,
    AssociationRequest,
    PresentationContext,
    Rejection,
    RejectReason,
    RejectResult,
)

_IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
_ONE_AT_A_TIME = (1, 1)
_AS_SCU = Roles(scu=True, scp=False)  # the requestor's roles where none were negotiated


@dataclass(frozen=True, slots=True)
class Agreement:
    """An accepted association: the encoded A-ASSOCIATE-AC and the negotiated parameters."""

    answer: bytes
    contexts: Mapping[int, PresentationContext]
    peer_maximum_pdu_length: int
    """Bytes; 0 = unlimited."""


def association_request(
    proposal: Proposal, association_id: str, peer_address: str, peer_port: int
) -> AssociationRequest:
    """Return the proposal as a service sees it."""
    return AssociationRequest(
        association_id=association_id,
        called_ae_title=proposal.called_ae_title,
        calling_ae_title=proposal.calling_ae_title,
        peer_address=peer_address,
        peer_port=peer_port,
        implementation_class_uid=proposal.user.implementation_class_uid,
        implementation_version_name=proposal.user.implementation_version_name,
        proposed=proposal.contexts,
        extended=proposal.user.extended,
        proposed_scp={uid: offered.scp for uid, offered in proposal.user.roles.items()},
    )


def provider_rejection(proposal: Proposal) -> Rejection | None:
    """Return the rejection by the provider itself, or None.

    Raises ProtocolError if the peer's maximum PDU length is too short for any message.
    """
    if not proposal.is_version_1:
        return Rejection(
            RejectResult.PERMANENT,
            RejectReason.PROTOCOL_VERSION_NOT_SUPPORTED,
            f"Protocol version {proposal.protocol_version:04X}H is offered.",
        )
    if proposal.application_context_name != APPLICATION_CONTEXT_NAME:
        return Rejection(
            RejectResult.PERMANENT,
            RejectReason.APPLICATION_CONTEXT_NOT_SUPPORTED,
            "The application context is not DICOM's.",
        )
    if 0 < proposal.user.maximum_pdu_length < SHORTEST_PDU_LENGTH:
        length = proposal.user.maximum_pdu_length
        explanation = f"The peer takes PDUs of {length} bytes at most, too short for any message."
        raise ProtocolError(AbortReason.INVALID_PDU_PARAMETER_VALUE, explanation)
    return None


def agree(proposal: Proposal, acceptance: Acceptance, maximum_pdu_length: int) -> Agreement:
    """Return the agreement for an accepted association.

    `maximum_pdu_length` is this side's limit.
    """
    roles = {
        uid: Roles(scu=offered.scu, scp=offered.scp and acceptance.may_be_scp(uid))
        for uid, offered in proposal.user.roles.items()
    }
    answers = {
        context_id: _answer(proposed, acceptance.choose, roles)
        for context_id, proposed in proposal.contexts.items()
    }
    accepted = _accepted(proposal, answers, roles, acceptance)
    classes = {context.abstract_syntax for context in accepted.values()}
    user = UserInformation(
        maximum_pdu_length=maximum_pdu_length,
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
        asynchronous_operations=proposal.user.asynchronous_operations and _ONE_AT_A_TIME,
        roles={uid: granted for uid, granted in roles.items() if uid in classes},
        extended={uid: value for uid, value in acceptance.extended.items() if uid in classes},
    )
    answer = encode_accept(proposal, answers, user)
    return Agreement(answer, accepted, proposal.user.maximum_pdu_length)


def _answer(
    proposed: tuple[str, tuple[str, ...]],
    choose: Callable[[str, tuple[str, ...]], str | None],
    roles: Mapping[str, Roles],
) -> ContextAnswer:
    abstract_syntax, transfer_syntaxes = proposed
    if not abstract_syntax:
        insignificant = next(iter(transfer_syntaxes), _IMPLICIT_VR_LITTLE_ENDIAN)
        return ContextAnswer(ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, insignificant)
    chosen = choose(abstract_syntax, transfer_syntaxes)
    if chosen and chosen in transfer_syntaxes:
        granted = roles.get(abstract_syntax, _AS_SCU)
        usable = granted.scu or granted.scp
        result = ContextResult.ACCEPTED if usable else ContextResult.USER_REJECTION
        return ContextAnswer(result, chosen)
    insignificant = next(iter(transfer_syntaxes), _IMPLICIT_VR_LITTLE_ENDIAN)
    if chosen is None:
        return ContextAnswer(ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, insignificant)
    return ContextAnswer(ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, insignificant)


def _accepted(
    proposal: Proposal,
    answers: Mapping[int, ContextAnswer],
    roles: Mapping[str, Roles],
    acceptance: Acceptance,
) -> dict[int, PresentationContext]:
    accepted = {}
    for context_id, answer in answers.items():
        if answer.result is ContextResult.ACCEPTED:
            abstract_syntax = proposal.contexts[context_id][0]
            role = roles.get(abstract_syntax) or _assumed(abstract_syntax, acceptance)
            accepted[context_id] = PresentationContext(
                context_id, abstract_syntax, answer.transfer_syntax_uid, role.scu, role.scp
            )
    return accepted


def _assumed(abstract_syntax: str, acceptance: Acceptance) -> Roles:
    """Return the requestor's roles of a class without a role selection."""
    scp = acceptance.assumes_scp and acceptance.may_be_scp(abstract_syntax)
    return Roles(scu=True, scp=scp)

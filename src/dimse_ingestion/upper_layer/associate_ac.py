"""Codec of A-ASSOCIATE-AC (PS3.8 9.3.3): the acceptor encodes it, the requestor decodes it.

Whether the answer fits the proposal is checked in `requestor_negotiation`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count

from dimse_ingestion.upper_layer.associate_items import (
    APPLICATION_CONTEXT_NAME,
    CONTEXT,
    FIXED,
    PROTOCOL_VERSION,
    Item,
    UserInformation,
    add_user_information,
    encode_user_information,
    invalid,
    item,
    items,
    text,
)
from dimse_ingestion.upper_layer.pdus import HEADER, PduType
from dimse_ingestion.upper_layer.proposals import Proposal


class ContextResult(IntEnum):
    """Result of one proposed presentation context (PS3.8 table 9-18)."""

    ACCEPTED = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


@dataclass(frozen=True, slots=True)
class ContextAnswer:
    """The result of one proposed context; the transfer syntax is significant only if accepted."""

    result: ContextResult
    transfer_syntax_uid: str


@dataclass(slots=True)
class AssociateAc:
    """An A-ASSOCIATE-AC as the requestor receives it."""

    contexts: dict[int, ContextAnswer] = field(default_factory=dict)
    user: UserInformation = field(default_factory=UserInformation)


def encode_accept(
    proposal: Proposal, contexts: Mapping[int, ContextAnswer], user: UserInformation
) -> bytes:
    """Encode the A-ASSOCIATE-AC that accepts a proposal."""
    content = b"".join(
        (
            FIXED.pack(PROTOCOL_VERSION, proposal.called, proposal.calling, proposal.reserved),
            item(Item.APPLICATION_CONTEXT, APPLICATION_CONTEXT_NAME.encode()),
            *(_encode_context(context_id, answer) for context_id, answer in contexts.items()),
            encode_user_information(user),
        )
    )
    return HEADER.pack(PduType.ASSOCIATE_AC, len(content)) + content


def decode_accept(content: bytes) -> AssociateAc:
    """Decode an A-ASSOCIATE-AC from the bytes after its header. Raises ProtocolError."""
    if len(content) < FIXED.size:
        raise invalid("it is too short")
    accept = AssociateAc()
    seen = count()
    for item_type, content_of_item in items(content[FIXED.size :], seen):
        if item_type == Item.ANSWERED_CONTEXT:
            context_id, answer = _decode_context(content_of_item)
            accept.contexts[context_id] = answer
        elif item_type == Item.USER_INFORMATION:
            for sub_type, sub_item in items(content_of_item, seen):
                add_user_information(accept.user, sub_type, sub_item)
    return accept


def _encode_context(context_id: int, answer: ContextAnswer) -> bytes:
    transfer_syntax = item(Item.TRANSFER_SYNTAX, answer.transfer_syntax_uid.encode())
    content = CONTEXT.pack(context_id, answer.result) + transfer_syntax
    return item(Item.ANSWERED_CONTEXT, content)


def _decode_context(content: bytes) -> tuple[int, ContextAnswer]:
    """Decode one context; a result that is not in table 9-18 counts as a rejection."""
    if len(content) < CONTEXT.size:
        raise invalid("a presentation context is too short")
    context_id, number = CONTEXT.unpack_from(content)
    known = number in ContextResult.__members__.values()
    result = ContextResult(number) if known else ContextResult.NO_REASON
    transfer_syntax = ""
    if result is ContextResult.ACCEPTED:  # else the sub-item is not significant, or missing
        for sub_type, sub_item in items(content[CONTEXT.size :], count()):
            if sub_type == Item.TRANSFER_SYNTAX:
                transfer_syntax = text(sub_item)
    return context_id, ContextAnswer(result, transfer_syntax)

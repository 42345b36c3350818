"""Codec of A-ASSOCIATE-RQ (PS3.8 9.3.2): the acceptor decodes it, the requestor encodes it.

Deviations of devices from the standard are accepted where they have only one meaning; the
conformance statement lists them. Decisions are made in `negotiation`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count, islice

from dimse_ingestion.upper_layer.associate_items import (
    CONTEXT,
    FIXED,
    ITEM_HEADER,
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

_LONGEST_KNOWN = 8 * 1024  # bytes of sub-items that are cached


@dataclass(slots=True)
class Proposal:
    """An A-ASSOCIATE-RQ."""

    protocol_version: int
    called: bytes
    calling: bytes
    """Both titles as the 16 bytes received: the answer repeats them."""
    reserved: bytes
    application_context_name: str = ""
    contexts: dict[int, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    user: UserInformation = field(default_factory=UserInformation)

    @property
    def called_ae_title(self) -> str:
        """Return the title up to the first NUL, without outer blanks."""
        return text(self.called)

    @property
    def calling_ae_title(self) -> str:
        """Return the title up to the first NUL, without outer blanks."""
        return text(self.calling)

    @property
    def is_version_1(self) -> bool:
        """Return whether protocol version 1, the only one, is offered."""
        return bool(self.protocol_version & PROTOCOL_VERSION)


def decode(content: bytes) -> Proposal:
    """Decode an A-ASSOCIATE-RQ from the bytes after its header. Raises ProtocolError."""
    if len(content) < FIXED.size:
        raise invalid("it is too short")
    proposal = Proposal(*FIXED.unpack_from(content))
    seen = count()
    for item_type, content_of_item in items(content[FIXED.size :], seen):
        if item_type == Item.APPLICATION_CONTEXT:
            proposal.application_context_name = text(content_of_item)
        elif item_type == Item.PROPOSED_CONTEXT:
            _add_context(proposal, content_of_item, seen)
        elif item_type == Item.USER_INFORMATION:
            for sub_type, sub_item in items(content_of_item, seen):
                add_user_information(proposal.user, sub_type, sub_item)
    return proposal


def encode(proposal: Proposal) -> bytes:
    """Encode an A-ASSOCIATE-RQ with its header."""
    content = b"".join(
        (
            FIXED.pack(
                proposal.protocol_version, proposal.called, proposal.calling, proposal.reserved
            ),
            item(Item.APPLICATION_CONTEXT, proposal.application_context_name.encode()),
            *(_encode_context(context_id, *each) for context_id, each in proposal.contexts.items()),
            encode_user_information(proposal.user),
        )
    )
    return HEADER.pack(PduType.ASSOCIATE_RQ, len(content)) + content


def _encode_context(
    context_id: int, abstract_syntax: str, transfer_syntaxes: tuple[str, ...]
) -> bytes:
    syntaxes = b"".join(item(Item.TRANSFER_SYNTAX, each.encode()) for each in transfer_syntaxes)
    abstract = item(Item.ABSTRACT_SYNTAX, abstract_syntax.encode())
    return item(Item.PROPOSED_CONTEXT, CONTEXT.pack(context_id, 0) + abstract + syntaxes)


def _add_context(proposal: Proposal, content_of_item: bytes, seen: Iterator[int]) -> None:
    if len(content_of_item) < CONTEXT.size:
        raise invalid("a presentation context is too short")
    content = content_of_item[CONTEXT.size :]
    split = ITEM_HEADER.size + int.from_bytes(content[2:4])  # the rest is the same in most contexts
    abstract_syntax, before, first_items = _syntaxes(content[:split])
    other_abstract_syntax, transfer_syntaxes, more_items = _syntaxes(content[split:])
    next(islice(seen, first_items + more_items, None), None)
    _propose(
        proposal.contexts,
        content_of_item[0],
        other_abstract_syntax or abstract_syntax,
        (*before, *transfer_syntaxes),
    )


def _syntaxes(content: bytes) -> tuple[str, tuple[str, ...], int]:
    """Return the abstract and transfer syntaxes of sub-items, and the number of sub-items."""
    return _known_syntaxes(content) if len(content) <= _LONGEST_KNOWN else _read(content)


def _read(content: bytes) -> tuple[str, tuple[str, ...], int]:
    abstract_syntax, transfer_syntaxes, found = "", [], 0
    for sub_type, sub_item in items(content, count()):
        found += 1
        if sub_type == Item.ABSTRACT_SYNTAX:
            abstract_syntax = text(sub_item)
        elif sub_type == Item.TRANSFER_SYNTAX:
            transfer_syntaxes.append(text(sub_item))
    return abstract_syntax, tuple(transfer_syntaxes), found


@lru_cache(maxsize=256)
def _known_syntaxes(content: bytes) -> tuple[str, tuple[str, ...], int]:
    """Read sub-items through a cache: most contexts propose the same transfer syntaxes."""
    return _read(content)


def _propose(
    contexts: dict[int, tuple[str, tuple[str, ...]]],
    context_id: int,
    abstract_syntax: str,
    transfer_syntaxes: tuple[str, ...],
) -> None:
    """Add a context; one with a known id adds only its transfer syntaxes.

    It is ignored if its abstract syntax differs from the first one's.
    """
    first, syntaxes = contexts.get(context_id, (abstract_syntax, ()))
    if first == abstract_syntax:
        contexts[context_id] = first, (*syntaxes, *transfer_syntaxes)

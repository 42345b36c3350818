"""Codec of A-ASSOCIATE-RQ and A-ASSOCIATE-AC (PS3.8 9.3.2, 9.3.3 and annex D; PS3.7 annex D).

Items of unknown types are skipped, as PS3.8 9.3.1 requires, so that newer modalities can connect.
Deviations of devices from the standard are accepted where they have only one meaning; the
conformance statement lists them. Decisions are made in `negotiation`.
"""

import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from itertools import count, islice

from dimse_ingestion.upper_layer.pdus import HEADER, AbortReason, PduType, ProtocolError

APPLICATION_CONTEXT_NAME = "1.2.840.10008.3.1.1.1"

_FIXED = struct.Struct(">H2x16s16s32s")
_ITEM = struct.Struct(">BxH")
_CONTEXT = struct.Struct(">BxBx")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_PAIR = struct.Struct(">HH")
_PROTOCOL_VERSION = 0x0001
_PADDING = " \t\r\n"
_LONGEST_KNOWN = 8 * 1024  # bytes of sub-items that are cached
_MOST_ITEMS = 32 * 1024
"""Maximum items of a proposal, nested ones included; 256 contexts of 60 syntaxes have half."""
USUAL_PDU_LENGTH = 16 * 1024
"""Bytes of a P-DATA-TF for a peer that gives no maximum: all implementations accept this."""


class _Item(IntEnum):
    """Types of items and sub-items."""

    APPLICATION_CONTEXT = 0x10
    PROPOSED_CONTEXT = 0x20
    ANSWERED_CONTEXT = 0x21
    ABSTRACT_SYNTAX = 0x30
    TRANSFER_SYNTAX = 0x40
    USER_INFORMATION = 0x50
    MAXIMUM_LENGTH = 0x51
    IMPLEMENTATION_CLASS_UID = 0x52
    ASYNCHRONOUS_OPERATIONS = 0x53
    ROLE_SELECTION = 0x54
    IMPLEMENTATION_VERSION_NAME = 0x55
    EXTENDED_NEGOTIATION = 0x56


class ContextResult(IntEnum):
    """Result of one proposed presentation context (PS3.8 table 9-18)."""

    ACCEPTED = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles of the requestor for one SOP class (PS3.7 D.3.3.4)."""

    scu: bool
    scp: bool


@dataclass(slots=True)
class UserInformation:
    """The User Information item of either side; None for an absent sub-item."""

    maximum_pdu_length: int = USUAL_PDU_LENGTH
    """Bytes of the longest P-DATA-TF it takes; 0 = unlimited."""
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    asynchronous_operations: tuple[int, int] | None = None
    """Operations invoked and performed at once; 0 = unlimited."""
    roles: dict[str, Roles] = field(default_factory=dict)
    extended: dict[str, bytes] = field(default_factory=dict)


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
        return _text(self.called)

    @property
    def calling_ae_title(self) -> str:
        """Return the title up to the first NUL, without outer blanks."""
        return _text(self.calling)

    @property
    def is_version_1(self) -> bool:
        """Return whether protocol version 1, the only one, is offered."""
        return bool(self.protocol_version & _PROTOCOL_VERSION)


@dataclass(frozen=True, slots=True)
class ContextAnswer:
    """The result of one proposed context; the transfer syntax is significant only if accepted."""

    result: ContextResult
    transfer_syntax_uid: str


def decode(content: bytes) -> Proposal:
    """Decode an A-ASSOCIATE-RQ from the bytes after its header. Raises ProtocolError."""
    if len(content) < _FIXED.size:
        raise _invalid("it is too short")
    proposal = Proposal(*_FIXED.unpack_from(content))
    seen = count()
    for item_type, item in _items(content[_FIXED.size :], seen):
        if item_type == _Item.APPLICATION_CONTEXT:
            proposal.application_context_name = _text(item)
        elif item_type == _Item.PROPOSED_CONTEXT:
            _add_context(proposal, item, seen)
        elif item_type == _Item.USER_INFORMATION:
            for sub_type, sub_item in _items(item, seen):
                _add_user_information(proposal.user, sub_type, sub_item)
    return proposal


def encode_accept(
    proposal: Proposal, contexts: Mapping[int, ContextAnswer], user: UserInformation
) -> bytes:
    """Encode the A-ASSOCIATE-AC that accepts a proposal."""
    content = b"".join(
        (
            _FIXED.pack(_PROTOCOL_VERSION, proposal.called, proposal.calling, proposal.reserved),
            _item(_Item.APPLICATION_CONTEXT, APPLICATION_CONTEXT_NAME.encode()),
            *(_encode_context(context_id, answer) for context_id, answer in contexts.items()),
            _item(_Item.USER_INFORMATION, b"".join(_user_information(user))),
        )
    )
    return HEADER.pack(PduType.ASSOCIATE_AC, len(content)) + content


def _items(content: bytes, seen: Iterator[int]) -> Iterator[tuple[int, bytes]]:
    position, end, unpack = 0, len(content), _ITEM.unpack_from
    while position < end:
        begin = position + _ITEM.size
        if next(seen) >= _MOST_ITEMS:
            raise _invalid(f"it has more than {_MOST_ITEMS} items")
        if begin > end:
            raise _invalid("it ends within an item")
        item_type, length = unpack(content, position)
        position = begin + length
        if position > end:
            raise _invalid(f"its item of type {item_type:02X}H has length {length}")
        yield item_type, content[begin:position]


def _add_context(proposal: Proposal, item: bytes, seen: Iterator[int]) -> None:
    if len(item) < _CONTEXT.size:
        raise _invalid("a presentation context is too short")
    content = item[_CONTEXT.size :]
    split = _ITEM.size + int.from_bytes(content[2:4])  # the rest is the same in most contexts
    abstract_syntax, before, items = _syntaxes(content[:split])
    other_abstract_syntax, transfer_syntaxes, more_items = _syntaxes(content[split:])
    next(islice(seen, items + more_items, None), None)
    _propose(
        proposal.contexts,
        item[0],
        other_abstract_syntax or abstract_syntax,
        (*before, *transfer_syntaxes),
    )


def _syntaxes(content: bytes) -> tuple[str, tuple[str, ...], int]:
    """Return the abstract and transfer syntaxes of sub-items, and the number of sub-items."""
    return _known_syntaxes(content) if len(content) <= _LONGEST_KNOWN else _read(content)


def _read(content: bytes) -> tuple[str, tuple[str, ...], int]:
    abstract_syntax, transfer_syntaxes, items = "", [], 0
    for sub_type, sub_item in _items(content, count()):
        items += 1
        if sub_type == _Item.ABSTRACT_SYNTAX:
            abstract_syntax = _text(sub_item)
        elif sub_type == _Item.TRANSFER_SYNTAX:
            transfer_syntaxes.append(_text(sub_item))
    return abstract_syntax, tuple(transfer_syntaxes), items


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


def _add_user_information(user: UserInformation, item_type: int, item: bytes) -> None:
    """Store a sub-item; ignore a truncated one, because all are optional."""
    with suppress(struct.error, ValueError):
        _add_known(user, item_type, item)


def _add_known(user: UserInformation, item_type: int, item: bytes) -> None:
    match item_type:
        case _Item.MAXIMUM_LENGTH:
            (user.maximum_pdu_length,) = _U32.unpack_from(item)
        case _Item.IMPLEMENTATION_CLASS_UID:
            user.implementation_class_uid = _text(item)
        case _Item.IMPLEMENTATION_VERSION_NAME:
            user.implementation_version_name = _text(item)
        case _Item.ASYNCHRONOUS_OPERATIONS:
            user.asynchronous_operations = _PAIR.unpack_from(item)
        case _Item.ROLE_SELECTION:
            sop_class_uid, rest = _uid_and_rest(item)
            scu, scp = struct.unpack_from("??", rest)
            user.roles[sop_class_uid] = Roles(scu, scp)
        case _Item.EXTENDED_NEGOTIATION:
            sop_class_uid, user.extended[sop_class_uid] = _uid_and_rest(item)
        case _:
            pass  # user identity, common extended negotiation, and future sub-items


def _uid_and_rest(item: bytes) -> tuple[str, bytes]:
    (length,) = _U16.unpack_from(item)
    rest = item[_U16.size :]
    if length > len(rest):
        raise ValueError("a UID is longer than its item")
    return _text(rest[:length]), rest[length:]


def _item(item_type: _Item, content: bytes) -> bytes:
    return _ITEM.pack(item_type, len(content)) + content


def _encode_context(context_id: int, answer: ContextAnswer) -> bytes:
    transfer_syntax = _item(_Item.TRANSFER_SYNTAX, answer.transfer_syntax_uid.encode())
    content = _CONTEXT.pack(context_id, answer.result) + transfer_syntax
    return _item(_Item.ANSWERED_CONTEXT, content)


def _user_information(user: UserInformation) -> Iterator[bytes]:
    yield _item(_Item.MAXIMUM_LENGTH, _U32.pack(user.maximum_pdu_length))
    yield _item(_Item.IMPLEMENTATION_CLASS_UID, user.implementation_class_uid.encode())
    if user.asynchronous_operations is not None:
        yield _item(_Item.ASYNCHRONOUS_OPERATIONS, _PAIR.pack(*user.asynchronous_operations))
    for sop_class_uid, roles in user.roles.items():
        flags = bytes([roles.scu, roles.scp])
        yield _item(_Item.ROLE_SELECTION, _encode_uid(sop_class_uid) + flags)
    yield _item(_Item.IMPLEMENTATION_VERSION_NAME, user.implementation_version_name.encode())
    for sop_class_uid, information in user.extended.items():
        yield _item(_Item.EXTENDED_NEGOTIATION, _encode_uid(sop_class_uid) + information)


def _encode_uid(uid: str) -> bytes:
    return _U16.pack(len(uid)) + uid.encode()


def _text(content: bytes) -> str:
    """Return text up to the first NUL, without outer blanks; non-ASCII becomes question marks.

    Some devices copy C strings into a field, with arbitrary memory behind the NUL.
    """
    text = content.partition(b"\0")[0].decode("ascii", "replace")
    return text.replace("\N{REPLACEMENT CHARACTER}", "?").strip(_PADDING)


def _invalid(what: str) -> ProtocolError:
    return ProtocolError(
        AbortReason.INVALID_PDU_PARAMETER_VALUE, f"The A-ASSOCIATE-RQ can't be read: {what}."
    )

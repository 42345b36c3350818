"""Items of A-ASSOCIATE-RQ and -AC that both have, user information first (PS3.8 annex D, PS3.7 D).

Items of unknown types are skipped, as PS3.8 9.3.1 requires, so that newer devices can connect.
Deviations of devices from the standard are accepted where they have only one meaning; the
conformance statement lists them. The PDUs are in `proposals` (RQ) and `associate_ac` (AC).
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum

from dimse_ingestion.upper_layer.pdus import AbortReason, ProtocolError

APPLICATION_CONTEXT_NAME = "1.2.840.10008.3.1.1.1"
PROTOCOL_VERSION = 0x0001

FIXED = struct.Struct(">H2x16s16s32s")
"""What precedes the items: protocol version, called and calling AE title, reserved."""
CONTEXT = struct.Struct(">BxBx")
"""Id of a presentation context, and its result in an A-ASSOCIATE-AC."""
ITEM_HEADER = struct.Struct(">BxH")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_PAIR = struct.Struct(">HH")
_LONGEST_NAME = 64  # characters of an implementation's UID or name, which lines of the log repeat
_PADDING = " \t\r\n"
_MOST_ITEMS = 32 * 1024
"""Maximum items of a PDU, nested ones included; 256 contexts of 60 syntaxes have half."""
USUAL_PDU_LENGTH = 16 * 1024
"""Bytes of a P-DATA-TF for a peer that gives no maximum: all implementations accept this."""
SHORTEST_PDU_LENGTH = 14
"""Bytes: the header of a presentation data value and eight bytes of it."""


class Item(IntEnum):
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


def items(content: bytes, seen: Iterator[int]) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of each item; `seen` counts them. Raises ProtocolError."""
    position, end, unpack = 0, len(content), ITEM_HEADER.unpack_from
    while position < end:
        begin = position + ITEM_HEADER.size
        if next(seen) >= _MOST_ITEMS:
            raise invalid(f"it has more than {_MOST_ITEMS} items")
        if begin > end:
            raise invalid("it ends within an item")
        item_type, length = unpack(content, position)
        position = begin + length
        if position > end:
            raise invalid(f"its item of type {item_type:02X}H has length {length}")
        yield item_type, content[begin:position]


def item(item_type: Item, content: bytes) -> bytes:
    """Encode one item."""
    return ITEM_HEADER.pack(item_type, len(content)) + content


def add_user_information(user: UserInformation, item_type: int, content: bytes) -> None:
    """Store a sub-item; ignore a truncated one, because all are optional."""
    with suppress(struct.error, ValueError):
        _add_known(user, item_type, content)


def _add_known(user: UserInformation, item_type: int, content: bytes) -> None:
    match item_type:
        case Item.MAXIMUM_LENGTH:
            (user.maximum_pdu_length,) = _U32.unpack_from(content)
        case Item.IMPLEMENTATION_CLASS_UID:
            user.implementation_class_uid = text(content)[:_LONGEST_NAME]
        case Item.IMPLEMENTATION_VERSION_NAME:
            user.implementation_version_name = text(content)[:_LONGEST_NAME]
        case Item.ASYNCHRONOUS_OPERATIONS:
            user.asynchronous_operations = _PAIR.unpack_from(content)
        case Item.ROLE_SELECTION:
            sop_class_uid, rest = _uid_and_rest(content)
            scu, scp = struct.unpack_from("??", rest)
            user.roles[sop_class_uid] = Roles(scu, scp)
        case Item.EXTENDED_NEGOTIATION:
            sop_class_uid, user.extended[sop_class_uid] = _uid_and_rest(content)
        case _:
            pass  # user identity, common extended negotiation, and future sub-items


def _uid_and_rest(content: bytes) -> tuple[str, bytes]:
    (length,) = _U16.unpack_from(content)
    rest = content[_U16.size :]
    if length > len(rest):
        raise ValueError("a UID is longer than its item")
    return text(rest[:length]), rest[length:]


def encode_user_information(user: UserInformation) -> bytes:
    """Encode the User Information item."""
    return item(Item.USER_INFORMATION, b"".join(_sub_items(user)))


def _sub_items(user: UserInformation) -> Iterator[bytes]:
    yield item(Item.MAXIMUM_LENGTH, _U32.pack(user.maximum_pdu_length))
    yield item(Item.IMPLEMENTATION_CLASS_UID, user.implementation_class_uid.encode())
    if user.asynchronous_operations is not None:
        yield item(Item.ASYNCHRONOUS_OPERATIONS, _PAIR.pack(*user.asynchronous_operations))
    for sop_class_uid, roles in user.roles.items():
        flags = bytes([roles.scu, roles.scp])
        yield item(Item.ROLE_SELECTION, _encode_uid(sop_class_uid) + flags)
    yield item(Item.IMPLEMENTATION_VERSION_NAME, user.implementation_version_name.encode())
    for sop_class_uid, information in user.extended.items():
        yield item(Item.EXTENDED_NEGOTIATION, _encode_uid(sop_class_uid) + information)


def _encode_uid(uid: str) -> bytes:
    return _U16.pack(len(uid)) + uid.encode()


def text(content: bytes) -> str:
    """Return text up to the first NUL, without outer blanks; non-ASCII becomes question marks.

    Some devices copy C strings into a field, with arbitrary memory behind the NUL.
    """
    decoded = content.partition(b"\0")[0].decode("ascii", "replace")
    return decoded.replace("\N{REPLACEMENT CHARACTER}", "?").strip(_PADDING)


def invalid(what: str) -> ProtocolError:
    """Return the error about an A-ASSOCIATE PDU that is malformed."""
    return ProtocolError(
        AbortReason.INVALID_PDU_PARAMETER_VALUE, f"An A-ASSOCIATE PDU can't be read: {what}."
    )

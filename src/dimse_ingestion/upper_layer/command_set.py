"""Codec of command sets: implicit VR little endian, group 0000 (PS3.7 6.3.1).

It uses no general DICOM library, which would take longer than the rest of the work on a small
object. It does not know services: each service checks the elements that it needs.
"""

import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.upper_layer.pdus import AbortReason, ProtocolError
from dimse_ingestion.upper_layer.services import (
    Command,
    CommandField,
    Response,
    SubOperationCounts,
)

LONGEST = 64 * 1024
"""Maximum bytes of a command set; real ones have a few hundred."""

_ELEMENT = struct.Struct("<HHI")
_US = struct.Struct("<H")
_UL = struct.Struct("<I")
_NUMBER = struct.Struct("<HHIH")
_GROUP_LENGTH = struct.Struct("<HHII")
_RESPONSE = 0x8000  # PS3.7 E.1: a response's Command Field is its request's with this bit
_NO_DATA_SET = 0x0101
_DATA_SET = 0x0001
_COMMENT_LENGTH = 64
_MEDIUM, _LOW = 0, 2  # values of Priority, PS3.7 table E.1-1; 1 is high


class _Element:
    """Element numbers of group 0000 (PS3.7 table E.1-1); not an Enum, whose look-ups cost more."""

    GROUP_LENGTH = 0x0000
    AFFECTED_SOP_CLASS_UID = 0x0002
    REQUESTED_SOP_CLASS_UID = 0x0003
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    MESSAGE_ID_BEING_RESPONDED_TO = 0x0120
    MOVE_DESTINATION = 0x0600
    PRIORITY = 0x0700
    DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    ERROR_COMMENT = 0x0902
    AFFECTED_SOP_INSTANCE_UID = 0x1000
    REQUESTED_SOP_INSTANCE_UID = 0x1001
    EVENT_TYPE_ID = 0x1002
    ACTION_TYPE_ID = 0x1008
    REMAINING_SUB_OPERATIONS = 0x1020
    COMPLETED_SUB_OPERATIONS = 0x1021
    FAILED_SUB_OPERATIONS = 0x1022
    WARNING_SUB_OPERATIONS = 0x1023
    MOVE_ORIGINATOR_AE_TITLE = 0x1030
    MOVE_ORIGINATOR_MESSAGE_ID = 0x1031


def decode(content: bytes) -> Command | Response:
    """Decode a command set; `message_id` of a C-CANCEL-RQ is the request to cancel.

    For N-services the requested SOP class and instance are returned as the affected ones. Raises
    ProtocolError when it is malformed or a mandatory element is missing.
    """
    elements = _elements(content)
    command_field = _number(elements, _Element.COMMAND_FIELD)
    if command_field & _RESPONSE:
        return _decode_response(elements, command_field & ~_RESPONSE)
    return _decode_request(elements, command_field)


def _decode_response(elements: Mapping[int, bytes], request_field: int) -> Response:
    return Response(
        command_field=request_field,
        message_id=_number(elements, _Element.MESSAGE_ID_BEING_RESPONDED_TO),
        status=_number(elements, _Element.STATUS),
        error_comment=_text(elements, _Element.ERROR_COMMENT),
        affected_sop_class_uid=_text(elements, _Element.AFFECTED_SOP_CLASS_UID),
        affected_sop_instance_uid=_text(elements, _Element.AFFECTED_SOP_INSTANCE_UID),
        has_data_set=_optional_number(elements, _Element.DATA_SET_TYPE, _NO_DATA_SET)
        != _NO_DATA_SET,
    )


def _decode_request(elements: Mapping[int, bytes], command_field: int) -> Command:
    cancel = command_field == CommandField.C_CANCEL_RQ
    message_id = _Element.MESSAGE_ID_BEING_RESPONDED_TO if cancel else _Element.MESSAGE_ID
    return Command(
        command_field=command_field,
        message_id=_number(elements, message_id),
        affected_sop_class_uid=_text(
            elements, _Element.AFFECTED_SOP_CLASS_UID, _Element.REQUESTED_SOP_CLASS_UID
        ),
        affected_sop_instance_uid=_text(
            elements, _Element.AFFECTED_SOP_INSTANCE_UID, _Element.REQUESTED_SOP_INSTANCE_UID
        ),
        priority=_priority(elements),
        has_data_set=_number(elements, _Element.DATA_SET_TYPE) != _NO_DATA_SET,
        move_originator_ae_title=_text(elements, _Element.MOVE_ORIGINATOR_AE_TITLE),
        move_originator_message_id=_optional_number(elements, _Element.MOVE_ORIGINATOR_MESSAGE_ID),
        move_destination=_text(elements, _Element.MOVE_DESTINATION),
        action_type_id=_optional_number(elements, _Element.ACTION_TYPE_ID),
    )


def encode_response(
    command: Command,
    status: Status,
    *,
    comment: str = "",
    has_data_set: bool = False,
    sub_operations: SubOperationCounts | None = None,
) -> bytes:
    """Encode the command set of a response.

    `comment` is cut to 64 characters and otherwise sent unchanged, so it must not name an internal
    address: `DimseFailure.error_comment` removes them.
    """
    sop_class, instance = command.affected_sop_class_uid, command.affected_sop_instance_uid
    head, tail = _response(sop_class, command.command_field, status, has_data_set)
    content = head + _US.pack(command.message_id) + tail
    if comment:
        content += _encode_text(_Element.ERROR_COMMENT, comment[:_COMMENT_LENGTH], b" ")
    if instance:
        content += _encode_text(_Element.AFFECTED_SOP_INSTANCE_UID, instance, b"\0")
    if command.command_field == CommandField.N_ACTION_RQ:
        content += _encode_number(_Element.ACTION_TYPE_ID, command.action_type_id)
    if sub_operations is not None:
        content += b"".join(_counts(sub_operations))
    return _GROUP_LENGTH.pack(0, _Element.GROUP_LENGTH, _UL.size, len(content)) + content


def encode_request(command: Command) -> bytes:
    """Encode the command set of a request that this side sends."""
    return _with_group_length(_request(command))


def _with_group_length(elements: Iterator[bytes]) -> bytes:
    content = b"".join(elements)
    return _GROUP_LENGTH.pack(0, _Element.GROUP_LENGTH, _UL.size, len(content)) + content


def _request(command: Command) -> Iterator[bytes]:
    """Yield the encoded elements in ascending order."""
    yield _encode_text(_Element.AFFECTED_SOP_CLASS_UID, command.affected_sop_class_uid, b"\0")
    yield _encode_number(_Element.COMMAND_FIELD, command.command_field)
    yield _encode_number(_Element.MESSAGE_ID, command.message_id)
    if command.command_field == CommandField.C_STORE_RQ:
        yield _encode_number(_Element.PRIORITY, command.priority)
    yield _encode_number(
        _Element.DATA_SET_TYPE, _DATA_SET if command.has_data_set else _NO_DATA_SET
    )
    if command.affected_sop_instance_uid:
        yield _encode_text(
            _Element.AFFECTED_SOP_INSTANCE_UID, command.affected_sop_instance_uid, b"\0"
        )
    if command.command_field == CommandField.N_EVENT_REPORT_RQ:
        yield _encode_number(_Element.EVENT_TYPE_ID, command.event_type_id)
    if command.move_originator_ae_title:
        title = command.move_originator_ae_title
        yield _encode_text(_Element.MOVE_ORIGINATOR_AE_TITLE, title, b" ")
        yield _encode_number(
            _Element.MOVE_ORIGINATOR_MESSAGE_ID, command.move_originator_message_id
        )


@lru_cache(maxsize=1024)  # of a few classes and statuses; no element of an instance
def _response(
    sop_class_uid: str, command_field: int, status: int, has_data_set: bool
) -> tuple[bytes, bytes]:
    """Encode what the responses to many requests have in common.

    Return the elements up to the message id's value, and those behind it, in ascending order.
    """
    head = b""
    if sop_class_uid:
        head = _encode_text(_Element.AFFECTED_SOP_CLASS_UID, sop_class_uid, b"\0")
    head += _encode_number(_Element.COMMAND_FIELD, command_field | _RESPONSE)
    head += _ELEMENT.pack(0, _Element.MESSAGE_ID_BEING_RESPONDED_TO, _US.size)
    tail = _encode_number(_Element.DATA_SET_TYPE, _DATA_SET if has_data_set else _NO_DATA_SET)
    return head, tail + _encode_number(_Element.STATUS, status)


def _counts(counts: SubOperationCounts) -> Iterator[bytes]:
    """Yield the numbers of sub-operations in ascending order of their elements."""
    if counts.remaining is not None:
        yield _encode_number(_Element.REMAINING_SUB_OPERATIONS, counts.remaining)
    yield _encode_number(_Element.COMPLETED_SUB_OPERATIONS, counts.completed)
    yield _encode_number(_Element.FAILED_SUB_OPERATIONS, counts.failed)
    yield _encode_number(_Element.WARNING_SUB_OPERATIONS, counts.warning)


def _elements(content: bytes) -> dict[int, bytes]:
    """Return the values of group 0000 by their element numbers."""
    elements: dict[int, bytes] = {}
    unpack, header = _ELEMENT.unpack_from, _ELEMENT.size
    position, end = 0, len(content)
    while position < end:
        start = position + header
        if start > end:
            raise _invalid("it ends within an element")
        group, number, length = unpack(content, position)
        position = start + length
        if position > end:
            raise _invalid(f"its element ({group:04X},{number:04X}) has length {length}")
        if not group:  # elements of other groups, such as a character set, are ignored
            elements[number] = content[start:position]
    return elements


def _number(elements: Mapping[int, bytes], wanted: int) -> int:
    """Return a mandatory number; the first one of several values."""
    value = elements.get(wanted, b"")
    if len(value) < 2:  # bytes of US
        raise _invalid(f"(0000,{wanted:04X}) is missing or no number")
    return value[0] | value[1] << 8


def _optional_number(elements: Mapping[int, bytes], wanted: int, default: int = 0) -> int:
    """Return an optional number, or the default if it is missing or malformed."""
    value = elements.get(wanted, b"")
    return value[0] | value[1] << 8 if len(value) >= 2 else default  # bytes of US


def _priority(elements: Mapping[int, bytes]) -> int:
    """Return the priority, or medium for a value that PS3.7 table E.1-1 does not define.

    It is passed on in the C-STOREs of a C-MOVE, whose destination might abort because of it.
    """
    value = _optional_number(elements, _Element.PRIORITY)
    return value if value <= _LOW else _MEDIUM


def _text(elements: Mapping[int, bytes], *alternatives: int) -> str:
    """Return the first one present, without padding; non-ASCII becomes question marks."""
    for number in alternatives:
        if value := elements.get(number):
            text = value.decode("ascii", "replace")
            return text.replace("\N{REPLACEMENT CHARACTER}", "?").strip(" \0")
    return ""


def _encode_number(number: int, value: int) -> bytes:
    return _NUMBER.pack(0, number, _US.size, value)


def _encode_text(number: int, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    value += padding * (len(value) % 2)
    return _ELEMENT.pack(0, number, len(value)) + value


def _invalid(what: str) -> ProtocolError:
    return ProtocolError(
        AbortReason.INVALID_PDU_PARAMETER_VALUE, f"A command set can't be read: {what}."
    )

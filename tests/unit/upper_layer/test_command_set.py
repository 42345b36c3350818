import struct
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pynetdicom.dsutils import decode as their_decode

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.upper_layer.command_set import decode, encode_request, encode_response
from dimse_ingestion.upper_layer.pdus import AbortReason, ProtocolError
from dimse_ingestion.upper_layer.services import Command, CommandField, Response
from tests.requestor_bytes import CT, INSTANCE, cancel_command, command, store_command


def request(content: bytes) -> Command:
    """Return a command set that must be a request's."""
    read = decode(content)
    assert isinstance(read, Command)
    return read


def test_a_store_is_read() -> None:
    assert decode(store_command(77)) == Command(
        command_field=0x0001,
        message_id=77,
        affected_sop_class_uid=CT,
        affected_sop_instance_uid=INSTANCE,
        has_data_set=True,
    )


def test_what_a_sub_operation_and_a_move_add_is_read() -> None:
    read = request(
        command(
            0x0021,
            MoveOriginatorApplicationEntityTitle="MOVER",
            MoveOriginatorMessageID=9,
            MoveDestination="ARCHIVE ",
            Priority=1,
        )
    )
    assert read.move_originator_ae_title == "MOVER"
    assert read.move_originator_message_id == 9
    assert read.move_destination == "ARCHIVE"
    assert read.priority == 1


@pytest.mark.parametrize(
    ("sent", "read"), [(0, 0), (1, 1), (2, 2), (3, 0), (0x0100, 0), (0xFFFF, 0)]
)
def test_a_priority_that_is_none_is_medium(sent: int, read: int) -> None:
    assert request(command(0x0021, Priority=sent)).priority == read


def test_an_n_services_requested_class_stands_for_the_affected_one() -> None:
    read = decode(command(0x0130, RequestedSOPClassUID=CT, RequestedSOPInstanceUID=INSTANCE))
    assert (read.affected_sop_class_uid, read.affected_sop_instance_uid) == (CT, INSTANCE)


def test_a_cancel_names_the_message_it_cancels() -> None:
    read = decode(cancel_command(12))
    assert (read.command_field, read.message_id, read.has_data_set) == (0x0FFF, 12, False)


def test_a_command_set_without_group_length_and_with_odd_values_is_read() -> None:
    content = store_command()[12:].replace(
        len(CT + "\0").to_bytes(4, "little") + CT.encode() + b"\0",
        len(CT).to_bytes(4, "little") + CT.encode(),
    )
    assert decode(content).affected_sop_class_uid == CT


def test_text_that_is_not_ascii_is_harmless() -> None:
    content = store_command().replace(INSTANCE.encode()[:3], b"\xff\xfe\x80")
    assert decode(content).affected_sop_instance_uid == "???" + INSTANCE[3:]


def element(number: int, value: bytes, group: int = 0) -> bytes:
    return struct.pack("<HHI", group, number, len(value)) + value


@pytest.mark.parametrize(
    "added",
    [
        element(0x0000, b"\x04\0\0\0"),
        element(0x0000, b"\x04\0"),
        element(0x0005, b"ISO_IR 100", group=8),
        element(0x0700, b"\x01"),
        element(0x0700, b""),
        element(0x1031, b"\x01"),
        element(0x5010, b"xx"),
        element(0x0110, b"\x07\0"),
        element(0x0110, b"\x07\0\0\0"),
        bytes(8),
    ],
)
def test_what_devices_add_or_get_wrong_is_passed_over(added: bytes) -> None:
    read = request(store_command(7) + added)
    assert (read.command_field, read.message_id, read.priority) == (0x0001, 7, 0)
    assert (read.affected_sop_instance_uid, read.has_data_set) == (INSTANCE, True)


@pytest.mark.parametrize("announced", [0x0000, 0x0001, 0x0102, 0xFEFE])
def test_any_data_set_type_but_one_announces_a_data_set(announced: int) -> None:
    assert decode(command(1, CommandDataSetType=announced)).has_data_set


MALFORMED = {
    "within an element's head": store_command()[:-30][:50],
    "only another group": b"\x08\0\x18\0\x02\0\0\x001\0",
    "length beyond the end": b"\0\0\0\x01\xff\xff\xff\xff\x01\0",
    "no command field": command(1, CommandField=None),
    "no message id": command(1, MessageID=None),
    "no data set type": command(1, CommandDataSetType=None),
    "a response without status": command(0x8001, MessageIDBeingRespondedTo=1),
    "a response to nothing": command(0x8001, Status=0),
    "empty": b"",
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_request_is_refused(content: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(content)
    assert caught.value.reason is AbortReason.INVALID_PDU_PARAMETER_VALUE


def test_a_response_is_read() -> None:
    content = command(
        0x8001,
        MessageID=None,
        MessageIDBeingRespondedTo=9,
        Status=0xA700,
        ErrorComment="disk full ",
        AffectedSOPClassUID=CT,
        AffectedSOPInstanceUID=INSTANCE,
    )
    assert decode(content) == Response(
        CommandField.C_STORE_RQ, 9, 0xA700, "disk full", CT, INSTANCE, has_data_set=False
    )


def encoded(sent: Command) -> Dataset:
    """Return a request's command set as pynetdicom reads it."""
    content = encode_request(sent)
    read: Dataset = their_decode(BytesIO(content), True, True)
    assert read.CommandGroupLength == len(content) - 12
    return read


def test_a_store_for_a_move_is_encoded() -> None:
    store = Command(CommandField.C_STORE_RQ, 7, CT, INSTANCE, 2, True, "MOVER", 12)
    read = encoded(store)
    assert (read.CommandField, read.MessageID, read.Priority) == (1, 7, 2)
    assert (read.AffectedSOPClassUID, read.AffectedSOPInstanceUID) == (CT, INSTANCE)
    assert read.CommandDataSetType != 0x0101
    assert read.MoveOriginatorApplicationEntityTitle == "MOVER"
    assert read.MoveOriginatorMessageID == 12
    assert request(encode_request(store)) == store


def test_a_store_without_a_move_names_none() -> None:
    read = encoded(Command(CommandField.C_STORE_RQ, 7, CT, INSTANCE, 0, True))
    assert "MoveOriginatorMessageID" not in read
    assert "MoveOriginatorApplicationEntityTitle" not in read


def test_an_echo_and_an_event_report_are_encoded() -> None:
    echo = encoded(Command(CommandField.C_ECHO_RQ, 1, "1.2.840.10008.1.1"))
    assert (echo.CommandField, echo.CommandDataSetType) == (0x0030, 0x0101)
    assert "Priority" not in echo
    report = encoded(
        Command(CommandField.N_EVENT_REPORT_RQ, 2, CT, INSTANCE, has_data_set=True, event_type_id=1)
    )
    assert (report.CommandField, report.EventTypeID) == (0x0100, 1)


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_garbage_is_refused_and_nothing_worse(garbage: bytes) -> None:
    with suppress(ProtocolError):
        decode(garbage)


def answered(status: Status, comment: str = "", *, has_data_set: bool = False) -> Dataset:
    content = encode_response(
        request(store_command(77)), status, comment=comment, has_data_set=has_data_set
    )
    read: Dataset = their_decode(BytesIO(content), True, True)
    assert read.CommandGroupLength == len(content) - 12
    return read


def test_a_response_names_its_request() -> None:
    response = answered(Status.SUCCESS)
    assert response.CommandField == 0x8001
    assert response.MessageIDBeingRespondedTo == 77
    assert response.AffectedSOPClassUID == CT
    assert response.AffectedSOPInstanceUID == INSTANCE
    assert response.CommandDataSetType == 0x0101
    assert response.Status == 0
    assert "ErrorComment" not in response


def test_a_response_says_that_a_data_set_follows() -> None:
    assert answered(Status.PENDING, has_data_set=True).CommandDataSetType != 0x0101


def test_a_comment_is_cut_and_ascii() -> None:
    assert answered(Status.OUT_OF_RESOURCES, "ü" + "x" * 99).ErrorComment == "?" + "x" * 63
    assert answered(Status.OUT_OF_RESOURCES, "odd").ErrorComment == "odd"


def test_elements_are_in_the_order_of_their_numbers() -> None:
    tags = [element.tag for element in answered(Status.OUT_OF_RESOURCES, "comment")]
    assert tags == sorted(tags)


def action_command(**elements: object) -> bytes:
    return command(
        0x0130,
        5,
        RequestedSOPClassUID="1.2.840.10008.1.20.1",
        RequestedSOPInstanceUID="1.2.840.10008.1.20.1.1",
        CommandDataSetType=1,
        **elements,
    )


def test_an_action_and_its_response_have_the_action_type() -> None:
    action = request(action_command(ActionTypeID=1))
    assert (action.action_type_id, action.has_data_set) == (1, True)
    response = their_decode(BytesIO(encode_response(action, Status.SUCCESS)), True, True)
    assert response.CommandField == 0x8130
    assert response.AffectedSOPInstanceUID == "1.2.840.10008.1.20.1.1"
    assert response.ActionTypeID == 1


def test_an_action_without_a_type_has_none() -> None:
    assert request(action_command()).action_type_id == 0

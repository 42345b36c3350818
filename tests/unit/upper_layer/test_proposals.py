from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from dimse_ingestion.upper_layer.associate_ac import ContextAnswer, ContextResult, encode_accept
from dimse_ingestion.upper_layer.associate_items import Roles, UserInformation
from dimse_ingestion.upper_layer.pdus import AbortReason, ProtocolError
from dimse_ingestion.upper_layer.proposals import Proposal, decode
from tests.requestor_bytes import CT, EXPLICIT, IMPLICIT, STUDY_ROOT_FIND, associate_rq

HEADER = 6
FIXED = 68


def proposal(*args: Any, **kwargs: Any) -> Proposal:
    return decode(associate_rq(*args, **kwargs)[HEADER:])


def items() -> list[object]:
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = 0
    window.maximum_number_operations_performed = 5
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = CT, False, True
    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid = STUDY_ROOT_FIND
    extended.service_class_application_information = b"\x01\x00\x01"
    common = SOPClassCommonExtendedNegotiation()
    common.sop_class_uid, common.service_class_uid = CT, "1.2.840.10008.4.2"
    identity = UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field = 2, b"name"
    identity.secondary_field = b"word"
    return [window, role, extended, common, identity]


def test_a_proposal_is_read_whole() -> None:
    read = proposal([(CT, [EXPLICIT, IMPLICIT]), (STUDY_ROOT_FIND, [IMPLICIT])], items(), 4096)
    assert (read.called_ae_title, read.calling_ae_title) == ("DICOM-INGEST", "MODALITY")
    assert read.is_version_1
    assert read.application_context_name == "1.2.840.10008.3.1.1.1"
    assert read.contexts == {1: (CT, (EXPLICIT, IMPLICIT)), 3: (STUDY_ROOT_FIND, (IMPLICIT,))}
    assert read.user == UserInformation(
        maximum_pdu_length=4096,
        implementation_class_uid="1.2.3.4",
        implementation_version_name="SCANNER_7",
        asynchronous_operations=(0, 5),
        roles={CT: Roles(scu=False, scp=True)},
        extended={STUDY_ROOT_FIND: b"\x01\x00\x01"},
    )


def test_128_contexts_of_40_transfer_syntaxes_are_read() -> None:
    syntaxes = [f"1.2.840.10008.1.2.4.{number}" for number in range(40)]
    read = proposal([(f"1.2.3.{number}", syntaxes) for number in range(128)])
    assert list(read.contexts) == list(range(1, 256, 2))
    assert read.contexts[255] == ("1.2.3.127", tuple(syntaxes))


def test_items_of_unknown_types_are_skipped() -> None:
    content = associate_rq()[HEADER:]
    read = decode(content[:FIXED] + b"\x7f\0\0\x03abc" + content[FIXED:] + b"\xfe\0\0\0")
    assert read.contexts == decode(content).contexts


def test_outer_blanks_and_nuls_of_a_title_do_not_count() -> None:
    content = associate_rq()[HEADER:]
    content = content[:4] + b"  OWN TITLE\0\0\0\0\0" + content[20:]
    assert decode(content).called_ae_title == "OWN TITLE"
    assert decode(content).called == b"  OWN TITLE\0\0\0\0\0"


def test_every_version_offered_is_looked_at() -> None:
    content = associate_rq()[HEADER:]
    assert decode(b"\xff\xff" + content[2:]).is_version_1
    assert not decode(b"\x00\x02" + content[2:]).is_version_1


@pytest.mark.parametrize("rest", [b"\0xyz!", b"\0\0\0\0\0", b"\0\xff\xfe#~", b" \0 #x"])
def test_a_title_ends_at_its_first_nul(rest: bytes) -> None:
    content = associate_rq()[HEADER:]
    read = decode(
        content[:4] + b"DICOM-INGEST"[:11] + rest + b"MODALITY".ljust(16, b"\0") + content[36:]
    )
    assert (read.called_ae_title, read.calling_ae_title) == ("DICOM-INGES", "MODALITY")


def item(kind: int, content: bytes) -> bytes:
    return bytes([kind, 0]) + len(content).to_bytes(2) + content


def proposed(context_id: int, abstract_syntax: bytes, *syntaxes: bytes) -> bytes:
    items = b"".join(item(0x40, syntax) for syntax in syntaxes)
    return item(0x20, bytes([context_id, 0, 0, 0]) + item(0x30, abstract_syntax) + items)


@pytest.mark.parametrize(
    ("contexts", "read"),
    [
        ([(2, b"1.2", b"1.3")], {2: ("1.2", ("1.3",))}),
        ([(0, b"1.2", b"1.3")], {0: ("1.2", ("1.3",))}),
        ([(1, b"1.2", b"1.3"), (1, b"1.2", b"1.4")], {1: ("1.2", ("1.3", "1.4"))}),
        ([(1, b"1.2", b"1.3"), (1, b"1.9", b"1.4")], {1: ("1.2", ("1.3",))}),
        ([(1, b"1.2 ", b"1.3\0", b" 1.4 ", b"1.5\0x")], {1: ("1.2", ("1.3", "1.4", "1.5"))}),
        ([(i, b"1.2", b"1.3") for i in range(256)], dict.fromkeys(range(256), ("1.2", ("1.3",)))),
    ],
)
def test_contexts_of_the_field_are_read(
    contexts: list[tuple[int, bytes]], read: dict[int, tuple[str, tuple[str, ...]]]
) -> None:
    items = b"".join(proposed(*each) for each in contexts)
    assert decode(GOOD[:FIXED] + items).contexts == read


@pytest.mark.parametrize(
    "broken",
    [
        item(0x51, b"\x40\0"),
        item(0x51, b""),
        item(0x53, b"\0"),
        item(0x54, b""),
        item(0x54, b"\0\x011"),
        item(0x54, b"\0\xff1.2.3\1\0"),
        item(0x56, b"\xff\xff\0\0"),
        item(0x58, b"\1\1\0\xf5admin"),
        item(0x59, b"x"),
        item(0x7F, b"of tomorrow"),
        item(0x55, b""),
    ],
)
def test_user_information_that_is_cut_short_counts_as_absent(broken: bytes) -> None:
    assert decode(GOOD[:FIXED] + item(0x50, broken)).user == UserInformation()


def test_the_name_of_an_implementation_is_cut() -> None:
    names = item(0x52, b"1." * 10_000) + item(0x55, b"SCANNER " * 5000)
    user = decode(GOOD[:FIXED] + item(0x50, names)).user
    assert user.implementation_class_uid == "1." * 32
    assert user.implementation_version_name == "SCANNER " * 8


def test_a_peer_without_a_maximum_length_gets_the_usual_one() -> None:
    assert decode(GOOD[:FIXED]).user.maximum_pdu_length == 16 * 1024


GOOD = associate_rq()[HEADER:]
MALFORMED = {
    "too short": GOOD[: FIXED - 1],
    "ends within an item": GOOD[:-1],
    "an item longer than the PDU": GOOD[:FIXED] + b"\x10\0\xff\xff1.2",
    "a context without an id": GOOD[:FIXED] + b"\x20\0\0\0",
    "items without end": GOOD[:FIXED] + b"\x7f\0\0\0" * 33_000,
    "sub-items without end": GOOD[:FIXED] + (b"\x20\0\0\x84\1\0\0\0" + b"\x40\0\0\0" * 32) * 1000,
    "a sub-item longer than its item": GOOD[:FIXED] + b"\x50\0\0\x04\x51\0\0\x04",
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_proposal_is_refused(content: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(content)
    assert caught.value.reason is AbortReason.INVALID_PDU_PARAMETER_VALUE


@given(st.binary(max_size=120), st.integers(0, len(GOOD)))
@settings(max_examples=200)
def test_garbage_is_refused_and_nothing_worse(garbage: bytes, at: int) -> None:
    with suppress(ProtocolError):
        decode(GOOD[:at] + garbage)


def test_pynetdicom_reads_the_answer() -> None:
    user = UserInformation(
        maximum_pdu_length=131072,
        implementation_class_uid="2.25.1",
        implementation_version_name="OURS",
        asynchronous_operations=(1, 1),
        roles={CT: Roles(scu=True, scp=False)},
        extended={STUDY_ROOT_FIND: b"\x01"},
    )
    answers = {
        1: ContextAnswer(ContextResult.ACCEPTED, EXPLICIT),
        3: ContextAnswer(ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, IMPLICIT),
    }
    pdu = A_ASSOCIATE_AC()
    pdu.decode(encode_accept(decode(GOOD), answers, user))
    assert pdu.application_context_name == "1.2.840.10008.3.1.1.1"
    assert [
        (item.presentation_context_id, item.result, item.transfer_syntax)
        for item in pdu.presentation_context
    ] == [(1, 0, EXPLICIT), (3, 3, IMPLICIT)]
    information = pdu.user_information
    assert information is not None
    assert information.maximum_length == 131072
    assert information.implementation_class_uid == "2.25.1"
    assert information.implementation_version_name == "OURS"
    window, roles = information.async_ops_window, information.role_selection[UID(CT)]
    assert window is not None
    assert window.max_operations_invoked == 1
    assert (roles.scu_role, roles.scp_role) == (1, 0)
    assert information.ext_neg[0].app_info == b"\x01"


def test_the_answer_repeats_the_titles_as_they_came() -> None:
    answer = encode_accept(decode(GOOD), {}, UserInformation())
    assert answer[HEADER + 4 : HEADER + FIXED] == GOOD[4:FIXED]

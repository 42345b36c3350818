from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from dimse_ingestion.dicom import part10
from dimse_ingestion.dicom.failure import DimseFailure

uid = st.from_regex(r"[0-9.]{1,64}", fullmatch=True)
UIDS = ("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1")


def test_pydicom_reads_what_is_written() -> None:
    meta = dcmread(BytesIO(part10.header(*UIDS))).file_meta
    assert meta.MediaStorageSOPClassUID == UIDS[0]
    assert meta.MediaStorageSOPInstanceUID == UIDS[1]
    assert meta.TransferSyntaxUID == UIDS[2]
    assert meta.FileMetaInformationGroupLength == len(part10.header(*UIDS)) - 144
    assert meta.ImplementationClassUID.is_valid


def test_the_same_instance_has_the_same_head() -> None:
    assert part10.header(*UIDS) == part10.header(*UIDS)


def test_a_head_tells_where_it_ends_and_its_transfer_syntax() -> None:
    head = part10.header(*UIDS)
    assert part10.data_set_offset(head + b"data") == len(head)
    assert part10.transfer_syntax_uid(head) == UIDS[2]
    assert len(part10.header("1" * 64, "2" * 64, "3" * 64)) < part10.LONGEST


@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"\0" * 128 + b"DICM"])
def test_a_file_that_is_not_dicom_is_refused(content: bytes) -> None:
    with pytest.raises(DimseFailure, match="not a DICOM file"):
        part10.data_set_offset(content)


def test_a_head_without_a_transfer_syntax_is_refused() -> None:
    with pytest.raises(DimseFailure, match="transfer syntax"):
        part10.transfer_syntax_uid(part10.header(*UIDS)[:158])


def test_bytes_within_a_value_are_not_taken_for_a_transfer_syntax() -> None:
    decoy = "A\x02\x00\x10\x00UI\x02\x00XX"
    head = part10.header(UIDS[0], decoy, UIDS[2])
    assert part10.transfer_syntax_uid(head) == UIDS[2]


@given(uid, uid, uid)
def test_every_head_has_the_uids_it_was_made_from(
    sop_class: str, instance: str, transfer_syntax: str
) -> None:
    head = part10.header(sop_class, instance, transfer_syntax)
    assert part10.transfer_syntax_uid(head) == transfer_syntax
    assert len(head) == part10.data_set_offset(head) <= part10.LONGEST
    assert len(head) % 2 == 0


FILE_META = part10.header("1.2.840.10008.5.1.4.1.1.7", "1.2.3", "1.2.840.10008.1.2.1")
DATA_SET = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"


def with_group_length(length: int) -> bytes:
    return FILE_META[:140] + length.to_bytes(4, "little") + FILE_META[144:]


@pytest.mark.parametrize("length", [0, 1, 18, len(FILE_META), 2**32 - 1, len(FILE_META) - 160])
def test_a_wrong_group_length_moves_no_element(length: int) -> None:
    assert part10.file_meta_end(with_group_length(length) + DATA_SET) == len(FILE_META)


def test_the_end_of_file_meta_information_waits_for_the_data_set() -> None:
    whole = FILE_META + DATA_SET
    for end in range(144, len(FILE_META) + 12):
        assert part10.file_meta_end(whole[:end]) is None
    assert part10.file_meta_end(whole[: len(FILE_META) + 12]) == len(FILE_META)


def test_a_deflated_data_set_that_looks_like_group_2_is_none() -> None:
    deflated = part10.header("1.2.840.10008.5.1.4.1.1.7", "1.2.3", "1.2.840.10008.1.2.1.99")
    assert part10.file_meta_end(deflated + b"\x02\x00" + bytes(20)) == len(deflated)


def test_file_meta_information_without_end_is_refused() -> None:
    endless = with_group_length(0)[:144] + b"\x02\x00\x10\x00UI\0\0" * 1000
    with pytest.raises(DimseFailure, match="does not end"):
        part10.file_meta_end(endless)

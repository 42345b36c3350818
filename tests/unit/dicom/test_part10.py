from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from dimse_ingestion.dicom import part10
from dimse_ingestion.dicom.failure import DimseFailure

uid = st.from_regex(r"[0-9.]{1,64}", fullmatch=True)
UIDS = ("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1")


def test_pydicom_reads_what_is_written():
    meta = dcmread(BytesIO(part10.header(*UIDS))).file_meta
    assert meta.MediaStorageSOPClassUID == UIDS[0]
    assert meta.MediaStorageSOPInstanceUID == UIDS[1]
    assert meta.TransferSyntaxUID == UIDS[2]
    assert meta.FileMetaInformationGroupLength == len(part10.header(*UIDS)) - 144
    assert meta.ImplementationClassUID.is_valid


def test_the_same_instance_has_the_same_head():
    assert part10.header(*UIDS) == part10.header(*UIDS)


def test_a_head_tells_where_it_ends_and_its_transfer_syntax():
    head = part10.header(*UIDS)
    assert part10.data_set_offset(head + b"data") == len(head)
    assert part10.transfer_syntax_uid(head) == UIDS[2]
    assert len(part10.header("1" * 64, "2" * 64, "3" * 64)) < part10.LONGEST


@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"\0" * 128 + b"DICM"])
def test_what_is_no_dicom_file_is_told(content):
    with pytest.raises(DimseFailure, match="not a DICOM file"):
        part10.data_set_offset(content)


def test_a_head_without_a_transfer_syntax_is_told():
    with pytest.raises(DimseFailure, match="transfer syntax"):
        part10.transfer_syntax_uid(part10.header(*UIDS)[:158])


def test_bytes_within_a_value_are_not_taken_for_a_transfer_syntax():
    decoy = "A\x02\x00\x10\x00UI\x02\x00XX"
    head = part10.header(UIDS[0], decoy, UIDS[2])
    assert part10.transfer_syntax_uid(head) == UIDS[2]


@given(uid, uid, uid)
def test_every_head_says_what_it_was_made_from(sop_class, instance, transfer_syntax):
    head = part10.header(sop_class, instance, transfer_syntax)
    assert part10.transfer_syntax_uid(head) == transfer_syntax
    assert len(head) == part10.data_set_offset(head) <= part10.LONGEST
    assert len(head) % 2 == 0

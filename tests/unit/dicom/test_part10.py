from io import BytesIO

import pytest
from pydicom import dcmread

from dimse_ingestion.dicom import part10
from dimse_ingestion.dicom.failure import DimseFailure

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

import struct
from pathlib import Path

import pytest
from pydicom import dcmread

from dimse_ingestion.dicom import part10
from dimse_ingestion.dicomweb.pixels import pydicom_agreement
from tests.storable import storable

EXPLICIT = "1.2.840.10008.1.2.1"


def short(number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", number >> 16, number & 0xFFFF, vr, len(value)) + value


def sequence(content: bytes) -> bytes:
    return struct.pack("<HH2s2xI", 0x0008, 0x1115, b"SQ", len(content)) + content


ITEM_END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
NAME, PATIENT_ID = short(0x00100010, b"PN", b"Doe^Jane"), short(0x00100020, b"LO", b"4711")


def check(path: Path, data_set: bytes) -> list[int]:
    path.write_bytes(part10.header("1.2.3", "1.2.3.4", EXPLICIT) + data_set)
    read = dcmread(path)
    pydicom_agreement.check(path, read)
    return [int(tag) for tag in read.keys()]  # noqa: SIM118 - a data set iterates over elements


@pytest.mark.parametrize(
    "data_set",
    [
        NAME + ITEM_END + PATIENT_ID,
        short(0x00091002, b"??", b"ABCD") + NAME + PATIENT_ID,
        sequence(b"junkjunk") + NAME,
        sequence(b"\xfe\xff\x00\xe0\x04\0\0\0" + NAME) + PATIENT_ID,
        NAME + short(0x00100010, b"PN", b"Roe^Jane"),
    ],
    ids=["item delimitation", "VR of question marks", "no items", "short item", "twice"],
)
def test_a_file_that_pydicom_reads_differently_is_not_rewritten(
    tmp_path: Path, data_set: bytes
) -> None:
    with pytest.raises(pydicom_agreement.Disagreement, match="transfer-syntax="):
        check(tmp_path / "file.dcm", data_set)


def test_elements_of_other_groups_and_padding_are_left_out(tmp_path: Path) -> None:
    stray = short(0x00000002, b"UI", b"1.2\0") + short(0x00041500, b"CS", b"A ")
    assert check(tmp_path / "file.dcm", stray + NAME + bytes(6)) == [0x00100010]


def test_a_nonstandard_vr_is_replaced_by_the_vr_of_the_tag(tmp_path: Path) -> None:
    path = tmp_path / "file.dcm"
    data_set = short(0x00080068, b"UK", b"FOR PRESENTATION")
    path.write_bytes(part10.header("1.2.3", "1.2.3.4", EXPLICIT) + data_set)
    read = dcmread(path)
    pydicom_agreement.check(path, read)
    assert (read[0x00080068].VR, read[0x00080068].value) == ("CS", "FOR PRESENTATION")


@pytest.mark.parametrize("path", storable(), ids=lambda each: each.name)
def test_pydicoms_own_files_agree(path: Path) -> None:
    pydicom_agreement.check(path, dcmread(path))

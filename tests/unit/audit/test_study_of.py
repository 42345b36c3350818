"""The study and patient of a data set, from its first bytes."""

import zlib
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.filereader import read_file_meta_info
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from dimse_ingestion.audit import study_of
from dimse_ingestion.audit.messages import Patient
from dimse_ingestion.audit.study_of import MOST_READ, StudyOf, study_of_data_set
from dimse_ingestion.dicom.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.storable import data_set_of

_SYNTAXES = {
    IMPLICIT_VR_LITTLE_ENDIAN: (True, True),
    EXPLICIT_VR_LITTLE_ENDIAN: (False, True),
    EXPLICIT_VR_BIG_ENDIAN: (False, False),
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: (False, True),
}


def data_set(**more: object) -> Dataset:
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    made.PatientName = "Müller^Jörg"
    made.PatientID = "P 1"
    made.StudyInstanceUID = "1.2.3.45"
    made.SeriesInstanceUID = "1.2.3.45.6"
    made.PixelData = bytes(2000)
    made["PixelData"].VR = "OW"
    for name, value in more.items():
        setattr(made, name, value)
    return made


def encoded(made: Dataset, transfer_syntax_uid: str) -> bytes:
    implicit, little = _SYNTAXES[transfer_syntax_uid]
    buffer = BytesIO()
    from pydicom.filebase import DicomBytesIO

    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = implicit, little
    write_dataset(file, made)
    buffer.write(file.getvalue())
    content = buffer.getvalue()
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        content = deflater.compress(content) + deflater.flush()
    return content


class Reader:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.read_bytes = 0

    def __call__(self, offset: int, length: int) -> bytes:
        piece = self.content[offset : offset + length]
        self.read_bytes += len(piece)
        return piece


def found(content: bytes, transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN) -> StudyOf | None:
    return study_of_data_set(Reader(content), transfer_syntax_uid)


@pytest.mark.parametrize("syntax", _SYNTAXES)
def test_the_study_is_read_in_every_transfer_syntax(syntax: str) -> None:
    expected = StudyOf("1.2.3.45", Patient("P 1", "Müller^Jörg"))
    assert found(encoded(data_set(), syntax), syntax) == expected


def test_little_is_read_of_a_long_data_set() -> None:
    long = data_set(PixelData=bytes(5_000_000))
    reader = Reader(encoded(long, EXPLICIT_VR_LITTLE_ENDIAN))
    assert study_of_data_set(reader, EXPLICIT_VR_LITTLE_ENDIAN)
    assert reader.read_bytes <= 4096


def test_a_long_sequence_before_the_study_is_passed_over() -> None:
    item = Dataset()
    item.TextValue = "x" * 1000
    made = data_set(ReferencedStudySequence=Sequence([item] * 100))
    study = found(encoded(made, EXPLICIT_VR_LITTLE_ENDIAN))
    assert study is not None
    assert study.study_instance_uid == "1.2.3.45"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no data set at all",
        bytes(100_000),
        b"\x08\x00\x16\x00UI\xff\xff" + b"1" * 70_000,
    ],
)
def test_what_is_no_data_set_has_no_study(content: bytes) -> None:
    assert found(content) is None


def test_a_study_instance_uid_that_is_none_is_no_study() -> None:
    made = data_set()
    made["StudyInstanceUID"].value = "no uid"
    assert found(encoded(made, EXPLICIT_VR_LITTLE_ENDIAN)) is None


def test_no_more_than_the_limit_is_read() -> None:
    header = b"\x09\x00\x10\x10UN\x00\x00" + (50).to_bytes(4, "little") + bytes(50)
    reader = Reader(header * 100_000)
    assert study_of_data_set(reader, EXPLICIT_VR_LITTLE_ENDIAN) is None
    assert reader.read_bytes <= MOST_READ + 8192


def stored_files() -> list[Path]:
    """Return the files of pydicom's tests that are here."""
    folder = Path(str(get_testdata_file("CT_small.dcm", download=False))).parent
    return sorted(folder.glob("*.dcm"))


@pytest.mark.parametrize("path", stored_files(), ids=lambda path: path.name)
def test_the_elements_are_read_as_the_scanner_reads_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        syntax = str(read_file_meta_info(path).TransferSyntaxUID)
        content = data_set_of(path)
    except Exception:  # noqa: BLE001 - some are no Part-10 files
        return
    walked = study_of_data_set(Reader(content), syntax)
    monkeypatch.setattr(study_of, "_walked", lambda *_, **__: None)
    assert walked == study_of_data_set(Reader(content), syntax)

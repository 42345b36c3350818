"""Instances made for tests: small, large, many, each with UIDs of its own and known bytes.

Written as Part-10 files, so that any SCU can send them. Not for real images (pydicom has those).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, FileMetaDataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

_LONGEST_CHUNK = 2**20


@dataclass(frozen=True)
class MadeInstance:
    """One file; `sha256` is that of its data set, `size` its length in bytes."""

    path: Path
    sop_instance_uid: str
    sha256: str
    size: int
    study_instance_uid: str


def data_set_in(content: bytes) -> bytes:
    """Return the data set after the file meta information (PS3.10 7.1) of a Part-10 file."""
    assert content[128:132] == b"DICM", "no Part-10 file"
    return content[144 + int.from_bytes(content[140:144], "little") :]


def made_instances(folder: Path, count: int, pixel_bytes: int) -> list[MadeInstance]:
    """Return `count` CT images of one series in one study."""
    folder.mkdir(parents=True, exist_ok=True)
    study, series = generate_uid(), generate_uid()
    return [
        _made(folder / f"{number:05}.dcm", study, series, number, pixel_bytes)
        for number in range(count)
    ]


def _made(path: Path, study: UID, series: UID, number: int, pixel_bytes: int) -> MadeInstance:
    data_set = Dataset()
    data_set.SOPClassUID = CTImageStorage
    data_set.SOPInstanceUID = generate_uid()
    data_set.StudyDate = "20260101"
    data_set.Modality = "CT"
    data_set.PatientName = "Made^Up"
    data_set.PatientID = f"MADE-{study[-12:]}"
    data_set.StudyInstanceUID = study
    data_set.SeriesInstanceUID = series
    data_set.InstanceNumber = str(number)
    with path.open("wb") as file:
        begin = _head(file, data_set)
        file.write(b"\xe0\x7f\x10\x00OW\x00\x00" + pixel_bytes.to_bytes(4, "little"))
        _pixels(file, pixel_bytes, number)
    sha256, size = _digest(path, begin)
    return MadeInstance(path, str(data_set.SOPInstanceUID), sha256, size, str(study))


def _head(file: BinaryIO, data_set: Dataset) -> int:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = DicomFileLike(file)
    out.is_little_endian, out.is_implicit_VR = True, False
    out.write(bytes(128) + b"DICM")
    write_file_meta_info(out, meta, enforce_standard=True)
    begin = out.tell()
    write_dataset(out, data_set)
    return int(begin)


def _pixels(file: object, length: int, number: int) -> None:
    pattern = (hashlib.sha256(str(number).encode()).digest() * (_LONGEST_CHUNK // 32))[
        :_LONGEST_CHUNK
    ]
    while length > 0:
        file.write(pattern[: min(length, _LONGEST_CHUNK)])  # type: ignore[attr-defined]
        length -= _LONGEST_CHUNK


def _digest(path: Path, begin: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        file.seek(begin)
        while chunk := file.read(_LONGEST_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size

"""Part-10 files with one instance, as a modality sends them: header and data set.

`write_sample` makes a small one that is marked as a test: a Secondary Capture image (PS3.3 A.8.1)
with UIDs under 2.25 (PS3.5 B.2), without patient data.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from pydicom import Dataset, FileDataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

PATIENT_ID = "DIMSE-INGESTION-TEST"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SIDE = 16


@dataclass(frozen=True)
class InstanceFile:
    """One file with one storable instance."""

    path: Path

    @cached_property
    def header(self) -> FileDataset:
        """The elements before the pixel data."""
        return dcmread(self.path, stop_before_pixels=True)

    @property
    def transfer_syntax(self) -> UID:
        """The transfer syntax in the file meta information."""
        return self.header.file_meta.TransferSyntaxUID

    @cached_property
    def data_set(self) -> bytes:
        """The bytes after the file meta information, which a C-STORE transfers."""
        return self.path.read_bytes()[data_set_offset(self.path) :]

    @cached_property
    def sha256(self) -> str:
        """The data set's SHA-256 in hexadecimal."""
        return hashlib.sha256(self.data_set).hexdigest()


def data_set_offset(path: Path) -> int:
    """Return the data set's offset in bytes in a Part-10 file (PS3.10 section 7.1)."""
    head = path.open("rb").read(144)
    return 144 + int.from_bytes(head[140:144], "little")


def write_sample(folder: Path) -> InstanceFile:
    """Write a new test instance to a file in `folder`."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    _identify(ds)
    _place(ds)
    _draw(ds)
    path = folder / f"{ds.SOPInstanceUID}.dcm"
    dcmwrite(path, ds, enforce_file_format=True)
    return InstanceFile(path)


def _identify(ds: Dataset) -> None:
    ds.SOPClassUID = _SECONDARY_CAPTURE
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(ds, keyword, generate_uid(prefix=None))
    ds.PatientName = "TEST^DIMSE-INGESTION"
    ds.PatientID = PATIENT_ID
    ds.PatientBirthDate = ds.PatientSex = ""


def _place(ds: Dataset) -> None:
    now = datetime.now(UTC)
    ds.StudyDate, ds.StudyTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    ds.StudyDescription = "dimse-ingestion prove"
    ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ds.PatientOrientation = ""
    ds.Modality, ds.ConversionType = "OT", "SYN"
    ds.SeriesNumber = ds.InstanceNumber = 1


def _draw(ds: Dataset) -> None:
    ds.Rows = ds.Columns = _SIDE
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.PixelData = bytes(range(_SIDE * _SIDE))

"""A small instance that is marked as a test, generated for each use.

It is a Secondary Capture image (PS3.3 A.8.1) with UIDs under 2.25 (PS3.5 B.2), without patient
data.
"""

from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dimse_ingestion.scu.instance_file import InstanceFile

PATIENT_ID = "DIMSE-INGESTION-TEST"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SIDE = 16


def write_sample(folder: Path) -> InstanceFile:
    """Write a new instance to a file in `folder`."""
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

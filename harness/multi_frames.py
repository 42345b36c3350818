"""A multi-frame image of any size, never in memory: a header, then frames on demand.

Each frame is 512 by 512 pixels of 16 bits and known by its number, so that one that comes back is
distinguished from every other.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydicom import Dataset, FileMetaDataset
from pydicom.dataset import FileDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import (
    ExplicitVRLittleEndian,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    generate_uid,
)

SIDE = 512
FRAME = SIDE * SIDE * 2
"""Bytes of a frame."""


@dataclass(frozen=True)
class MultiFrame:
    """One instance of `frames` frames."""

    frames: int
    study: str = field(default_factory=generate_uid)
    series: str = field(default_factory=generate_uid)
    instance: str = field(default_factory=generate_uid)

    @property
    def path(self) -> str:
        """The path below DICOMweb's services."""
        return f"/studies/{self.study}/series/{self.series}/instances/{self.instance}"

    def data_set(self) -> Dataset:
        """Return the data set without its pixels."""
        data_set = Dataset()
        data_set.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
        data_set.SOPInstanceUID, data_set.Modality = self.instance, "OT"
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID = self.study, self.series
        data_set.PatientName, data_set.PatientID = "Made^Up", "MADE"
        data_set.NumberOfFrames = self.frames
        data_set.Rows = data_set.Columns = SIDE
        data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
        data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 16, 15
        data_set.PixelRepresentation = 0
        return data_set

    def file(self) -> Iterator[bytes]:
        """Yield a Part-10 file, a frame at a time."""
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        head = DicomBytesIO()
        whole = FileDataset("", self.data_set(), preamble=bytes(128), file_meta=meta)
        whole.save_as(head, enforce_file_format=True)
        length = struct.pack("<I", self.frames * FRAME)
        yield head.getvalue() + b"\xe0\x7f\x10\x00OW\x00\x00" + length
        yield from map(frame, range(1, self.frames + 1))


def frame(number: int) -> bytes:
    """Return a frame by its number from 1."""
    return struct.pack("<I", number) * (FRAME // 4)

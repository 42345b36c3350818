"""The data set of an image of one frame, for the pixel libraries, with valid pixel attributes.

`frame_job` encodes its elements. Attributes that decoders need are set here
where an instance has none or invalid ones; `display` ignores invalid optional attributes itself.
"""

from functools import lru_cache
from io import BytesIO

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.uid import UID

from dimse_ingestion.pixels.jobs import DecodeJob


def image_data_set(job: DecodeJob) -> Dataset:
    """Return the data set of a job's image, without its pixels."""
    return _read(job.presentation, job.transfer_syntax_uid)


def shared_image_data_set(job: DecodeJob) -> Dataset:
    """Return a data set that no caller may change: images of a series are displayed alike."""
    return _read_once(job.presentation, job.transfer_syntax_uid)


@lru_cache(maxsize=8)
def _read_once(presentation: bytes, transfer_syntax_uid: str) -> Dataset:
    return _read(presentation, transfer_syntax_uid)


def _read(presentation: bytes, transfer_syntax_uid: str) -> Dataset:
    data_set = read_dataset(BytesIO(presentation), is_implicit_VR=False, is_little_endian=True)
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    data_set.NumberOfFrames = 1
    data_set.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
    _repair(data_set)
    return data_set


def _repair(data_set: Dataset) -> None:
    """Set attributes that decoders need where they are missing or invalid (PS3.3 C.7.6.3)."""
    data_set.Rows, data_set.Columns = _whole(data_set, "Rows"), _whole(data_set, "Columns")
    samples = data_set.SamplesPerPixel = _whole(data_set, "SamplesPerPixel") or 1
    allocated = data_set.BitsAllocated = _whole(data_set, "BitsAllocated")
    stored = _whole(data_set, "BitsStored")
    data_set.BitsStored = stored = stored if 1 <= stored <= allocated else allocated
    high = _whole(data_set, "HighBit")
    data_set.HighBit = high if stored <= high < allocated else stored - 1
    data_set.PixelRepresentation = int(_whole(data_set, "PixelRepresentation") == 1)
    if samples > 1:
        data_set.PlanarConfiguration = int(_whole(data_set, "PlanarConfiguration") == 1)
    if data_set.get("PhotometricInterpretation") not in list(PhotometricInterpretation):
        data_set.PhotometricInterpretation = "MONOCHROME2" if samples == 1 else "RGB"


def _whole(data_set: Dataset, keyword: str) -> int:
    """Return an attribute's first value as an integer, 0 where it has none."""
    try:
        return int(np.atleast_1d(data_set.get(keyword))[0])
    except (TypeError, ValueError, IndexError):
        return 0

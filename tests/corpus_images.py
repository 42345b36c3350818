"""Images of the corpus: synthetic pixels of every kind, and their compressed forms.

Pixels are gradients, so that lossy decoders of different authors agree within a grey level or two.
DCMTK encodes JPEG, JPEG-LS and RLE, pydicom's plug-ins RLE and JPEG 2000; no encoder of HTJ2K is
among the libraries, so that its code streams are here.
"""

import subprocess
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian

from harness.modalities import program

STUDY = "1.2.826.0.1.3680043.8.498.57"
HTJ2K_LOSSLESS = b64decode(
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBE"
    "AB/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAIIAAf+TwAAm0fUF"
    "B3QAAMAAEsAAEwAiAod0ADT9Awd0AMAAE0AAE4COHQICdACWtvQAo1QAwAAVMAAFWMDAwMCqcYJ1AD779OnzwEIB7L"
    "YAwAAr4AAWmEaj0Wg0Go3nynp6cQJ4AHDh4ODg4ODg/v2MYHv2MYHsugD/2Q=="
)
HTJ2K_LOSSY = b64decode(
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAAKv9SAAwAAgABAAUEBE"
    "AA/1wAIyK3GLbqtuq2vK8ArwCu4qdMp0ynZJADkAOQRpfSl9KXYf9kABcAAU9wZW5KUEggVmVyIDAuMjYuMy7/kAAK"
    "AAAAAADVAAH/k8AAATifcOAIB3QAAMAAAmgAAEx+7gQHdAAG1gSHdADAAAVUAABVgEc4giUt+QGCtACHwHSHgOn+Ac"
    "a0AMAAFswAAW2AlBSD4dAhc+YoFIPh0CFz5v4AZwcQAFmYABYMFgwWDBYM+3i1j1f7eLWPVwMYAMcIQNC5AMAAF0MA"
    "AF0wMByNWCwIj0YsFoRHIxYLwqMRi/VcElfyV/JX4grAC30AWk3TNE3ThoAOAToENAR0CGgI6BDQENAfQYwKdMYwKb"
    "vJrXJqPwD/2Q=="
)
"""Each 16 by 16 samples of 16 bits: `htj2k_pixels()`."""
Pixels = NDArray[Any]


def gradient(
    bits: int,
    *,
    frames: int = 0,
    samples: int = 1,
    signed: bool = False,
    rows: int = 32,
    columns: int = 40,
) -> Pixels:
    """Return a smooth image over the whole range of so many bits; 0 frames are one."""
    most = (1 << bits) - 1
    frame, row, column, sample = np.meshgrid(
        *(np.arange(n) for n in (max(frames, 1), rows, columns, samples)), indexing="ij"
    )
    total = rows + 2 * columns + 8 * samples + 4 * max(frames, 1)
    values = (row + 2 * column + 8 * sample + 4 * frame) * (most / total)
    if signed:
        values = values - (1 << (bits - 1))
    kind = "i" if signed else "u"
    pixels: Pixels = values.astype(np.dtype(f"{kind}{1 if bits <= 8 else 2 if bits <= 16 else 4}"))
    shape = pixels.shape[0 if frames else 1 : 4 if samples > 1 else 3]
    return pixels.reshape(shape)


def htj2k_pixels() -> Pixels:
    """Return the samples of the HTJ2K code streams."""
    row, column = np.mgrid[0:16, 0:16]
    pixels: Pixels = ((column * 20 + row * 37) * 5).astype(np.uint16)
    return pixels


def instance(number: int, sop_class_uid: str, modality: str = "OT") -> Any:
    """Return a data set with what every instance of the corpus has."""
    data_set: Any = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 100"
    data_set.SOPClassUID = sop_class_uid
    data_set.SOPInstanceUID = f"{STUDY}.1.{number}"
    data_set.StudyDate = "20260101"
    data_set.Modality = modality
    data_set.PatientName = "Corpus^J\u00fcrgen"
    data_set.PatientID = "CORPUS"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = STUDY, f"{STUDY}.1"
    data_set.InstanceNumber = str(number)
    return data_set


def image(
    number: int,
    sop_class_uid: str,
    pixels: Pixels,
    colour: str = "MONOCHROME2",
    *,
    stored: int = 0,
    planar: int = 0,
    frames: int = 0,
    keyword: str = "PixelData",
) -> Any:
    """Return an image; `stored` are its bits where these are fewer than allocated."""
    data_set = instance(number, sop_class_uid)
    is_coloured = pixels.shape[-1] == 3 and colour in ("RGB", "YBR_FULL", "YBR_FULL_422")
    data_set.SamplesPerPixel = 3 if is_coloured else 1
    data_set.PhotometricInterpretation = colour
    if is_coloured:
        data_set.PlanarConfiguration = planar
    if frames:
        data_set.NumberOfFrames = str(frames)
    data_set.Rows, data_set.Columns = (
        pixels.shape[1 if frames else 0],
        pixels.shape[2 if frames else 1],
    )
    data_set.BitsAllocated = pixels.itemsize * 8
    if keyword == "PixelData":
        data_set.BitsStored = stored or data_set.BitsAllocated
        data_set.HighBit = data_set.BitsStored - 1
        data_set.PixelRepresentation = int(pixels.dtype.kind == "i")
    if is_coloured and planar:
        pixels = np.moveaxis(pixels, -1, -3)
    value = np.ascontiguousarray(pixels).tobytes()
    setattr(data_set, keyword, value + b"\0" * (len(value) % 2))
    if keyword == "PixelData":
        data_set["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    return data_set


def palette(data_set: Any) -> Any:
    """Return the image with a palette of 256 entries of 16 bits."""
    entries = np.arange(256, dtype=np.uint16)
    for name, values in (("Red", entries), ("Green", entries[::-1]), ("Blue", entries // 2)):
        setattr(data_set, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(data_set, f"{name}PaletteColorLookupTableData", (values * 257).tobytes())
    return data_set


def written(data_set: Any, path: Path, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> Path:
    """Write a Part 10 file."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    data_set.file_meta = meta
    dcmwrite(path, data_set, enforce_file_format=True)
    return path


def encoded(data_set: Any, path: Path, tool: str, *options: str) -> Path:
    """Write an image as a tool of DCMTK encodes it."""
    source = written(data_set, path.with_suffix(".native"))
    finished = subprocess.run(
        [program(tool), *options, str(source), str(path)], capture_output=True, check=False
    )
    source.unlink()
    assert finished.returncode == 0, (path.name, finished.stderr.decode())
    return path


def compressed(data_set: Any, path: Path, transfer_syntax_uid: str, **options: Any) -> Path:
    """Write an image as an encoder of pydicom encodes it."""
    written(data_set, path)
    data_set.compress(UID(transfer_syntax_uid), generate_instance_uid=False, **options)
    return written(data_set, path, transfer_syntax_uid)


def in_fragments(
    data_set: Any, path: Path, transfer_syntax_uid: str, *frames: bytes, **options: Any
) -> Path:
    """Write an image whose frames are encoded already."""
    data_set.PixelData = encapsulate(list(frames), **options)
    data_set["PixelData"].VR = "OB"
    data_set["PixelData"].is_undefined_length = True
    return written(data_set, path, transfer_syntax_uid)


def changed(data_set: Any, values: Mapping[str, Any]) -> Any:
    """Return the data set with other values of attributes."""
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    return data_set

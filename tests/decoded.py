"""Pixels of instances, as pydicom and as DCMTK decode them, to compare what was retrieved."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian

from dimse_ingestion.dicom import part10
from harness.modalities import program

_SYNTAX = "1.2.840.10008.1.2"
_SAMPLES_IN_FRAGMENTS = f"{_SYNTAX}.1.98"  # PS3.5 A.4.11
_DECODERS = {
    **dict.fromkeys((f"{_SYNTAX}.4.{n}" for n in (50, 51, 57, 70)), "dcmdjpeg"),
    **dict.fromkeys((f"{_SYNTAX}.4.{n}" for n in (80, 81)), "dcmdjpls"),
    f"{_SYNTAX}.5": "dcmdrle",
    **dict.fromkeys(
        (_SYNTAX, *(f"{_SYNTAX}.1{n}" for n in ("", ".99")), f"{_SYNTAX}.2"), "dcmconv"
    ),
}
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_OF_PIXELS = {
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    *_PIXELS,
}
Frames = NDArray[Any]
"""All frames of an instance; empty if it is no image."""


def as_file(data_set: bytes, transfer_syntax_uid: str, path: Path) -> Path:
    """Write a received data set as a Part 10 file."""
    path.write_bytes(part10.header("1.2.3", "1.2.3.4", transfer_syntax_uid) + data_set)
    return path


def by_pydicom(path: Path) -> Frames:
    """Return the frames of a file, colours as RGB."""
    image: Any = dcmread(path)
    if image.file_meta.TransferSyntaxUID == _SAMPLES_IN_FRAGMENTS:
        image.PixelData = b"".join(generate_frames(image.PixelData, number_of_frames=1))
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return pixel_array(image) if any(each in image for each in _PIXELS) else np.empty(0)


def dcmtk_decodes(transfer_syntax_uid: str) -> bool:
    """Return whether DCMTK has a decoder: it has none of JPEG 2000."""
    return transfer_syntax_uid in _DECODERS


def by_dcmtk(path: Path) -> Frames:
    """Return the frames of a file that DCMTK has decoded."""
    target = decoded_by_dcmtk(path)
    try:
        return by_pydicom(target)
    finally:
        target.unlink()


def decoded_by_dcmtk(path: Path) -> Path:
    """Have DCMTK write a file in explicit VR little endian, and return that."""
    syntax = str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)
    target = path.with_suffix(f"{path.suffix}.dcmtk")
    options = ["+te"] if _DECODERS[syntax] == "dcmconv" else []
    finished = subprocess.run(
        [program(_DECODERS[syntax]), *options, str(path), str(target)],
        capture_output=True,
        check=False,
    )
    assert finished.returncode == 0, (path.name, finished.stderr.decode())
    return target


def difference(ours: Frames, theirs: Frames) -> float:
    """Return the largest difference of two samples; infinite where the frames are not alike."""
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours.astype("f8") - theirs.astype("f8")).max(initial=0))


def other_elements(data_set: Dataset, *, private: bool = True) -> dict[str, Any]:
    """Return the values of the elements that do not describe pixels, without group lengths.

    In implicit VR nothing says the VR of a private element, so that its value is bytes.
    """
    return {
        str(each.tag): each.value
        for each in data_set
        if each.tag.element
        and each.keyword not in _OF_PIXELS
        and (private or not each.tag.is_private)
    }

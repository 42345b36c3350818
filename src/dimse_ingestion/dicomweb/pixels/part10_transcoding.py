"""Part 10 files rewritten as explicit VR little endian (PS3.10 section 7, PS3.5 annex A).

Decoded frames are written one at a time, so that neither the object nor its pixels are held in
memory. Runs in the processes of `decoder_pool`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from dimse_ingestion.dicom.value_representations import little_endian
from dimse_ingestion.dicomweb.pixels import pydicom_agreement

Pixels = NDArray[Any]
_PIXEL_DATA = 0x7FE00010
_OFFSET_TABLES = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
_DEFERRED = "1 MB"
_BYTE = 8
_COLOUR_DIMENSIONS = 3  # dimensions: rows, columns, samples


@dataclass(frozen=True)
class Layout:
    """The layout of decoded frames: all like `first`, with Photometric Interpretation `colour`."""

    first: Pixels
    colour: str
    number: int
    bits_allocated: int

    @property
    def length(self) -> int:
        """Return the size of all frames in bytes, padded to an even number."""
        bits = self.first.size * (1 if self.bits_allocated == 1 else self.first.itemsize * _BYTE)
        length = -(-bits * self.number // _BYTE)
        return length + length % 2

    def describe(self, data_set: Dataset) -> None:
        """Set the attributes of an image to this layout."""
        data_set.NumberOfFrames = self.number
        data_set.PhotometricInterpretation = self.colour
        if self.bits_allocated != 1:
            data_set.BitsAllocated = self.first.itemsize * _BYTE
        if self.first.ndim == _COLOUR_DIMENSIONS:
            data_set.PlanarConfiguration = 0


def rewrite(source: Path, target: Path) -> None:
    """Rewrite a file whose pixels are not compressed."""
    data_set: Dataset = dcmread(source)
    pydicom_agreement.check(source, data_set)
    if data_set.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
        data_set = _little_endian(data_set)
    _save(data_set, target)


def decompress(source: Path, target: Path, layout: Layout, frames: Iterable[Pixels]) -> None:
    """Rewrite a file with decoded frames in place of its compressed ones."""
    data_set: Dataset = dcmread(source, defer_size=_DEFERRED)
    pydicom_agreement.check(source, data_set)
    trailing = Dataset({tag: data_set[tag] for tag in data_set.keys() if tag > _PIXEL_DATA})  # noqa: SIM118 - a data set iterates over elements
    for tag in [tag for tag in data_set.keys() if tag >= _PIXEL_DATA]:  # noqa: SIM118
        del data_set[tag]
    for keyword in _OFFSET_TABLES:
        if keyword in data_set:
            delattr(data_set, keyword)
    had_number = "NumberOfFrames" in data_set
    layout.describe(data_set)
    if layout.number == 1 and not had_number:
        del data_set.NumberOfFrames
    _save(data_set, target)
    with target.open("ab") as file:
        _write_pixel_data(file, layout, frames)
        _append(file, trailing)


def _save(data_set: Dataset, target: Path) -> None:
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for _ in data_set.iterall():
        pass  # parse every element: one that is copied raw may lack a VR
    data_set.save_as(target, implicit_vr=False, little_endian=True, enforce_file_format=True)


def _append(file: BinaryIO, data_set: Dataset) -> None:
    """Write the elements that follow the pixel data."""
    whole = FileDataset("", data_set, is_implicit_VR=False, is_little_endian=True)
    whole.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
    output = DicomIO(file)
    output.is_implicit_VR, output.is_little_endian = False, True
    write_dataset(output, whole)


def _write_pixel_data(file: BinaryIO, layout: Layout, frames: Iterable[Pixels]) -> None:
    vr = b"OB" if layout.first.itemsize == 1 else b"OW"
    length = layout.length
    file.write(b"\xe0\x7f\x10\x00" + vr + b"\0\0" + length.to_bytes(4, "little"))
    pieces = _packed(frames) if layout.bits_allocated == 1 else _samples(frames)
    written = sum(file.write(piece) for piece in pieces)
    file.write(bytes(length - written))


def _samples(frames: Iterable[Pixels]) -> Iterator[bytes]:
    for each in frames:
        yield each.astype(each.dtype.newbyteorder("<"), copy=False).tobytes()


def _packed(frames: Iterable[Pixels]) -> Iterator[bytes]:
    """Yield the bits of frames without padding between frames (PS3.5 8.1.1)."""
    remaining = np.empty(0, np.uint8)
    for each in frames:
        bits = np.concatenate([remaining, each.ravel()])
        whole = len(bits) // _BYTE * _BYTE
        yield np.packbits(bits[:whole], bitorder="little").tobytes()
        remaining = bits[whole:]
    yield np.packbits(remaining, bitorder="little").tobytes()


def _little_endian(data_set: Dataset) -> Dataset:
    """Return the data set with its words in little endian."""
    words = {16: "OW", 32: "OL", 64: "OV"}
    for each in data_set.iterall():
        if each.VR in ("OW", "OF", "OL", "OD", "OV") and isinstance(each.value, bytes):
            is_pixel_data = each.keyword == "PixelData"
            bits = data_set.get("BitsAllocated", 0) if is_pixel_data else 0
            each.value = little_endian(each.value, words.get(bits, each.VR))
    fresh = Dataset(data_set)
    fresh.file_meta = data_set.file_meta
    fresh.set_original_encoding(
        is_implicit_vr=False,
        is_little_endian=True,
        character_encoding=data_set.original_character_set,
    )
    return fresh

"""Functions that run in the processes of `decoder_pool`: decode and render frames.

Only those processes call codecs, by this module, so that a codec that crashes, loops or uses too
much memory ends only one of them. Every function takes and returns bytes or paths. `rendering`
makes pictures of what is decoded.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space
from pydicom.pixels.utils import as_pixel_options

from dimse_ingestion.dicom.code_streams import InvalidCodeStream, claimed_size, is_lossy
from dimse_ingestion.pixels.image_data_set import image_data_set, shared_image_data_set
from dimse_ingestion.pixels.jobs import DecodedPixels, DecodeJob, FrameRanges, RenderParameters
from dimse_ingestion.pixels.rendering import (
    COLOUR_DIMENSIONS,
    Pixels,
    encode_image,
    stored_greys,
)

_MAX_TILES = 16_384  # a decoder needs kilobytes for each, whatever its size
_YBR, _RGB = "YBR_FULL", "RGB"
_BYTE = 8


class Undecodable(ValueError):
    """Pixels can't be decoded; the message has the reason, but no value of them."""


def decode(job: DecodeJob) -> bytes:
    """Return a frame's samples as in explicit VR little endian.

    Colours are in the instance's Photometric Interpretation if it also applies to uncompressed
    pixels (YBR_FULL), else in RGB. Colour planes are separate where Planar Configuration is 1.
    """
    data_set = image_data_set(job)
    pixels, _ = _decode_labelled(job, data_set)
    if data_set.BitsAllocated == 1:
        return np.packbits(pixels.ravel(), bitorder="little").tobytes()
    if pixels.ndim == COLOUR_DIMENSIONS and data_set.PlanarConfiguration == 1:
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return _little_endian(pixels)


def render(job: DecodeJob, parameters: RenderParameters) -> bytes:
    """Return a frame as PNG or JPEG, as it is displayed."""
    data_set = shared_image_data_set(job)
    pixels = stored_greys(job, data_set)
    if pixels is None:
        data_set = image_data_set(job)
        pixels, _ = _decode_samples(job, data_set, raw=False)
    return encode_image(pixels, data_set, parameters)


def decode_frames(
    source: Path, target: Path, frames: Sequence[FrameRanges], job: DecodeJob
) -> DecodedPixels:
    """Decode an instance's frames, and write them to a file as the value of Pixel Data.

    `frames` has the byte ranges of each frame in the file `source`, and `job` the way to decode
    them. One frame at a time is in memory. Raises Undecodable where frames differ in their layout.

    The file appears when it is complete: a pool that has lost processes may run a job again while
    another process still runs it, and both have the same `target`.
    """
    data_set, codes = image_data_set(job), _Codes(source, frames, job.transfer_syntax_uid)
    decoded = (_decode_labelled(job.of(each), data_set) for each in codes)
    first, label = next(decoded)
    is_bits = data_set.BitsAllocated == 1
    samples = chain([first], _alike(decoded, first, label))
    pieces = _packed(samples) if is_bits else map(_little_endian, samples)
    incomplete = target.with_name(f"{target.name}.{os.getpid()}")
    with incomplete.open("wb") as file:
        length = sum(file.write(piece) for piece in pieces)
        length += file.write(bytes(length % 2))
    incomplete.replace(target)
    return DecodedPixels(
        length=length,
        bits_allocated=1 if is_bits else first.itemsize * _BYTE,
        samples_per_pixel=first.shape[2] if first.ndim == COLOUR_DIMENSIONS else 1,
        photometric_interpretation=label,
        is_lossy=codes.are_lossy,
    )


class _Codes:
    """The encoded frames of a file, read one by one; some may turn out to be lossy."""

    def __init__(self, source: Path, frames: Sequence[FrameRanges], syntax: str) -> None:
        self.are_lossy = False
        self._source, self._frames, self._syntax = source, frames, syntax

    def __iter__(self) -> Iterator[bytes]:
        for each in self._frames:
            frame = each.read(self._source)
            self.are_lossy = self.are_lossy or is_lossy(frame, self._syntax)
            yield frame


def _alike(decoded: Iterator[tuple[Pixels, str]], first: Pixels, label: str) -> Iterator[Pixels]:
    for pixels, other in decoded:
        if (pixels.shape, pixels.dtype, other) != (first.shape, first.dtype, label):
            raise Undecodable("Its frames differ in size, bits or colours.")
        yield pixels


def _little_endian(pixels: Pixels) -> bytes:
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def _packed(frames: Iterable[Pixels]) -> Iterator[bytes]:
    """Yield the bits of frames without padding between frames (PS3.5 8.1.1)."""
    remaining = np.empty(0, np.uint8)
    for each in frames:
        bits = np.concatenate([remaining, each.ravel()])
        whole = len(bits) // _BYTE * _BYTE
        yield np.packbits(bits[:whole], bitorder="little").tobytes()
        remaining = bits[whole:]
    yield np.packbits(remaining, bitorder="little").tobytes()


def _decode_labelled(job: DecodeJob, data_set: Dataset) -> tuple[Pixels, str]:
    """Return the samples in the instance's Photometric Interpretation or RGB, and which it is."""
    pixels, label = _decode_samples(job, data_set, raw=True)
    if pixels.ndim != COLOUR_DIMENSIONS:
        return pixels, label
    target = _YBR if data_set.PhotometricInterpretation == _YBR else _RGB
    is_ybr = label.startswith("YBR")
    if is_ybr == (target == _YBR):
        return pixels, label if label == target or not is_ybr else target
    if pixels.dtype != np.uint8:
        return pixels, label
    return convert_color_space(pixels, label, target), target


def _decode_samples(job: DecodeJob, data_set: Dataset, *, raw: bool) -> tuple[Pixels, str]:
    """Return the frame's samples and Photometric Interpretation; YBR becomes RGB unless `raw`."""
    if job.is_encapsulated:
        if not _has_decoder(job.transfer_syntax_uid):
            raise Undecodable("Its transfer syntax can't be decoded here.")
        check_size(job.frame, data_set)
    _set_pixel_data(job, data_set)
    options = as_pixel_options(data_set)
    if data_set.HighBit != data_set.BitsStored - 1:
        options["correct_unused_bits"] = False  # the unused bits are not the upper ones
    decoder = get_decoder(job.transfer_syntax_uid)
    pixels, properties = decoder.as_array(data_set, index=0, raw=raw, **options)
    return pixels, str(properties["photometric_interpretation"])


def _has_decoder(transfer_syntax_uid: str) -> bool:
    try:
        return bool(get_decoder(transfer_syntax_uid).is_available)
    except NotImplementedError:
        return False


def _set_pixel_data(job: DecodeJob, data_set: Dataset) -> None:
    frame = encapsulate([job.frame], has_bot=False) if job.is_encapsulated else job.frame
    data_set.add_new(job.keyword, "OW", frame + b"\0" * (len(frame) % 2))
    data_set[job.keyword].is_undefined_length = job.is_encapsulated


def check_size(frame: bytes, data_set: Dataset) -> None:
    """Raise Undecodable where the compressed image is larger than the instance declares.

    A decoder allocates the size that the code stream declares before it reads the samples.
    """
    try:
        size = claimed_size(frame, data_set.file_meta.TransferSyntaxUID)
    except InvalidCodeStream as invalid:
        raise Undecodable(str(invalid)) from None
    if size is None:
        return
    expected = data_set.Rows * data_set.Columns * data_set.SamplesPerPixel
    if size.samples > expected:
        raise Undecodable("The compressed image is larger than the instance says.")
    if size.tiles > _MAX_TILES:
        raise Undecodable(f"The compressed image has more than {_MAX_TILES} tiles.")

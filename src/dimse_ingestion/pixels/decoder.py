"""Functions that run in the processes of `decoder_pool`: decode and render frames.

Only those processes import pixel libraries, by this module, so that a codec that crashes, loops or
uses too much memory ends only one of them. Every function takes and returns bytes or paths.
`display` maps values to shades.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filereader import read_dataset
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import UID

from dimse_ingestion.dicom.code_streams import InvalidCodeStream, claimed_size, is_lossy
from dimse_ingestion.pixels.display import colour_pixels, grey_pixels
from dimse_ingestion.pixels.jobs import DecodedPixels, DecodeJob, FrameRanges, RenderParameters

Pixels = NDArray[Any]
_COLOUR_DIMENSIONS = 3  # dimensions: rows, columns, samples
_WHOLE_SAMPLES = (8, 16, 32)  # bits allocated
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
    data_set = _data_set(job)
    pixels, _ = _decode_labelled(job, data_set)
    if data_set.BitsAllocated == 1:
        return np.packbits(pixels.ravel(), bitorder="little").tobytes()
    if pixels.ndim == _COLOUR_DIMENSIONS and data_set.PlanarConfiguration == 1:
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return _little_endian(pixels)


def render(job: DecodeJob, parameters: RenderParameters) -> bytes:
    """Return a frame as PNG or JPEG, as it is displayed."""
    data_set = _shared_data_set(job.presentation, job.transfer_syntax_uid)
    pixels = _stored_greys(job, data_set)
    if pixels is None:
        data_set = _data_set(job)
        pixels, _ = _decode_samples(job, data_set, raw=False)
    is_coloured = pixels.ndim == _COLOUR_DIMENSIONS
    display_pixels = (
        colour_pixels(pixels, data_set)
        if is_coloured
        else grey_pixels(pixels, data_set, parameters.window)
    )
    image = _fit(_crop(Image.fromarray(display_pixels), parameters), parameters)
    target = BytesIO()
    if parameters.media_type == "image/png":
        image.save(target, "PNG", compress_level=3)
    else:
        image.save(target, "JPEG", quality=parameters.quality)
    return target.getvalue()


def decode_frames(
    source: Path, target: Path, frames: Sequence[FrameRanges], job: DecodeJob
) -> DecodedPixels:
    """Decode an instance's frames, and write them to a file as the value of Pixel Data.

    `frames` has the byte ranges of each frame in the file `source`, and `job` the way to decode
    them. One frame at a time is in memory. Raises Undecodable where frames differ in their layout.

    The file appears when it is complete: a pool that has lost processes may run a job again while
    another process still runs it, and both have the same `target`.
    """
    data_set, codes = _data_set(job), _Codes(source, frames, job.transfer_syntax_uid)
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
        samples_per_pixel=first.shape[2] if first.ndim == _COLOUR_DIMENSIONS else 1,
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
    if pixels.ndim != _COLOUR_DIMENSIONS:
        return pixels, label
    target = _YBR if data_set.PhotometricInterpretation == _YBR else _RGB
    is_ybr = label.startswith("YBR")
    if is_ybr == (target == _YBR):
        return pixels, label if label == target or not is_ybr else target
    if pixels.dtype != np.uint8:
        return pixels, label
    return convert_color_space(pixels, label, target), target


def _stored_greys(job: DecodeJob, data_set: Dataset) -> Pixels | None:
    """Return a frame of whole grey samples as it is stored, None for another frame.

    They need no decoder: pydicom's work for such a frame costs as much as showing it. `display`
    removes unused bits.
    """
    allocated = data_set.BitsAllocated
    is_grey = data_set.PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2")
    count = data_set.Rows * data_set.Columns
    if (
        job.is_encapsulated
        or job.keyword != "PixelData"
        or not is_grey
        or data_set.SamplesPerPixel != 1
        or allocated not in _WHOLE_SAMPLES
        or not 0 < count * allocated <= len(job.frame) * 8
    ):
        return None
    sign = "i" if data_set.PixelRepresentation else "u"
    dtype = np.dtype(f"<{sign}{allocated // 8}")
    return np.frombuffer(job.frame, dtype, count).reshape(data_set.Rows, data_set.Columns)


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


def _data_set(job: DecodeJob) -> Dataset:
    """Return the data set of an image of one frame, without its pixels."""
    return _read_data_set(job.presentation, job.transfer_syntax_uid)


@lru_cache(maxsize=8)
def _shared_data_set(presentation: bytes, transfer_syntax_uid: str) -> Dataset:
    """Return a data set that no caller may change: images of a series are displayed alike."""
    return _read_data_set(presentation, transfer_syntax_uid)


def _read_data_set(presentation: bytes, transfer_syntax_uid: str) -> Dataset:
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
        data_set.PhotometricInterpretation = "MONOCHROME2" if samples == 1 else _RGB


def _whole(data_set: Dataset, keyword: str) -> int:
    """Return an attribute's first value as an integer, 0 where it has none."""
    try:
        return int(np.atleast_1d(data_set.get(keyword))[0])
    except (TypeError, ValueError, IndexError):
        return 0


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


def _crop(image: Image.Image, parameters: RenderParameters) -> Image.Image:
    """Return the requested region; a negative width or height mirrors it (PS3.18 8.3.5.1.3)."""
    if parameters.region is None:
        return image
    x, y, width, height = parameters.region.within(image.width, image.height)
    image = image.crop((x, y, x + abs(width), y + abs(height)))
    if width < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if height < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image


def _fit(image: Image.Image, parameters: RenderParameters) -> Image.Image:
    """Scale an image to fit, with its aspect ratio; a thumbnail is never larger than the image."""
    if parameters.size is None:
        return image
    scale = min(parameters.size[0] / image.width, parameters.size[1] / image.height)
    if parameters.is_thumbnail:
        scale = min(scale, 1.0)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)

"""Decoding of all frames of a data set in a file, by the processes of a decoder pool.

Frames are located by the rules of `frame_reader`, as for a single frame.
"""

import asyncio
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from dimse_ingestion.dicom.elements import by_tag
from dimse_ingestion.dicom.fragments import ITEM_HEADER
from dimse_ingestion.dicom.frames import PIXEL_DATA, FrameNotFound, ImagePixels, image_pixels
from dimse_ingestion.operations.frame_reader import FrameLocation, FrameReader
from dimse_ingestion.operations.retrieve import ObjectBytes
from dimse_ingestion.pixels.decoder_pool import DecoderPool
from dimse_ingestion.pixels.failures import Undecodable
from dimse_ingestion.pixels.frame_job import check_size, frame_decode_job
from dimse_ingestion.pixels.jobs import DecodedPixels, FrameRanges
from dimse_ingestion.queries.contract import Located

_BYTE = 8
_UNDEFINED_LENGTH = b"\xff\xff\xff\xff"


@dataclass(frozen=True, slots=True)
class DecodedFrames:
    """The decoded frames of a data set; `compressed_length` is in bytes, of all frames."""

    pixels: DecodedPixels
    compressed_length: int

    @property
    def ratio(self) -> float:
        """Return how many times smaller the compressed frames are."""
        return self.pixels.length / max(1, self.compressed_length)


def decoded_size(pixels: ImagePixels) -> int:
    """Return the bytes of all frames of an image, decoded."""
    bits = pixels.pixels * pixels.samples_per_pixel * pixels.bits_allocated
    return -(-bits * pixels.number_of_frames // _BYTE)


async def fragmented_pixels(located: Located, data_set: Path) -> ImagePixels | None:
    """Return the image's pixel attributes, or None where it has no pixel data in fragments.

    Raises Undecodable when the attributes are damaged.
    """
    found = by_tag(located.elements).get(PIXEL_DATA)
    if found is None or found.bulk is None:
        return None
    offset = found.bulk.offset - len(_UNDEFINED_LENGTH)
    if await asyncio.to_thread(_read, data_set, offset, 4) != _UNDEFINED_LENGTH:
        return None
    try:
        return image_pixels(located.elements)
    except FrameNotFound as not_found:
        raise Undecodable(str(not_found)) from None


async def decode_frames(
    decoders: DecoderPool, located: Located, data_set: Path, target: Path
) -> DecodedFrames:
    """Decode the frames of the data set in a file, and write them to `target`.

    Raises Undecodable for frames that can't be told apart, and Failure as the decoders do.
    """
    reader = FrameReader(ObjectBytes(_Copies(data_set)))
    try:
        places = await reader.locate_all(located)
        check_size(places[0].pixels)
        presentation = await reader.presentation_attributes(located, 1)
    except FrameNotFound as not_found:
        raise Undecodable(str(not_found)) from None
    syntax = located.transfer_syntax_uid
    template = frame_decode_job(b"", presentation, places[0].pixels, syntax)
    ranges = [_frame_ranges(each) for each in places]
    pixels = await decoders.decode_frames(data_set, target, ranges, template)
    return DecodedFrames(pixels, sum(each.length for each in places))


class _Copies:
    """A `RangeSource` of one object, whose copy is a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def get_range(self, key: str, offset: int, length: int) -> bytes:  # noqa: ARG002 - the protocol's
        return await asyncio.to_thread(_read, self._path, offset, length)


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _frame_ranges(frame: FrameLocation) -> FrameRanges:
    offset = frame.located.header_size + frame.place.offset
    lengths = getattr(frame.place, "fragments", (frame.place.length,))
    begins = accumulate((each + ITEM_HEADER for each in lengths), initial=offset)
    return FrameRanges(tuple(zip(begins, lengths, strict=False)), frame.length)

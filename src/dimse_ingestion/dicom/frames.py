"""The location of an uncompressed frame in pixel data, computed from the instance's elements.

PS3.5 section 8 (native, also bit-packed), PS3.3 section C.7.6.3. The computed size is checked
against the stored length first, because writers differ in subsampled colours, odd bits and padding.
Nothing is read or decoded here; `fragments` handles encapsulated pixel data.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from dimse_ingestion.dicom.elements import BulkReference, Element, by_tag

PIXEL_DATA = 0x7FE00010
PIXEL_DATA_TAGS = (PIXEL_DATA, 0x7FE00008, 0x7FE00009)
"""Pixel Data, Float Pixel Data, Double Float Pixel Data: an instance has one of them."""

_SAMPLES_PER_PIXEL, _PHOTOMETRIC_INTERPRETATION = 0x00280002, 0x00280004
_NUMBER_OF_FRAMES, _ROWS, _COLUMNS = 0x00280008, 0x00280010, 0x00280011
_BITS_ALLOCATED = 0x00280100
_BYTE = 8
_SUBSAMPLED = {"YBR_FULL_422": (2, 3), "YBR_PARTIAL_422": (2, 3), "YBR_PARTIAL_420": (1, 2)}
"""The share of its samples that a subsampled frame stores (PS3.3 C.7.6.3.1.2)."""


class FrameNotFound(ValueError):
    """The frame does not exist or can't be located; the message says which."""


@dataclass(frozen=True, slots=True)
class ImagePixels:
    """The Image Pixel module's attributes; `bulk` refers to the whole pixel data.

    `padding_bits` follow each frame and are not part of it.
    """

    vr: str
    bulk: BulkReference
    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    photometric_interpretation: str
    number_of_frames: int
    padding_bits: int = 0

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        return self.rows * self.columns

    @property
    def native_bits(self) -> int:
        """Bits of a frame that is not compressed."""
        bits = self.pixels * self.samples_per_pixel * self.bits_allocated
        share, of = _SUBSAMPLED.get(self.photometric_interpretation, (1, 1))
        return bits // of * share if self.samples_per_pixel == 3 else bits

    @property
    def native_bytes(self) -> int:
        """Bytes of a frame that is not compressed and begins with a byte."""
        return -(-self.native_bits // _BYTE)

    @property
    def stride(self) -> int:
        """Bits from the begin of an uncompressed frame to that of the next."""
        return self.native_bits + self.padding_bits

    @property
    def word_vr(self) -> str:
        """The VR whose words are those of the pixels, which big endian has the other way round."""
        return {16: "OW", 32: "OL", 64: "OV"}.get(self.bits_allocated, self.vr)

    @property
    def middle_frame(self) -> int:
        """The number of the frame that stands for all, among those that are stored whole."""
        number = self.number_of_frames
        if self.bulk.fragments is None:
            number = min(number, self.bulk.length * _BYTE // self.stride)
        return min(number // 2 + 1, self.number_of_frames)

    def check_number(self, number: int) -> None:
        """Raise FrameNotFound unless there is a frame of this number, counted from 1."""
        if not 1 <= number <= self.number_of_frames:
            frames = f"{self.number_of_frames} frame{'s' * (self.number_of_frames > 1)}"
            raise FrameNotFound(f"There is no frame {number}: the instance has {frames}.")


def image_pixels(elements: Iterable[Element]) -> ImagePixels:
    """Return the pixel attributes of an instance; raises FrameNotFound if it has no pixels."""
    found = by_tag(elements)
    data = next((found[tag] for tag in PIXEL_DATA_TAGS if tag in found), None)
    if data is None or data.bulk is None:
        raise FrameNotFound("The instance has no pixel data: it is not an image.")
    try:
        pixels = ImagePixels(
            vr=data.vr,
            bulk=data.bulk,
            rows=_number(found, _ROWS),
            columns=_number(found, _COLUMNS),
            samples_per_pixel=_number(found, _SAMPLES_PER_PIXEL, 1),
            bits_allocated=_number(found, _BITS_ALLOCATED),
            photometric_interpretation=_text(found, _PHOTOMETRIC_INTERPRETATION),
            number_of_frames=_number_of_frames(found),
        )
    except ValueError as wrong:
        raise FrameNotFound(f"The instance's image attributes are damaged: {wrong}.") from None
    if not pixels.native_bits:
        raise FrameNotFound("The instance's image has no rows, columns or bits.")
    return pixels


def _number(found: dict[int, Element], tag: int, otherwise: int | None = None) -> int:
    text = _text(found, tag)
    if not text and otherwise is not None:
        return otherwise
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is no number") from None
    if number < 0:
        raise ValueError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is negative")
    return number


def _number_of_frames(found: dict[int, Element]) -> int:
    """Return Number of Frames, or 1 if it is invalid: the stored length is checked later."""
    text = _text(found, _NUMBER_OF_FRAMES)
    whole, _, fraction = text.partition(".")
    is_number = whole.isascii() and whole.isdecimal() and not fraction.strip("0")
    return (int(whole) if is_number else 1) or 1


def _text(found: dict[int, Element], tag: int) -> str:
    values = found[tag].values if tag in found else []
    return values[0].strip(" \0") if values else ""


@dataclass(frozen=True, slots=True)
class NativeFrame:
    """A frame as `length` bytes at `offset` of the data set; its bits begin `shift` bits later."""

    offset: int
    length: int
    shift: int
    bits: int

    def frame(self, read: bytes) -> bytes:
        """Return the frame from the bytes read at its range, aligned to a byte (PS3.5 8.1.1).

        Raises FrameNotFound if the pixel data ends before the frame.
        """
        if len(read) < self.length:
            raise FrameNotFound("The pixel data is shorter than its frames.")
        if not self.shift and not self.bits % 8:
            return read
        bits = int.from_bytes(read, "little") >> self.shift & ((1 << self.bits) - 1)
        return bits.to_bytes(-(-self.bits // 8), "little")


def native_pixels(pixels: ImagePixels) -> ImagePixels:
    """Return the pixel attributes with the layout that matches the stored length.

    Raises FrameNotFound if no layout matches.
    """
    layouts = list(_layouts(pixels))
    for each in layouts:
        if _has_length(each, each.number_of_frames):
            return each
    for each in layouts:  # Number of Frames is wrong, the frames are whole
        if _has_length(each, pixels.bulk.length * _BYTE // each.stride):
            return each
    number = pixels.number_of_frames
    expected = -(-pixels.stride * number // _BYTE)
    excess = pixels.bulk.length - expected
    if excess >= 0 and (number == 1 or excess < number):
        return pixels
    raise FrameNotFound(
        f"The pixel data has {pixels.bulk.length} bytes, and Number of Frames, Rows, Columns, "
        f"Samples per Pixel and Bits Allocated make {expected}: its frames can't be separated. "
        "Retrieve the instance or its bulk data as a whole."
    )


def _has_length(pixels: ImagePixels, number: int) -> bool:
    """Return whether this number of frames has the stored length, with or without a pad byte."""
    if number < 1:
        return False
    last = pixels.native_bits + (number - 1) * pixels.stride
    whole = {-(-bits // _BYTE) for bits in (last, last + pixels.padding_bits)}
    return any(pixels.bulk.length in (each, each + each % 2) for each in whole)


def _layouts(pixels: ImagePixels) -> Iterator[ImagePixels]:
    """Yield the ways in which frames of this size are written, the declared one first."""
    yield pixels
    if pixels.samples_per_pixel == 3 and pixels.photometric_interpretation.startswith("YBR"):
        for colour in ("YBR_FULL", "YBR_FULL_422"):
            yield replace(pixels, photometric_interpretation=colour)
    bits = pixels.bits_allocated
    if bits % _BYTE:
        yield replace(pixels, bits_allocated=next(n for n in (8, 16, 32, 64, bits) if n >= bits))
    if pixels.native_bits % (2 * _BYTE):  # each frame padded as if it stood alone
        yield replace(pixels, padding_bits=-pixels.native_bits % _BYTE)
        yield replace(pixels, padding_bits=-pixels.native_bits % (2 * _BYTE))


def native_frame(pixels: ImagePixels, number: int) -> NativeFrame:
    """Return the location of uncompressed frame `number`, counted from 1; raises FrameNotFound."""
    pixels.check_number(number)
    first_bit = (number - 1) * pixels.stride
    begin, shift = divmod(first_bit, _BYTE)
    end = -(-(first_bit + pixels.native_bits) // _BYTE)
    if end > pixels.bulk.length:
        raise FrameNotFound(f"The pixel data ends before frame {number}.")
    return NativeFrame(pixels.bulk.offset + begin, end - begin, shift, pixels.native_bits)

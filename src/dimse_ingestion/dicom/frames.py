"""Where a frame's bytes stand in the pixel data of an instance, told by its elements alone.

PS3.5 section 8 (native, also bit-packed) and annex A.4 (encapsulated, one fragment a frame or
several), PS3.3 section C.7.6.3. It reads and decodes nothing: it says what to read, and puts
together what was read.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from dimse_ingestion.dicom.elements import BulkReference, Element, by_tag

PIXEL_DATA = 0x7FE00010
PIXEL_DATA_TAGS = (PIXEL_DATA, 0x7FE00008, 0x7FE00009)
"""Pixel Data, Float Pixel Data, Double Float Pixel Data: an instance has one of them."""

_ITEM_HEADER = 8
_SAMPLES_PER_PIXEL, _PHOTOMETRIC_INTERPRETATION = 0x00280002, 0x00280004
_NUMBER_OF_FRAMES, _ROWS, _COLUMNS = 0x00280008, 0x00280010, 0x00280011
_BITS_ALLOCATED = 0x00280100
_END_OF_IMAGE = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000 alike
END_LENGTH = 10
"""Bytes at a fragment's end in which the marker that ends an image may stand."""


class NoFrame(ValueError):
    """There is no such frame, or it can't be told from the others; the sentence says which."""


@dataclass(frozen=True, slots=True)
class ImagePixels:
    """What the Image Pixel module says of every frame; `bulk` is the whole of the pixel data."""

    vr: str
    bulk: BulkReference
    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    photometric_interpretation: str
    number_of_frames: int

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        return self.rows * self.columns

    @property
    def native_bits(self) -> int:
        """Bits of a frame that is not compressed."""
        bits = self.pixels * self.samples_per_pixel * self.bits_allocated
        halved = self.photometric_interpretation == "YBR_FULL_422"
        return bits // 3 * 2 if halved else bits

    @property
    def word_vr(self) -> str:
        """The VR whose words are those of the pixels, which big endian has the other way round."""
        return {16: "OW", 32: "OL", 64: "OV"}.get(self.bits_allocated, self.vr)

    def check_number(self, number: int) -> None:
        """Raise NoFrame unless there is a frame of this number, counted from 1."""
        if not 1 <= number <= self.number_of_frames:
            frames = f"{self.number_of_frames} frame{'s' * (self.number_of_frames > 1)}"
            raise NoFrame(f"There is no frame {number}: the instance has {frames}.")


def image_pixels(elements: Iterable[Element]) -> ImagePixels:
    """What is known of an instance's pixels; raises NoFrame when it has none."""
    found = by_tag(elements)
    data = next((found[tag] for tag in PIXEL_DATA_TAGS if tag in found), None)
    if data is None or data.bulk is None:
        raise NoFrame("The instance has no pixel data: it is not an image.")
    try:
        pixels = ImagePixels(
            vr=data.vr,
            bulk=data.bulk,
            rows=_number(found, _ROWS),
            columns=_number(found, _COLUMNS),
            samples_per_pixel=_number(found, _SAMPLES_PER_PIXEL, 1),
            bits_allocated=_number(found, _BITS_ALLOCATED),
            photometric_interpretation=_text(found, _PHOTOMETRIC_INTERPRETATION),
            number_of_frames=_number(found, _NUMBER_OF_FRAMES, 1) or 1,
        )
    except ValueError as wrong:
        raise NoFrame(f"The instance's image attributes are damaged: {wrong}.") from None
    if not pixels.native_bits:
        raise NoFrame("The instance's image has no rows, columns or bits.")
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
        """The frame in what was read there; bits are moved to begin with a byte (PS3.5 8.1.1).

        Raises NoFrame when the pixel data ends before the frame does.
        """
        if len(read) < self.length:
            raise NoFrame("The pixel data is shorter than its frames.")
        if not self.shift and not self.bits % 8:
            return read
        bits = int.from_bytes(read, "little") >> self.shift & ((1 << self.bits) - 1)
        return bits.to_bytes(-(-self.bits // 8), "little")


def native_frame(pixels: ImagePixels, number: int) -> NativeFrame:
    """Where frame `number`, counted from 1, stands uncompressed; raises NoFrame."""
    pixels.check_number(number)
    first_bit = (number - 1) * pixels.native_bits
    begin, shift = divmod(first_bit, 8)
    end = -(-(first_bit + pixels.native_bits) // 8)
    if end > pixels.bulk.length:
        raise NoFrame(f"The pixel data ends before frame {number}.")
    return NativeFrame(pixels.bulk.offset + begin, end - begin, shift, pixels.native_bits)


@dataclass(frozen=True, slots=True)
class EncapsulatedFrame:
    """A frame as `length` bytes at `offset` of the data set, with item headers between fragments.

    `fragments` are the lengths of the fragments in bytes.
    """

    offset: int
    length: int
    fragments: tuple[int, ...]

    def frame(self, read: bytes) -> bytes:
        """The frame in what was read there; raises NoFrame when that is too short."""
        if len(read) < self.length:
            raise NoFrame("The pixel data is shorter than its fragments say.")
        if len(self.fragments) == 1:
            return read
        begins = accumulate((each + _ITEM_HEADER for each in self.fragments), initial=0)
        pairs = zip(begins, self.fragments, strict=False)
        return b"".join(read[begin : begin + length] for begin, length in pairs)


class FragmentIndex:
    """The fragments of encapsulated pixel data; `lengths` begins with the Basic Offset Table's."""

    def __init__(self, pixels: ImagePixels, lengths: Sequence[int]) -> None:
        if len(lengths) <= 1:
            raise NoFrame("The pixel data holds no fragment.")
        self._pixels = pixels
        self._lengths = tuple(lengths[1:])
        self.table_offset = pixels.bulk.offset + _ITEM_HEADER
        """Where the Basic Offset Table stands in the data set."""
        self.table_length = lengths[0]
        steps = (length + _ITEM_HEADER for length in self._lengths)
        self._items = tuple(accumulate(steps, initial=0))

    @property
    def is_plain(self) -> bool:
        """Whether frames and fragments need nothing else to be told apart."""
        return self._pixels.number_of_frames in (1, len(self._lengths))

    def plain_starts(self) -> tuple[int, ...]:
        """The first fragment of each frame where that is plain."""
        return tuple(range(len(self._lengths))) if self._pixels.number_of_frames > 1 else (0,)

    def starts_by_table(self, table: bytes) -> tuple[int, ...]:
        """The first fragment of each frame by a Basic Offset Table; raises NoFrame."""
        offsets = [int.from_bytes(table[i : i + 4], "little") for i in range(0, len(table), 4)]
        starts = tuple(bisect_left(self._items, offset) for offset in offsets)
        if starts[:1] != (0,) or any(
            self._items[s] != o for s, o in zip(starts, offsets, strict=True)
        ):
            raise NoFrame("The Basic Offset Table does not fit the fragments.")
        return self._checked(starts)

    def starts_by_ends(self, ends: Iterable[bytes]) -> tuple[int, ...]:
        """The first fragment of each frame by the last bytes of every fragment; raises NoFrame."""
        closing = [i for i, end in enumerate(ends, 1) if _END_OF_IMAGE in end]
        return self._checked((0, *(i for i in closing if i < len(self._lengths))))

    def ends(self) -> list[tuple[int, int]]:
        """Offset and length of every fragment's last bytes."""
        begin = self.table_offset + self.table_length
        pairs = zip(self._items, self._lengths, strict=False)
        whole = ((begin + item + _ITEM_HEADER, length) for item, length in pairs)
        return [
            (offset + max(0, length - END_LENGTH), min(length, END_LENGTH))
            for offset, length in whole
        ]

    def frame(self, starts: Sequence[int], number: int) -> EncapsulatedFrame:
        """Where frame `number`, counted from 1, stands; raises NoFrame."""
        self._pixels.check_number(number)
        begin = starts[number - 1]
        end = starts[number] if number < len(starts) else len(self._lengths)
        first = self._items[begin] + _ITEM_HEADER
        offset = self.table_offset + self.table_length + first
        return EncapsulatedFrame(offset, self._items[end] - first, self._lengths[begin:end])

    def _checked(self, starts: tuple[int, ...]) -> tuple[int, ...]:
        if len(starts) < self._pixels.number_of_frames:
            raise NoFrame(
                f"The pixel data has {len(self._lengths)} fragments for "
                f"{self._pixels.number_of_frames} frames and nothing that tells them apart: "
                "retrieve the instance or its bulk data as a whole."
            )
        return starts

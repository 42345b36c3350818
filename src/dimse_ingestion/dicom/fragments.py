"""The index of fragments and frames in encapsulated pixel data (PS3.5 annex A.4).

With one fragment for each frame nothing else is needed. Otherwise an offset table gives the starts
of frames; image markers verify it, or replace it if it is missing or wrong: a fragment boundary is
also a frame boundary if an image ends before it and another begins after it. This module does no
I/O: it returns the ranges to read, and assembles frames from the bytes read.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from dimse_ingestion.dicom.code_streams import (
    BEGIN_LENGTH,
    END_LENGTH,
    RLE_LOSSLESS,
    STANDARD_SYNTAXES,
    begins_image,
    ends_image,
    has_markers,
)
from dimse_ingestion.dicom.frames import FrameNotFound, ImagePixels

ITEM_HEADER = 8
"""Bytes of tag and length before each fragment."""

_SHORT_OFFSET, _LONG_OFFSET = 4, 8
ByteRange = tuple[int, int]
"""Offset in the data set and length, in bytes."""


@dataclass(frozen=True, slots=True)
class EncapsulatedFrame:
    """A frame as `length` bytes at `offset` of the data set, with item headers between fragments.

    `fragments` are the lengths of the fragments in bytes.
    """

    offset: int
    length: int
    fragments: tuple[int, ...]

    def frame(self, read: bytes) -> bytes:
        """Return the frame from the bytes read at its range; raises FrameNotFound if too short."""
        if len(read) < self.length:
            raise FrameNotFound("The pixel data is shorter than its fragments say.")
        if len(self.fragments) == 1:
            return read
        begins = accumulate((each + ITEM_HEADER for each in self.fragments), initial=0)
        pairs = zip(begins, self.fragments, strict=False)
        return b"".join(read[begin : begin + length] for begin, length in pairs)

    def seams(self) -> Iterable[int]:
        """Return the places in the frame at which a fragment ends and the next begins."""
        return accumulate(self.fragments[:-1])


@dataclass(frozen=True, slots=True)
class Boundary:
    """The boundary of two fragments: an image may end and another begin there."""

    ends_image: bool
    begins_image: bool

    @property
    def is_between_frames(self) -> bool:
        """Return whether one image ends here and another begins."""
        return self.ends_image and self.begins_image

    @property
    def is_within_frame(self) -> bool:
        """Return whether no image ends or begins here."""
        return not self.ends_image and not self.begins_image


class FragmentIndex:
    """The fragments of encapsulated pixel data; `lengths` starts with the Basic Offset Table's.

    Raises FrameNotFound if there are fewer fragments than frames, which can't be separated then.
    """

    def __init__(
        self, pixels: ImagePixels, lengths: Sequence[int], transfer_syntax_uid: str
    ) -> None:
        if len(lengths) <= 1:
            raise FrameNotFound("The pixel data holds no fragment.")
        self._pixels = pixels
        self._syntax = transfer_syntax_uid
        self._lengths = tuple(lengths[1:])
        self.table_offset = pixels.bulk.offset + ITEM_HEADER
        """The Basic Offset Table's offset in the data set."""
        self.table_length = lengths[0]
        steps = (length + ITEM_HEADER for length in self._lengths)
        self._items = tuple(accumulate(steps, initial=0))
        if pixels.number_of_frames > len(self._lengths):
            raise self.no_frames()

    @property
    def number(self) -> int:
        """The number of fragments."""
        return len(self._lengths)

    @property
    def is_plain(self) -> bool:
        """Return whether each fragment is a frame."""
        return self._pixels.number_of_frames == self.number

    @property
    def needs_markers(self) -> bool:
        """Return whether only markers show frames: a private syntax has a format of its own."""
        is_private = not self._syntax.startswith(STANDARD_SYNTAXES)
        return is_private and self._pixels.number_of_frames > 1

    @property
    def has_table(self) -> bool:
        """Return whether the Basic Offset Table has an offset for each frame."""
        return self.table_length == _SHORT_OFFSET * self._pixels.number_of_frames

    @property
    def has_markers(self) -> bool:
        """Return whether images of this transfer syntax have recognizable markers or headers."""
        return has_markers(self._syntax) or self._syntax == RLE_LOSSLESS

    def first_bytes(self) -> ByteRange:
        """Return the range of the first fragment's first bytes."""
        offset = self._offset(0)
        return offset, min(self._lengths[0], BEGIN_LENGTH)

    def begins_image(self, begin: bytes) -> bool:
        """Return whether a fragment's first bytes begin an image."""
        return begins_image(begin, self._syntax)

    def boundary(self, number: int) -> ByteRange:
        """Return the range around the boundary after fragment `number`, counted from 0."""
        before = min(self._lengths[number], END_LENGTH)
        after = min(self._lengths[number + 1], BEGIN_LENGTH)
        return self._offset(number + 1) - ITEM_HEADER - before, before + ITEM_HEADER + after

    def boundaries(self, reads: Iterable[bytes], first: int = 0) -> list[Boundary]:
        """Return the boundaries for bytes read at consecutive boundaries, starting at `first`."""
        found, end = [], b""
        for number, read in enumerate(reads, first):
            before = min(self._lengths[number], END_LENGTH)
            end = (end + read[:before])[-END_LENGTH:]  # a marker may be split between fragments
            begins = self.begins_image(read[before + ITEM_HEADER :])
            ends = begins if self._syntax == RLE_LOSSLESS else ends_image(end)
            found.append(Boundary(ends, begins))
            if begins or ends:
                end = b""
        return found

    def plain_starts(self) -> tuple[int, ...]:
        """Return the first fragment of each frame if each fragment is a frame."""
        return tuple(range(self.number))

    def starts_by_table(self, table: bytes) -> tuple[int, ...] | None:
        """Return the first fragment of each frame by a basic or extended offset table.

        Returns None unless each offset is the start of a fragment, in ascending order.
        """
        frames = self._pixels.number_of_frames
        size = _LONG_OFFSET if len(table) == _LONG_OFFSET * frames else _SHORT_OFFSET
        if len(table) != size * frames:
            return None
        offsets = [
            int.from_bytes(table[i : i + size], "little") for i in range(0, len(table), size)
        ]
        starts = tuple(bisect_left(self._items, offset) for offset in offsets)
        if starts[0] != 0 or any(one >= other for one, other in pairwise((*starts, self.number))):
            return None
        fit = (self._items[s] == o for s, o in zip(starts, offsets, strict=True))
        return starts if all(fit) else None

    def starts_by_markers(
        self, boundaries: Sequence[Boundary], *, is_image: bool
    ) -> tuple[int, ...]:
        """Return the first fragment of each frame by image markers; raises FrameNotFound.

        `is_image` is whether the first fragment begins an image: if not, only ends are used.
        """
        frames = self._pixels.number_of_frames
        strict = _starts(each.is_between_frames for each in boundaries)
        begins = _starts(each.begins_image for each in boundaries)
        ends = _starts(each.ends_image for each in boundaries)
        if is_image and len(strict) >= frames:
            return strict
        for starts in (begins, ends) if is_image else (ends,):
            if len(starts) == frames:
                return starts
        raise self.no_frames()

    def contradicts(self, boundary: Boundary, number: int, starts: Sequence[int]) -> bool:
        """Return whether the boundary after fragment `number` contradicts the frame `starts`."""
        place = bisect_left(starts, number + 1)
        is_start = place < len(starts) and starts[place] == number + 1
        return boundary.is_within_frame if is_start else boundary.is_between_frames

    def around(self, starts: Sequence[int], number: int) -> range:
        """Return the boundaries before, within and after frame `number`, counted from 1."""
        begin, end = self._span(starts, number)
        return range(max(0, begin - 1), min(end, self.number - 1))

    def frame(self, starts: Sequence[int], number: int) -> EncapsulatedFrame:
        """Return the location of frame `number`, counted from 1; raises FrameNotFound."""
        self._pixels.check_number(number)
        begin, end = self._span(starts, number)
        length = self._items[end] - self._items[begin] - ITEM_HEADER
        return EncapsulatedFrame(self._offset(begin), length, self._lengths[begin:end])

    def whole(self) -> list[ByteRange]:
        """Return the range of every fragment."""
        return [(self._offset(n), length) for n, length in enumerate(self._lengths)]

    def no_frames(self) -> FrameNotFound:
        """Return the error for fragments that can't be assigned to frames."""
        return FrameNotFound(
            f"The pixel data has {self.number} fragments for "
            f"{self._pixels.number_of_frames} frames and nothing that separates them: "
            "retrieve the instance or its bulk data as a whole."
        )

    def _span(self, starts: Sequence[int], number: int) -> tuple[int, int]:
        return starts[number - 1], starts[number] if number < len(starts) else self.number

    def _offset(self, fragment: int) -> int:
        first = self.table_offset + self.table_length + ITEM_HEADER
        return first + self._items[fragment]


def _starts(boundaries: Iterable[bool]) -> tuple[int, ...]:
    return (0, *(number for number, is_one in enumerate(boundaries, 1) if is_one))

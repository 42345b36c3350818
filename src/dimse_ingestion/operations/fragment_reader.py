"""Frame boundaries of encapsulated pixel data (PS3.5 A.4), read from an object once.

`dicom.fragments` decides which fragment begins which frame. This module reads offset tables and the
bytes around fragments, a few at once, and caches the result for the next frame.
"""

import asyncio
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import Element, by_tag
from dimse_ingestion.dicom.fragments import (
    ITEM_HEADER,
    Boundary,
    ByteRange,
    EncapsulatedFrame,
    FragmentIndex,
)
from dimse_ingestion.dicom.frames import FrameNotFound, ImagePixels
from dimse_ingestion.operations.retrieve import CONCURRENT_READS, ObjectBytes
from dimse_ingestion.queries.contract import Located

_EXTENDED_OFFSET_TABLE = 0x7FE00001
_ITEM = b"\xfe\xff\x00\xe0"
_SCAN_READ_SIZE = 64 * 1024
_MAX_FRAGMENTS = 1_000_000
_CACHED_INSTANCES = 64
_MOST_VERIFIED = 128
"""Boundaries that are all read to verify an offset table; of more, those around a frame."""


@dataclass(slots=True)
class _FrameStarts:
    """The first fragment of each frame; when `is_unverified`, frames are compared with markers.

    `is_plain_checked` once every boundary of an instance with a fragment for each frame was read.
    """

    index: FragmentIndex
    starts: Sequence[int]
    is_unverified: bool = False
    is_plain_checked: bool = False
    is_refused: bool = False


class FragmentReader:
    """Finds frames among the fragments of the instances of one storage space."""

    def __init__(self, objects: ObjectBytes) -> None:
        self._objects = objects
        self._cache: OrderedDict[str, _FrameStarts] = OrderedDict()

    async def index(self, located: Located, pixels: ImagePixels) -> FragmentIndex:
        """Return the fragments of an instance; raises FrameNotFound."""
        lengths = pixels.bulk.fragments or await self._read_item_lengths(located, pixels)
        return FragmentIndex(pixels, lengths, located.transfer_syntax_uid)

    async def frames(
        self, located: Located, pixels: ImagePixels, numbers: Iterable[int]
    ) -> list[EncapsulatedFrame]:
        """Return the locations of frames by their numbers from 1; raises FrameNotFound."""
        cached = await self._frame_starts(located, pixels)
        if cached.is_refused:
            raise cached.index.no_frames()
        located_frames = []
        for number in numbers:
            pixels.check_number(number)
            if cached.is_unverified and not await self._is_consistent(located, cached, number):
                cached = self._remember(
                    located, await self._starts_by_markers(located, cached.index)
                )
            located_frames.append(cached.index.frame(cached.starts, number))
        return located_frames

    async def check_plain(self, located: Located, pixels: ImagePixels) -> None:
        """Raise FrameNotFound if fragments are as many as frames, but an image spans fragments."""
        cached = await self._frame_starts(located, pixels)
        if not cached.index.is_plain:
            return
        if not cached.is_plain_checked:
            cached.is_refused = await self._has_image_in_fragments(located, cached.index)
            cached.is_plain_checked = True
        if cached.is_refused:
            raise cached.index.no_frames()

    async def _has_image_in_fragments(self, located: Located, index: FragmentIndex) -> bool:
        if not await self._begins_image(located, index):
            return False
        boundaries = await self._boundaries(located, index, range(index.number - 1))
        return any(each.is_within_frame for each in boundaries)

    async def data_set(self, located: Located, offset: int, length: int) -> bytes:
        """Return `length` bytes of the data set from `offset`."""
        if not length:
            return b""  # buckets refuse a range of no bytes
        if located.transfer_syntax_uid != uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            return await self._objects.read(located, located.header_size + offset, length)
        pieces = self._objects.data_set_range(located, offset, length)
        return b"".join([piece async for piece in pieces])

    async def _frame_starts(self, located: Located, pixels: ImagePixels) -> _FrameStarts:
        if (cached := self._cache.get(located.object_name)) is not None:
            self._cache.move_to_end(located.object_name)
            return cached
        index = await self.index(located, pixels)
        return self._remember(located, await self._find_starts(located, pixels, index))

    def _remember(self, located: Located, cached: _FrameStarts) -> _FrameStarts:
        self._cache[located.object_name] = cached
        while len(self._cache) > _CACHED_INSTANCES:
            self._cache.popitem(last=False)
        return cached

    async def _find_starts(
        self, located: Located, pixels: ImagePixels, index: FragmentIndex
    ) -> _FrameStarts:
        if index.needs_markers and not await self._begins_image(located, index):
            raise index.no_frames()
        if index.is_plain:
            return _FrameStarts(index, index.plain_starts())
        if pixels.number_of_frames == 1:
            return _FrameStarts(index, (0,), is_unverified=index.has_markers)
        if (starts := await self._starts_by_table(located, index)) is not None:
            return _FrameStarts(
                index, starts, is_unverified=await self._begins_image(located, index)
            )
        return await self._starts_by_markers(located, index)

    async def _starts_by_table(
        self, located: Located, index: FragmentIndex
    ) -> Sequence[int] | None:
        extended = by_tag(located.elements).get(_EXTENDED_OFFSET_TABLE)
        if extended is not None:
            starts = index.starts_by_table(await self._value(located, extended, index.number))
            if starts is not None:
                return starts
        if not index.has_table:
            return None
        table = await self.data_set(located, index.table_offset, index.table_length)
        return index.starts_by_table(table)

    async def _value(self, located: Located, element_: Element, maximum: int) -> bytes:
        """Return a table's value; empty where it has more than one offset for each fragment."""
        if element_.bulk is None:
            return b64decode(element_.inline_binary or "")
        if element_.bulk.length > 8 * maximum:
            return b""
        return b"".join([piece async for piece in self._objects.value(located, element_)])

    async def _starts_by_markers(self, located: Located, index: FragmentIndex) -> _FrameStarts:
        if not index.has_markers:
            raise index.no_frames()
        is_image = await self._begins_image(located, index)
        boundaries = await self._boundaries(located, index, range(index.number - 1))
        return _FrameStarts(index, index.starts_by_markers(boundaries, is_image=is_image))

    async def _begins_image(self, located: Located, index: FragmentIndex) -> bool:
        return index.begins_image(await self.data_set(located, *index.first_bytes()))

    async def _is_consistent(self, located: Located, cached: _FrameStarts, number: int) -> bool:
        """Return whether the markers at boundaries are consistent with the frames.

        If the fragments are many, only the boundaries around the frame are read.
        """
        index = cached.index
        around = index.around(cached.starts, number)
        if len(cached.starts) == 1:
            around = around[:1]  # a second image would show at the first boundary
        elif index.number - 1 <= _MOST_VERIFIED:
            around = range(index.number - 1)
            cached.is_unverified = False
        boundaries = await self._boundaries(located, index, around)
        pairs = zip(boundaries, around, strict=True)
        return not any(index.contradicts(each, n, cached.starts) for each, n in pairs)

    async def _boundaries(
        self, located: Located, index: FragmentIndex, numbers: Sequence[int]
    ) -> list[Boundary]:
        """Return the bytes at neighbouring fragment boundaries, a few read at once."""
        places: list[ByteRange] = [index.boundary(number) for number in numbers]
        reads: list[bytes] = []
        for start in range(0, len(places), CONCURRENT_READS):
            some = places[start : start + CONCURRENT_READS]
            reads += await asyncio.gather(*(self.data_set(located, *place) for place in some))
        return index.boundaries(reads, numbers[0]) if numbers else []

    async def _read_item_lengths(self, located: Located, pixels: ImagePixels) -> list[int]:
        """Return the items' lengths, read from one item header to the next."""
        place, end = pixels.bulk.offset, pixels.bulk.offset + pixels.bulk.length
        lengths: list[int] = []
        read, read_at = b"", place
        while place < end:
            if not read_at <= place <= read_at + len(read) - ITEM_HEADER:
                read_at = place
                read = await self.data_set(located, place, min(_SCAN_READ_SIZE, end - place))
            header = read[place - read_at : place - read_at + ITEM_HEADER]
            if header[:4] != _ITEM or len(lengths) > _MAX_FRAGMENTS:
                raise FrameNotFound(
                    "The pixel data is not a sequence of fragments: its frames cannot be located."
                )
            lengths.append(int.from_bytes(header[4:], "little"))
            place += ITEM_HEADER + lengths[-1]
        return lengths

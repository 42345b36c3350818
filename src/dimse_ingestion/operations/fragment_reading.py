"""What tells the frames of encapsulated pixel data apart, read out of an object once.

Which fragment begins which frame is `dicom.fragments`' matter; here its tables and the bytes around
fragments are read, a few at once, and what was found is remembered for the next frame.
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
    EncapsulatedFrame,
    FragmentIndex,
    Place,
)
from dimse_ingestion.dicom.frames import ImagePixels, NoFrame
from dimse_ingestion.operations.retrieve import AT_ONCE, Retrieving
from dimse_ingestion.queries.contract import Located

_EXTENDED_OFFSET_TABLE = 0x7FE00001
_ITEM = b"\xfe\xff\x00\xe0"
_WALKED_AT_ONCE = 64 * 1024
_MOST_FRAGMENTS = 1_000_000
_REMEMBERED = 64


@dataclass(slots=True)
class _Frames:
    """What tells the frames of one instance apart; `doubted` are those to hold against markers."""

    index: FragmentIndex
    starts: Sequence[int]
    doubts: bool = False


class FragmentReading:
    """Finds frames among the fragments of the instances of one storage space."""

    def __init__(self, retrieving: Retrieving) -> None:
        self._retrieving = retrieving
        self._known: OrderedDict[str, _Frames] = OrderedDict()

    async def index(self, located: Located, pixels: ImagePixels) -> FragmentIndex:
        """The fragments of an instance; raises NoFrame."""
        lengths = pixels.bulk.fragments or await self._walked(located, pixels)
        return FragmentIndex(pixels, lengths, located.transfer_syntax_uid)

    async def frames(
        self, located: Located, pixels: ImagePixels, numbers: Iterable[int]
    ) -> list[EncapsulatedFrame]:
        """Where frames stand, by their numbers from 1; raises NoFrame."""
        known = await self._frames(located, pixels)
        found = []
        for number in numbers:
            pixels.check_number(number)
            if known.doubts and not await self._fits(located, known, number):
                known = self._remember(located, await self._by_markers(located, known.index))
            found.append(known.index.frame(known.starts, number))
        return found

    async def check_plain(self, located: Located, pixels: ImagePixels) -> None:
        """Raise NoFrame where fragments are as many as frames, and still are not the frames."""
        known = await self._frames(located, pixels)
        if not known.index.is_plain or not await self._begins_image(located, known.index):
            return
        boundaries = await self._boundaries(located, known.index, range(known.index.number - 1))
        if any(each.is_within_frame for each in boundaries):
            raise known.index.no_frames()

    async def data_set(self, located: Located, offset: int, length: int) -> bytes:
        """So many bytes of the data set from `offset`."""
        if not length:
            return b""  # a range of no bytes is none to a bucket
        if located.transfer_syntax_uid != uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            return await self._retrieving.read(located, located.header_size + offset, length)
        pieces = self._retrieving.data_set_range(located, offset, length)
        return b"".join([piece async for piece in pieces])

    async def _frames(self, located: Located, pixels: ImagePixels) -> _Frames:
        if (known := self._known.get(located.object_name)) is not None:
            self._known.move_to_end(located.object_name)
            return known
        index = await self.index(located, pixels)
        return self._remember(located, await self._found(located, pixels, index))

    def _remember(self, located: Located, known: _Frames) -> _Frames:
        self._known[located.object_name] = known
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known

    async def _found(self, located: Located, pixels: ImagePixels, index: FragmentIndex) -> _Frames:
        if index.is_plain:
            return _Frames(index, index.plain_starts())
        if pixels.number_of_frames == 1:
            return _Frames(index, (0,), doubts=index.has_markers)
        if (starts := await self._by_table(located, index)) is not None:
            return _Frames(index, starts, doubts=await self._begins_image(located, index))
        return await self._by_markers(located, index)

    async def _by_table(self, located: Located, index: FragmentIndex) -> Sequence[int] | None:
        extended = by_tag(located.elements).get(_EXTENDED_OFFSET_TABLE)
        if extended is not None:
            starts = index.starts_by_table(await self._value(located, extended, index.number))
            if starts is not None:
                return starts
        if not index.has_table:
            return None
        table = await self.data_set(located, index.table_offset, index.table_length)
        return index.starts_by_table(table)

    async def _value(self, located: Located, of: Element, most: int) -> bytes:
        """A table's value; nothing where it has more than an offset for each fragment."""
        if of.bulk is None:
            return b64decode(of.inline_binary or "")
        if of.bulk.length > 8 * most:
            return b""
        return b"".join([piece async for piece in self._retrieving.value(located, of)])

    async def _by_markers(self, located: Located, index: FragmentIndex) -> _Frames:
        if not index.has_markers:
            raise index.no_frames()
        is_image = await self._begins_image(located, index)
        boundaries = await self._boundaries(located, index, range(index.number - 1))
        return _Frames(index, index.starts_by_markers(boundaries, is_image=is_image))

    async def _begins_image(self, located: Located, index: FragmentIndex) -> bool:
        return index.begins_image(await self.data_set(located, *index.begin()))

    async def _fits(self, located: Located, known: _Frames, number: int) -> bool:
        """Whether the bytes around a frame's fragments let them be a frame."""
        around = known.index.around(known.starts, number)
        if len(known.starts) == 1:  # all of it is one frame: more would show at once
            around = around[:1]
        found = await self._boundaries(located, known.index, around)
        pairs = zip(found, around, strict=True)
        return not any(known.index.contradicts(each, n, known.starts) for each, n in pairs)

    async def _boundaries(
        self, located: Located, index: FragmentIndex, numbers: Sequence[int]
    ) -> list[Boundary]:
        """What stands at some neighbouring boundaries, a few read at once."""
        places: list[Place] = [index.boundary(number) for number in numbers]
        reads: list[bytes] = []
        for start in range(0, len(places), AT_ONCE):
            some = places[start : start + AT_ONCE]
            reads += await asyncio.gather(*(self.data_set(located, *place) for place in some))
        return index.boundaries(reads, numbers[0]) if numbers else []

    async def _walked(self, located: Located, pixels: ImagePixels) -> list[int]:
        """The items' lengths, from one item's header to the next."""
        place, end = pixels.bulk.offset, pixels.bulk.offset + pixels.bulk.length
        lengths: list[int] = []
        read, read_at = b"", place
        while place < end:
            if not read_at <= place <= read_at + len(read) - ITEM_HEADER:
                read_at = place
                read = await self.data_set(located, place, min(_WALKED_AT_ONCE, end - place))
            header = read[place - read_at : place - read_at + ITEM_HEADER]
            if header[:4] != _ITEM or len(lengths) > _MOST_FRAGMENTS:
                raise NoFrame("The pixel data has no fragments that frames could be told by.")
            lengths.append(int.from_bytes(header[4:], "little"))
            place += ITEM_HEADER + lengths[-1]
        return lengths

"""Single frames out of an object: one range read each, for a frame of 1 GiB's thousandth.

Where a frame stands is `dicom.frames`' matter. What is not in the catalogue (a Basic Offset Table,
the fragments of an object that has too many) is read once and remembered for the next frame.
"""

import asyncio
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from dimse_ingestion.dicom import frames, uids
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.frames import (
    EncapsulatedFrame,
    FragmentIndex,
    ImagePixels,
    NativeFrame,
    NoFrame,
)
from dimse_ingestion.dicom.presenting import presentation_elements
from dimse_ingestion.dicom.value_representations import little_endian
from dimse_ingestion.operations.retrieving import AT_ONCE, PIECE, Retrieving
from dimse_ingestion.queries.contract import Located

_ITEM = b"\xfe\xff\x00\xe0"
_ITEM_HEADER = 8
_WALKED_AT_ONCE = 64 * 1024
_REMEMBERED = 64
_READ_WHOLE = 4 * PIECE
_BYTE = 8
_NATIVE = uids.IDENTIFIER_SYNTAXES


@dataclass(frozen=True, slots=True)
class FramePlace:
    """Where a frame stands."""

    located: Located
    pixels: ImagePixels
    number: int
    place: NativeFrame | EncapsulatedFrame

    @property
    def length(self) -> int:
        """Bytes of the frame as it is given."""
        if isinstance(self.place, NativeFrame):
            return -(-self.place.bits // 8)
        return sum(self.place.fragments)


@dataclass(frozen=True, slots=True)
class _Frames:
    """What tells the frames of one instance apart."""

    index: FragmentIndex
    starts: Sequence[int]


class FrameReading:
    """Reads frames of the instances of one storage space."""

    def __init__(self, retrieving: Retrieving) -> None:
        self._retrieving = retrieving
        self._known: OrderedDict[str, _Frames] = OrderedDict()

    async def places(self, located: Located, numbers: Sequence[int]) -> list[FramePlace]:
        """Where frames stand, by their numbers from 1.

        Raises NoFrame when there is no such frame, ObjectMissing, and as the bucket does.
        """
        pixels = frames.image_pixels(located.elements)
        for number in numbers:
            pixels.check_number(number)
        found: list[NativeFrame | EncapsulatedFrame]
        if located.transfer_syntax_uid in _NATIVE:
            found = [frames.native_frame(pixels, number) for number in numbers]
        else:
            known = await self._frames(located, pixels)
            found = [known.index.frame(known.starts, number) for number in numbers]
        pairs = zip(numbers, found, strict=True)
        return [FramePlace(located, pixels, number, place) for number, place in pairs]

    async def chunks(self, place: FramePlace) -> AsyncGenerator[bytes, None]:
        """A frame's bytes: one read where it is small, pieces else."""
        if place.length <= _READ_WHOLE or _must_be_whole(place):
            yield await self.whole(place)
            return
        offset = place.place.offset
        fragments = getattr(place.place, "fragments", (place.place.length,))
        for length in fragments:
            pieces = self._retrieving.data_set_range(place.located, offset, length)
            async with aclosing(pieces):
                async for piece in pieces:
                    yield _swapped(place, piece)
            offset += length + _ITEM_HEADER

    async def whole(self, place: FramePlace) -> bytes:
        """A frame's bytes at once."""
        where = place.place
        if not _has_bytes_in_words(place):
            read = await self._data_set(place.located, where.offset, where.length)
            return where.frame(_swapped(place, read))
        odd = (where.offset - place.pixels.bulk.offset) % 2
        words = -(-(odd + where.length) // 2) * 2
        read = await self._data_set(place.located, where.offset - odd, words)
        return where.frame(_swapped(place, read)[odd : odd + where.length])

    async def presentation(self, located: Located, number: int) -> list[Element]:
        """What a frame is shown by, long tables read out of the object; in little endian."""
        return await self._resolved(located, presentation_elements(located.elements, number))

    async def _resolved(self, located: Located, elements: Iterable[Element]) -> list[Element]:
        return [await self._resolved_one(located, each) for each in elements]

    async def _resolved_one(self, located: Located, each: Element) -> Element:
        if each.items is not None:
            items = [await self._resolved(located, item) for item in each.items]
            return Element(each.group, each.element, each.vr, items=items)
        if each.bulk is not None:
            value = b"".join([piece async for piece in self._retrieving.value(located, each)])
        elif each.inline_binary and located.transfer_syntax_uid == uids.EXPLICIT_VR_BIG_ENDIAN:
            value = little_endian(b64decode(each.inline_binary), each.vr)
        else:
            return each
        # OW, for the length of US has but 16 bits
        return Element(each.group, each.element, "OW", inline_binary=b64encode(value).decode())

    async def _data_set(self, located: Located, offset: int, length: int) -> bytes:
        if located.transfer_syntax_uid != uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            return await self._retrieving.read(located, located.header_size + offset, length)
        pieces = self._retrieving.data_set_range(located, offset, length)
        return b"".join([piece async for piece in pieces])

    async def _frames(self, located: Located, pixels: ImagePixels) -> _Frames:
        if (known := self._known.get(located.object_name)) is not None:
            self._known.move_to_end(located.object_name)
            return known
        index = await self._index(located, pixels)
        known = _Frames(index, await self._starts(located, index))
        self._known[located.object_name] = known
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known

    async def _index(self, located: Located, pixels: ImagePixels) -> FragmentIndex:
        lengths = pixels.bulk.fragments or await self._walked(located, pixels)
        return FragmentIndex(pixels, lengths)

    async def _starts(self, located: Located, index: FragmentIndex) -> Sequence[int]:
        if index.is_plain:
            return index.plain_starts()
        if index.table_length:
            table = await self._data_set(located, index.table_offset, index.table_length)
            return index.starts_by_table(table)
        return index.starts_by_ends(await self._ends(located, index))

    async def _ends(self, located: Located, index: FragmentIndex) -> list[bytes]:
        """The last bytes of every fragment, a few read at once."""
        places, ends = index.ends(), []
        for start in range(0, len(places), AT_ONCE):
            some = places[start : start + AT_ONCE]
            ends += await asyncio.gather(*(self._data_set(located, *place) for place in some))
        return ends

    async def _walked(self, located: Located, pixels: ImagePixels) -> list[int]:
        """The items' lengths, from one item's header to the next."""
        place, end = pixels.bulk.offset, pixels.bulk.offset + pixels.bulk.length
        lengths: list[int] = []
        read, read_at = b"", place
        while place < end:
            if not read_at <= place <= read_at + len(read) - _ITEM_HEADER:
                read_at = place
                read = await self._data_set(located, place, min(_WALKED_AT_ONCE, end - place))
            header = read[place - read_at : place - read_at + _ITEM_HEADER]
            if header[:4] != _ITEM:
                raise NoFrame("The pixel data has no fragments that frames could be told by.")
            lengths.append(int.from_bytes(header[4:], "little"))
            place += _ITEM_HEADER + lengths[-1]
        return lengths


def _must_be_whole(place: FramePlace) -> bool:
    packed = isinstance(place.place, NativeFrame) and (place.place.shift or place.place.bits % 8)
    return bool(packed) or _has_bytes_in_words(place)


def _has_bytes_in_words(place: FramePlace) -> bool:
    """Whether samples of a byte stand in words of big endian: a frame may begin within one."""
    big = place.located.transfer_syntax_uid == uids.EXPLICIT_VR_BIG_ENDIAN
    return big and place.pixels.vr == "OW" and place.pixels.bits_allocated <= _BYTE


def _swapped(place: FramePlace, piece: bytes) -> bytes:
    """In little endian, as frames are given (PS3.18 8.7.3.2)."""
    if place.located.transfer_syntax_uid != uids.EXPLICIT_VR_BIG_ENDIAN:
        return piece
    return little_endian(piece, place.pixels.word_vr)

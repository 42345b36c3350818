"""Composition of a data set from elements and bulk data that is stored elsewhere (PS3.5 7, A.4).

Metadata and bulk data become explicit VR little endian, or a syntax with encapsulated pixels. Long
values are yielded as references, so that none is in memory; sequences around them have undefined
lengths. The bytes behind a reference are not read here.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from dimse_ingestion.dicom.elements import BulkReference, Element
from dimse_ingestion.dicom.encoder import (
    GROUP_AND_ELEMENT,
    explicit_header,
    explicit_writer,
    response_character_set,
)
from dimse_ingestion.dicom.frames import PIXEL_DATA
from dimse_ingestion.dicom.value_representations import TEXT

Piece = bytes | BulkReference
LocateSegments = Callable[[BulkReference], Sequence[BulkReference]]
"""Return the parts of a value in order; the fragments of encapsulated pixel data."""

_UNDEFINED = 0xFFFFFFFF
_FILE_META = "0002"
_FIRST_GROUP = "0008"  # below are command sets, file meta information and directories
_LAST_GROUP = "FFFE"  # delimiters of items
_GROUP_LENGTH = "0000"
_CHARACTER_SET = ("0008", "0005")
_PIXELS = (f"{PIXEL_DATA >> 16:04X}", f"{PIXEL_DATA & 0xFFFF:04X}")
_OF_ANOTHER_ENCODING = frozenset(
    {("7FE0", "0001"), ("7FE0", "0002"), ("7FE0", "0003"), ("FFFC", "FFFC")}
)
"""Offset tables and padding: valid only for the original bytes."""


def _marker(element: int, length: int) -> bytes:
    return struct.pack("<HHI", 0xFFFE, element, length)


_ITEM, _ITEM_END, _SEQUENCE_END = (
    _marker(0xE000, _UNDEFINED),
    _marker(0xE00D, 0),
    _marker(0xE0DD, 0),
)
_NO_OFFSETS = _marker(0xE000, 0)


def compose(
    elements: Iterable[Element], segments: LocateSegments, *, encapsulated: bool = False
) -> Iterator[Piece]:
    """Yield the data set in pieces, in order; raises ValueError for a value not of its VR.

    File meta information, group lengths and offset tables are omitted. The character set, which
    items inherit, is the given one if it can encode every value, else UTF-8.
    """
    own = _clean(elements)
    named = [each.value for each in own if (each.group, each.element) == _CHARACTER_SET]
    character_set = response_character_set(own, named[0] if named else "")
    if character_set:
        put = Element(*_CHARACTER_SET, "CS", character_set)
        own = [put, *(each for each in own if (each.group, each.element) != _CHARACTER_SET)]
    writer = explicit_writer(character_set)
    return _Composer(segments, writer, encapsulated).pieces(own)


def has_omitted_elements(elements: Iterable[Element]) -> bool:
    """Return whether `compose` omits more than file meta information and group lengths."""
    return any(
        not _belongs(each) and each.group != _FILE_META and each.element != _GROUP_LENGTH
        for each in _all(elements)
    )


def _all(elements: Iterable[Element]) -> Iterator[Element]:
    for each in elements:
        yield each
        for item in each.items or ():
            yield from _all(item)


def _clean(elements: Iterable[Element], *, inner: bool = False) -> list[Element]:
    """Return the elements to write; the first one if a tag is repeated."""
    unique: dict[tuple[str, str], Element] = {}
    for each in elements:
        if _belongs(each):
            unique.setdefault((each.group, each.element), each)
    if inner:
        unique.pop(_CHARACTER_SET, None)
    return [_clean_items(each) if each.items else each for each in unique.values()]


def _belongs(each: Element) -> bool:
    return (
        _FIRST_GROUP <= each.group != _LAST_GROUP
        and each.element != _GROUP_LENGTH
        and (each.group, each.element) not in _OF_ANOTHER_ENCODING
    )


def _clean_items(each: Element) -> Element:
    items = [_clean(item, inner=True) for item in each.items or ()]
    return Element(each.group, each.element, each.vr, items=items)


@dataclass(frozen=True, slots=True)
class _Composer:
    segments: LocateSegments
    write: Callable[[Element], bytes]
    encapsulated: bool

    def pieces(self, elements: Iterable[Element], depth: int = 0) -> Iterator[Piece]:
        for each in sorted(elements, key=GROUP_AND_ELEMENT):
            if each.bulk is not None:
                yield from self._bulk(each, each.bulk, depth)
            elif each.items and _holds_bulk(each):
                yield from self._sequence(each, depth)
            else:
                yield self.write(each)

    def _bulk(self, each: Element, bulk: BulkReference, depth: int) -> Iterator[Piece]:
        is_pixel_data = (each.group, each.element) == _PIXELS
        if is_pixel_data and self.encapsulated and not depth:
            return self._fragments(each, bulk)
        return self._value(each, bulk)

    def _value(self, each: Element, bulk: BulkReference) -> Iterator[Piece]:
        parts = self.segments(bulk)
        length = sum(part.length for part in parts)
        yield explicit_header(each, length + length % 2)
        yield from parts
        if length % 2:
            yield b" " if each.vr in TEXT - {"UI"} else b"\0"

    def _fragments(self, each: Element, bulk: BulkReference) -> Iterator[Piece]:
        yield explicit_header(Element(each.group, each.element, "OB"), _UNDEFINED) + _NO_OFFSETS
        for part in self.segments(bulk):
            yield _marker(0xE000, part.length + part.length % 2)
            yield part
            yield bytes(part.length % 2)
        yield _SEQUENCE_END

    def _sequence(self, each: Element, depth: int) -> Iterator[Piece]:
        yield explicit_header(each, _UNDEFINED)
        for item in each.items or ():
            yield _ITEM
            yield from self.pieces(item, depth + 1)
            yield _ITEM_END
        yield _SEQUENCE_END


def _holds_bulk(each: Element) -> bool:
    inner = (found for item in each.items or () for found in item)
    return any(found.bulk is not None or _holds_bulk(found) for found in inner)

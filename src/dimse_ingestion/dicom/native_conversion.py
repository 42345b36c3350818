"""Re-encoding of a data set between native transfer syntaxes, as its bytes arrive (PS3.5 annex A).

Explicit VR little endian, its deflated form, explicit VR big endian and implicit VR are read;
explicit and implicit VR little endian are written. Values stay as they are, except for the byte
order of words. Sequences and items get an undefined length, because their length changes with the
headers within them; group lengths (retired) and elements of groups that no data set may have are
left out. Memory does not grow with the data set. Compressed pixels are not converted: what replaces
them is written beside (see `operations.decompression`).
"""

import zlib
from collections.abc import Generator, Iterator, Mapping
from typing import NamedTuple

from dimse_ingestion.dicom import element_headers, uids
from dimse_ingestion.dicom import value_representations as representations
from dimse_ingestion.dicom.byte_feed import ByteFeed, EndOfData, Inflater, ParserSteps
from dimse_ingestion.dicom.element_headers import (
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    Header,
    Syntax,
)
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status

READABLE = frozenset(uids.IDENTIFIER_SYNTAXES)
"""Transfer syntaxes that can be read."""
WRITABLE = frozenset({uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN})
"""Transfer syntaxes that can be written."""

_PIXEL_REPRESENTATION, _BITS_ALLOCATED = 0x00280103, 0x00280100
_PIXEL_DATA = 0x7FE00010
_WORDS = {32: "OL", 64: "OV"}  # VRs whose words are as long as samples of so many bits
_UNDEFINED = 0xFFFFFFFF
_LONGEST_SHORT = 0xFFFF
_DEEPEST = 64
_LONGEST_WORD = 8
_TAG = 4
_BEYOND = 0xFFFFFFFF  # behind every tag
_NOT_OF_DATA_SETS = frozenset({0x0000, 0x0002, 0x0004, 0x0006})  # PS3.5 7.1, PS3.10 7.1


class Replacement(NamedTuple):
    """The VR and value that an element gets; `value` is in little endian, of an even length."""

    vr: str
    value: bytes


class NativeConverter:
    """Convert one data set from a `READABLE` to a `WRITABLE` transfer syntax.

    `replaced` has by tag what stands in place of elements of the data set, whether it has these or
    not; None leaves one out. Raises ValueError for other transfer syntaxes. `feed` and `finish`
    raise DimseFailure C000 for a data set that can't be read, or whose pixels are compressed.
    """

    def __init__(
        self, source: str, target: str, replaced: Mapping[int, Replacement | None] | None = None
    ) -> None:
        if source not in READABLE or target not in WRITABLE:
            raise ValueError(f"{source} is not converted to {target}.")
        self._source = ByteFeed()
        self._is_big = source == uids.EXPLICIT_VR_BIG_ENDIAN
        self._target_is_explicit = target == uids.EXPLICIT_VR_LITTLE_ENDIAN
        self._inflater = Inflater() if source in uids.DEFLATED else None
        self._output = bytearray()
        self._signed = False
        self._bits_allocated = 0
        self._replaced = dict(sorted((replaced or {}).items()))
        self._replaced_tags = frozenset(self._replaced)
        self._steps = self._data_set(element_headers.syntax_of(source))

    def feed(self, chunk: bytes) -> bytes:
        """Return the bytes that these complete."""
        return b"".join(self.outputs(chunk))

    def outputs(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the bytes that these complete, at most as many at once as are inflated at once.

        A chunk that is deflated may have a thousand times its length.
        """
        try:
            for piece in self._inflated(chunk):
                self._resume(piece)
                yield self._taken()
        except zlib.error:
            raise _unreadable("The deflated data set is damaged") from None

    def finish(self) -> bytes:
        """Return the rest after all bytes were fed."""
        self._source.ended = True
        self._resume(b"")
        return self._taken()

    def _inflated(self, chunk: bytes) -> Iterator[bytes]:
        return iter((chunk,)) if self._inflater is None else self._inflater.pieces(chunk)

    def _resume(self, piece: bytes) -> None:
        self._source.add(piece)
        try:
            next(self._steps, None)
        except EndOfData:
            raise _unreadable("The data set ends early") from None

    def _taken(self) -> bytes:
        taken = bytes(self._output)
        self._output.clear()
        return taken

    def _data_set(self, syntax: Syntax) -> ParserSteps:
        while True:
            rest = yield from self._source.peek_up_to(element_headers.SHORTEST)
            if len(rest) < element_headers.SHORTEST and not any(rest):
                self._write_replacements(_BEYOND)
                return
            header = yield from self._header(syntax)
            if header.tag == ITEM_END:  # some senders end the data set like an item
                continue
            self._write_replacements(header.tag)
            if header.tag in self._replaced_tags or header.tag >> 16 in _NOT_OF_DATA_SETS:
                yield from self._left_out(header)
            else:
                yield from self._element(header, syntax, 0)

    def _left_out(self, header: Header) -> ParserSteps:
        if header.is_undefined:
            raise _unreadable("An element that is replaced has an undefined length")
        yield from self._source.skip(header.length)

    def _write_replacements(self, tag: int) -> None:
        """Write the elements that replace others, up to a tag."""
        while self._replaced and (first := next(iter(self._replaced))) <= tag:
            if (replacement := self._replaced.pop(first)) is not None:
                self._write_header(first, replacement.vr, len(replacement.value))
                self._output += replacement.value

    def _header(self, syntax: Syntax) -> Generator[None, None, Header]:
        source = self._source
        yield from source.wait_for(element_headers.SHORTEST)
        if element_headers.is_long(source, syntax):
            yield from source.wait_for(element_headers.LONGEST)
        return element_headers.read_available(source, syntax, signed=self._signed)

    def _element(self, header: Header, syntax: Syntax, depth: int) -> ParserSteps:
        tag, vr, length = header
        if header.is_delimiter:
            raise _unreadable("A delimiter stands where an element should begin")
        if header.is_undefined and (header.is_pixel_data or vr in ("OB", "OW")):
            raise _unreadable("Compressed pixels are not converted")
        if not tag & 0xFFFF:
            yield from self._source.skip(length)
        elif header.is_undefined or (vr == "SQ" and (yield from self._has_items(length, syntax))):
            within = IMPLICIT_LITTLE if vr == "UN" else syntax
            self._write_header(tag, "SQ", _UNDEFINED)
            yield from self._items(within, None if header.is_undefined else length, depth + 1)
            self._write_delimiter(SEQUENCE_END, 0)
        else:
            yield from self._value(tag, "UN" if vr == "SQ" else vr, length)

    def _has_items(self, length: int, syntax: Syntax) -> Generator[None, None, bool]:
        """Return whether a sequence's value begins with an item; others are copied as bytes."""
        if length < element_headers.SHORTEST:
            return not length
        first = yield from self._source.peek(_TAG)
        group, number = (
            int.from_bytes(first[place : place + 2], "big" if syntax.order == ">" else "little")
            for place in (0, 2)
        )
        return group << 16 | number == ITEM

    def _items(self, syntax: Syntax, length: int | None, depth: int) -> ParserSteps:
        if depth > _DEEPEST:
            raise _unreadable(f"Sequences are nested deeper than {_DEEPEST}")
        source, around = self._source, (self._signed, self._bits_allocated)
        end = None if length is None else source.offset + length
        while end is None or source.offset < end:
            header = yield from self._header(syntax)
            if header.tag == SEQUENCE_END:
                return
            if header.tag != ITEM:
                raise _unreadable("A tag stands where an item should begin")
            self._write_delimiter(ITEM, _UNDEFINED)
            yield from self._item(syntax, None if header.is_undefined else header.length, depth)
            self._write_delimiter(ITEM_END, 0)
            self._signed, self._bits_allocated = around

    def _item(self, syntax: Syntax, length: int | None, depth: int) -> ParserSteps:
        source = self._source
        end = None if length is None else source.offset + length
        while end is None or source.offset < end:
            header = yield from self._header(syntax)
            if header.tag == ITEM_END:
                if end is None:
                    return
                continue
            yield from self._element(header, syntax, depth)

    def _value(self, tag: int, vr: str, length: int) -> ParserSteps:
        """Write a value as it arrives; words change their byte order."""
        source = self._source
        if tag in (_PIXEL_REPRESENTATION, _BITS_ALLOCATED) and length:
            first = yield from source.peek(min(length, 2))
            self._note(tag, int.from_bytes(first, "big" if self._is_big else "little"))
        word_vr = _WORDS.get(self._bits_allocated, vr) if tag == _PIXEL_DATA else vr
        self._write_header(tag, vr, length)
        left = length
        while left:
            least = min(left, _LONGEST_WORD)
            yield from source.wait_for(least)
            size = min(left, source.available)
            if size < left:
                size -= size % _LONGEST_WORD
            value = bytes(source.buffer[source.start : source.start + size])
            source.advance(size)
            left -= size
            self._output += representations.little_endian(value, word_vr) if self._is_big else value

    def _note(self, tag: int, number: int) -> None:
        """Note what the words of following elements depend on."""
        if tag == _PIXEL_REPRESENTATION:
            self._signed = number != 0
        else:
            self._bits_allocated = number

    def _write_header(self, tag: int, vr: str, length: int) -> None:
        self._output += (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
        if not self._target_is_explicit:
            self._output += length.to_bytes(4, "little")
            return
        if vr in representations.SHORT_LENGTH and length > _LONGEST_SHORT:
            vr = "UN"  # PS3.5 6.2.2: a value that is too long for its VR
        self._output += vr.encode()
        if vr in representations.SHORT_LENGTH:
            self._output += length.to_bytes(2, "little")
        else:
            self._output += b"\0\0" + length.to_bytes(4, "little")

    def _write_delimiter(self, tag: int, length: int) -> None:
        self._output += (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
        self._output += length.to_bytes(4, "little")


def _unreadable(sentence: str) -> DimseFailure:
    return DimseFailure(Status.CANNOT_UNDERSTAND, sentence)

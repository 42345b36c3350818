"""A data set read while it passes by: its elements, and where the large values stand.

Incremental and bounded: chunks of any size go in, pixel data and other large values are passed
over, so that a 2 GiB object costs no more memory than its header. Every transfer syntax (PS3.5
annex A) is read; nothing is decoded but text. It keeps no bytes and decides on no operation.
"""

import zlib
from base64 import b64encode
from collections.abc import Generator
from dataclasses import dataclass

from dimse_ingestion.dicom import charsets, uids
from dimse_ingestion.dicom import value_representations as representations
from dimse_ingestion.dicom.arriving import Arriving, Ended, Inflating, Parsing
from dimse_ingestion.dicom.elements import BulkReference, Element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status

_SPECIFIC_CHARACTER_SET = 0x00080005
_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_DATA_SET_TRAILING_PADDING = 0xFFFCFFFC
_ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept at the most; lengths in bytes. Larger values become references."""

    text: int = 64 * 1024
    binary: int = 1024
    sequence_elements: int = 20_000
    sequence_bytes: int = 2 * 2**20
    elements: int = 50_000
    kept_bytes: int = 8 * 2**20
    depth: int = 64


@dataclass(frozen=True, slots=True)
class _Syntax:
    explicit: bool
    order: str


@dataclass(slots=True)
class _Budget:
    """What may still be kept of one top-level sequence."""

    elements: int
    bytes: int

    def spend(self, length: int) -> bool:
        """Whether one more element of `length` bytes may be kept."""
        self.elements -= 1
        self.bytes -= length
        return self.elements >= 0 and self.bytes >= 0


@dataclass(frozen=True, slots=True)
class _Header:
    tag: int
    vr: str
    length: int

    @property
    def undefined(self) -> bool:
        return self.length == _UNDEFINED

    def element(self, value: str = "") -> Element:
        return Element(f"{self.tag >> 16:04X}", f"{self.tag & 0xFFFF:04X}", self.vr, value)


_IMPLICIT_LITTLE = _Syntax(explicit=False, order="<")


class Scanner:
    """Reads one data set; feed it all chunks in order, then finish it.

    Every method raises DimseFailure C000 with a sentence when the data set can't be understood.
    """

    def __init__(self, transfer_syntax_uid: str, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._source = Arriving()
        self._elements: list[Element] = []
        self._kept = _Budget(self._limits.elements, self._limits.kept_bytes)
        deflated = transfer_syntax_uid == uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
        self._inflating = Inflating() if deflated else None
        self._parsing = self._data_set(_syntax(transfer_syntax_uid))

    def feed(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes."""
        if self._inflating is None:
            self._resume(chunk)
            return
        try:
            for piece in self._inflating.pieces(chunk):
                self._resume(piece)
        except zlib.error as broken:
            raise _misunderstood(f"The deflated data set is damaged ({broken}).") from broken

    def finish(self) -> list[Element]:
        """The elements, once all bytes were fed."""
        if self._inflating is not None and not self._inflating.complete:
            raise _misunderstood("The deflated data set ends early.")
        self._source.ended = True
        self._resume(b"")
        return self._elements

    @property
    def elements(self) -> list[Element]:
        """The elements read so far."""
        return self._elements

    def _resume(self, data: bytes | memoryview) -> None:
        self._source.add(data)
        try:
            next(self._parsing, None)
        except Ended:
            where = self._source.offset
            raise _misunderstood(f"The data set ends early, after {where} bytes.") from None

    def _data_set(self, syntax: _Syntax) -> Parsing:
        encoding = charsets.codecs("")
        while (yield from self._source.has_more()):
            header = yield from self._header(syntax)
            if header.tag >> 16 == 0xFFFE:
                raise _misunderstood(f"Item tag {header.tag:08X} outside a sequence.")
            found = yield from self._value(header, syntax, encoding, None, 0)
            if found is not None:
                encoding = _encoding_after(found, encoding)
                self._keep(found)

    def _keep(self, found: Element) -> None:
        if not self._kept.spend(len(found.value)):
            raise _misunderstood("The data set has more elements than can be taken.")
        self._elements.append(found)

    def _header(self, syntax: _Syntax) -> Generator[None, None, _Header]:
        source, order = self._source, "little" if syntax.order == "<" else "big"
        raw = yield from source.take(8)
        tag = int.from_bytes(raw[0:2], order) << 16 | int.from_bytes(raw[2:4], order)  # type: ignore[arg-type]
        written = raw[4:6]
        if not syntax.explicit or tag >> 16 == 0xFFFE or not _is_vr(written):
            return _Header(tag, representations.vr_of(tag), int.from_bytes(raw[4:8], order))  # type: ignore[arg-type]
        vr = written.decode("ascii")
        if vr in representations.LONG_LENGTH:
            length = int.from_bytes((yield from source.take(4)), order)  # type: ignore[arg-type]
        else:
            length = int.from_bytes(raw[6:8], order)  # type: ignore[arg-type]
        return _Header(tag, vr, length)

    def _value(
        self,
        header: _Header,
        syntax: _Syntax,
        encoding: charsets.Codecs,
        budget: _Budget | None,
        depth: int,
    ) -> Generator[None, None, Element | None]:
        if header.vr == "SQ" or (header.undefined and not _is_encapsulated(header)):
            return (yield from self._sequence(header, syntax, encoding, budget, depth))
        if header.undefined:
            return (yield from self._encapsulated(header, syntax))
        return (yield from self._plain(header, syntax, encoding))

    def _plain(
        self, header: _Header, syntax: _Syntax, encoding: charsets.Codecs
    ) -> Generator[None, None, Element | None]:
        if header.tag & 0xFFFF == 0 or header.tag == _DATA_SET_TRAILING_PADDING:
            yield from self._source.skip(header.length)
            return None
        if header.tag in _PIXEL_DATA or header.length > self._longest(header.vr):
            reference = BulkReference(self._source.offset, header.length)
            yield from self._source.skip(header.length)
            return _referring(header, reference)
        value = yield from self._source.take(header.length)
        return _read(header, value, syntax.order, encoding)

    def _longest(self, vr: str) -> int:
        return self._limits.text if vr in representations.TEXT else self._limits.binary

    def _encapsulated(
        self, header: _Header, syntax: _Syntax
    ) -> Generator[None, None, Element | None]:
        begin = end = self._source.offset
        while True:
            item = yield from self._header(syntax)
            if item.tag == _SEQUENCE_END:
                return _referring(header, BulkReference(begin, end - begin))
            if item.tag != _ITEM or item.undefined:
                raise _misunderstood(f"Tag {item.tag:08X} among the fragments of pixel data.")
            yield from self._source.skip(item.length)
            end = self._source.offset

    def _sequence(
        self,
        header: _Header,
        syntax: _Syntax,
        encoding: charsets.Codecs,
        budget: _Budget | None,
        depth: int,
    ) -> Generator[None, None, Element | None]:
        if depth >= self._limits.depth:
            raise _misunderstood(f"Sequences are nested deeper than {depth}.")
        outermost = budget is None
        spending = budget or _Budget(self._limits.sequence_elements, self._limits.sequence_bytes)
        begin = self._source.offset
        if header.vr == "UN":
            syntax = _IMPLICIT_LITTLE  # PS3.5 6.2.2 note 2
        items, end = yield from self._items(header, syntax, encoding, spending, depth)
        if outermost and (spending.elements < 0 or spending.bytes < 0):
            return _referring(header, BulkReference(begin, end - begin))
        if outermost and not self._kept.spend(self._limits.sequence_bytes - spending.bytes):
            return _referring(header, BulkReference(begin, end - begin))
        tag = f"{header.tag:08X}"
        return Element(tag[:4], tag[4:], "SQ", items=items)

    def _items(
        self,
        header: _Header,
        syntax: _Syntax,
        encoding: charsets.Codecs,
        budget: _Budget,
        depth: int,
    ) -> Generator[None, None, tuple[list[list[Element]], int]]:
        items: list[list[Element]] = []
        stop = None if header.undefined else self._source.offset + header.length
        while stop is None or self._source.offset < stop:
            end = self._source.offset
            item = yield from self._header(syntax)
            if item.tag == _SEQUENCE_END:
                return items, end
            if item.tag != _ITEM:
                raise _misunderstood(f"Tag {item.tag:08X} where an item should begin.")
            elements = yield from self._item(item, syntax, encoding, budget, depth + 1)
            if budget.elements >= 0:
                items.append(elements)
        if stop is not None and self._source.offset != stop:
            raise _misunderstood(f"The items of {header.tag:08X} are longer than it says.")
        return items, self._source.offset

    def _item(
        self,
        item: _Header,
        syntax: _Syntax,
        encoding: charsets.Codecs,
        budget: _Budget,
        depth: int,
    ) -> Generator[None, None, list[Element]]:
        elements: list[Element] = []
        stop = None if item.undefined else self._source.offset + item.length
        while stop is None or self._source.offset < stop:
            header = yield from self._header(syntax)
            if header.tag == _ITEM_END:
                return elements
            found = yield from self._value(header, syntax, encoding, budget, depth)
            if found is not None:
                encoding = _encoding_after(found, encoding)
                if budget.spend(len(found.value)):
                    elements.append(found)
        if stop is not None and self._source.offset != stop:
            raise _misunderstood("An item is longer than it says.")
        return elements


def _syntax(transfer_syntax_uid: str) -> _Syntax:
    if transfer_syntax_uid == uids.IMPLICIT_VR_LITTLE_ENDIAN:
        return _IMPLICIT_LITTLE
    big = transfer_syntax_uid == uids.EXPLICIT_VR_BIG_ENDIAN
    return _Syntax(explicit=True, order=">" if big else "<")


def _is_vr(written: bytes) -> bool:
    """Two capital letters; other bytes are a length, from writers that forgot the VR."""
    return 0x41 <= written[0] <= 0x5A and 0x41 <= written[1] <= 0x5A


def _is_encapsulated(header: _Header) -> bool:
    return header.tag in _PIXEL_DATA or header.vr in ("OB", "OW")


def _referring(header: _Header, reference: BulkReference) -> Element:
    tag = f"{header.tag:08X}"
    return Element(tag[:4], tag[4:], header.vr, bulk=reference)


def _encoding_after(found: Element, encoding: charsets.Codecs) -> charsets.Codecs:
    if found.group == "0008" and found.tag == _SPECIFIC_CHARACTER_SET:
        return charsets.codecs(found.value)
    return encoding


def _read(header: _Header, value: bytes, order: str, encoding: charsets.Codecs) -> Element:
    vr = header.vr
    if not value:
        return header.element()
    if vr in representations.NUMBERS:
        return header.element(representations.numbers_as_text(value, vr, order))
    if vr == "AT":
        return header.element(representations.tags_as_text(value, order))
    if vr in representations.TEXT:
        return header.element(charsets.decoded(value, vr, encoding))
    tag = f"{header.tag:08X}"
    return Element(tag[:4], tag[4:], vr, inline_binary=b64encode(value).decode("ascii"))


def _misunderstood(sentence: str) -> DimseFailure:
    return DimseFailure(Status.CANNOT_UNDERSTAND, sentence)


def scanned(data_set: bytes | memoryview, transfer_syntax_uid: str) -> list[Element]:
    """The elements of a whole data set; raises DimseFailure C000."""
    scanner = Scanner(transfer_syntax_uid)
    scanner.feed(data_set)
    return scanner.finish()

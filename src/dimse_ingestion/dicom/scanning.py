"""A data set read while it passes by: its elements, and where the large values stand.

Incremental and bounded: chunks of any size go in, pixel data and other large values are passed
over, so that a 2 GiB object costs no more memory than its header. Every transfer syntax (PS3.5
annex A) is read; nothing is decoded but text. Of encapsulated pixel data it notes how long each
fragment is, so that a frame can be read alone. It keeps no bytes and decides on no operation.
"""

import zlib
from base64 import b64encode
from collections.abc import Generator

from dimse_ingestion.dicom import charsets, element_headers, uids
from dimse_ingestion.dicom import value_representations as representations
from dimse_ingestion.dicom.arriving import Arriving, Ended, Inflating, Parsing
from dimse_ingestion.dicom.element_headers import IMPLICIT_LITTLE, Header, Syntax
from dimse_ingestion.dicom.elements import BulkReference, Element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.keeping import Budget, Fragments, Limits, Place
from dimse_ingestion.dicom.status import Status

_DATA_SET_TRAILING_PADDING = 0xFFFCFFFC
_FIRST_ITEM = b"\xfe\xff\x00\xe0"


class Scanner:
    """Reads one data set; feed it all chunks in order, then finish it.

    Every method raises DimseFailure C000 with a sentence when the data set can't be understood,
    and again whenever it is called afterwards. Offsets of references into a deflated data set
    count its inflated bytes.
    """

    def __init__(self, transfer_syntax_uid: str, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._source = Arriving()
        self._elements: list[Element] = []
        self._failure: DimseFailure | None = None
        deflated = transfer_syntax_uid == uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
        self._inflating = Inflating() if deflated else None
        self._parsing = self._data_set(element_headers.syntax_of(transfer_syntax_uid))

    def feed(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes."""
        if self._inflating is None:
            self._resume(chunk)
            return
        try:
            for piece in self._inflating.pieces(chunk):
                self._resume(piece)
        except zlib.error as broken:
            self._failure = _misunderstood(f"The deflated data set is damaged ({broken}).")
            raise self._failure from broken

    def finish(self) -> list[Element]:
        """The elements, once all bytes were fed."""
        if self._inflating is not None and not self._inflating.complete:
            raise self._failure or _misunderstood("The deflated data set ends early.")
        self._source.ended = True
        self._resume(b"")
        return self._elements

    @property
    def to_pass_over(self) -> int:
        """How many of the next bytes are of no interest; 0 where they must be inflated to know."""
        return 0 if self._inflating else self._source.to_pass_over

    def pass_over(self, length: int) -> None:
        """Go on after the next `length` bytes, at most `to_pass_over`, without having them."""
        self._source.pass_over(length)
        self._resume(b"")

    @property
    def elements(self) -> list[Element]:
        """The elements read so far."""
        return self._elements

    def _resume(self, data: bytes | memoryview) -> None:
        if self._failure:
            raise self._failure
        self._source.add(data)
        try:
            next(self._parsing, None)
        except Ended:
            where = self._source.offset
            self._failure = _misunderstood(f"The data set ends early, after {where} bytes.")
            raise self._failure from None
        except DimseFailure as failure:
            self._failure = failure
            raise

    def _data_set(self, syntax: Syntax) -> Parsing:
        kept = Budget(self._limits.kept)
        place = Place(syntax, charsets.codecs(""), kept)
        while (yield from self._source.has_more()):
            header = yield from self._header(place)
            _check_begins_element(header)
            found = yield from self._value(header, place)
            if found is None:
                continue
            if not kept.spend(_text_kept(found)):
                raise _misunderstood("The data set has more elements than can be taken.")
            place.learn(found)
            self._elements.append(found)

    def _header(self, place: Place) -> Generator[None, None, Header]:
        return element_headers.read(self._source, place.syntax, signed=place.signed)

    def _value(self, header: Header, place: Place) -> Generator[None, None, Element | None]:
        if header.vr == "UN":
            return self._unknown(header, place)
        if header.is_undefined and (header.is_pixel_data or header.vr in ("OB", "OW")):
            return self._encapsulated(header, place)
        if header.vr == "SQ" or header.is_undefined:
            return self._sequence(header, place)
        return self._plain(header, place)

    def _unknown(self, header: Header, place: Place) -> Generator[None, None, Element | None]:
        """UN is implicit VR little endian inside (PS3.5 6.2.2), of the VR that its tag has."""
        if header.is_undefined and not header.is_pixel_data:
            return (yield from self._sequence(header, place.read_as(IMPLICIT_LITTLE)))
        header = header._replace(vr=representations.vr_of(header.tag, signed=place.signed))
        if header.is_undefined:
            return (yield from self._encapsulated(header, place))
        place = place.read_as(IMPLICIT_LITTLE)
        if header.vr != "SQ" or not header.length:
            return (yield from self._plain(header, place))
        if (yield from self._source.peek(len(_FIRST_ITEM))) == _FIRST_ITEM:
            return (yield from self._sequence(header, place))
        return (yield from self._plain(header._replace(vr="UN"), place))

    def _plain(self, header: Header, place: Place) -> Generator[None, None, Element | None]:
        tag, vr, length = header
        if tag & 0xFFFF == 0 or tag == _DATA_SET_TRAILING_PADDING:
            yield from self._source.skip(length)
            return None
        longest = self._limits.text if vr in representations.TEXT else self._limits.binary
        if length > longest or header.is_pixel_data:
            begin = self._source.offset
            yield from self._source.skip(length)
            return header.reference(begin, self._source.offset)
        value = yield from self._source.take(length)
        return _read(header, value, place)

    def _encapsulated(self, header: Header, place: Place) -> Generator[None, None, Element]:
        begin = end = self._source.offset
        fragments = Fragments(self._limits.fragments if place.depth == 0 else 0)
        while True:
            item = yield from self._header(place)
            if item.tag == element_headers.SEQUENCE_END:
                bulk = BulkReference(begin, end - begin, fragments.noted(place.budget))
                return header._replace(vr="OB").referring(bulk)
            if item.tag != element_headers.ITEM or item.is_undefined:
                raise _misunderstood(f"Tag {item.tag:08X} among the fragments of pixel data.")
            fragments.add(item.length)
            yield from self._source.skip(item.length)
            end = self._source.offset

    def _sequence(self, header: Header, place: Place) -> Generator[None, None, Element]:
        if place.depth >= self._limits.depth:
            raise _misunderstood(f"Sequences are nested deeper than {place.depth}.")
        begin = self._source.offset
        outer = place.budget
        inner = Budget(min(outer.left, self._limits.sequence)) if place.depth == 0 else outer
        allowed = inner.left
        within = place.inside(place.syntax, inner, place.depth + 1)
        items, end = yield from self._items(header, within)
        if place.depth:
            return header.sequence(items)
        if inner.left < 0:
            return header._replace(vr="SQ").reference(begin, end)
        outer.left -= allowed - inner.left
        return header.sequence(items)

    def _items(
        self, header: Header, place: Place
    ) -> Generator[None, None, tuple[list[list[Element]], int]]:
        """The items, and where the last of them ends."""
        items: list[list[Element]] = []
        source = self._source
        stop = None if header.is_undefined else source.offset + header.length
        while stop is None or source.offset < stop:
            end = source.offset
            item = yield from self._header(place)
            if item.tag == element_headers.SEQUENCE_END:
                return items, end
            if item.tag != element_headers.ITEM:
                raise _misunderstood(f"Tag {item.tag:08X} where an item should begin.")
            elements = yield from self._item(item, place.read_as(place.syntax))
            if place.budget.spend():
                items.append(elements)
        if source.offset != stop:
            raise _misunderstood(f"The items of {header.tag:08X} are longer than it says.")
        return items, source.offset

    def _item(self, item: Header, place: Place) -> Generator[None, None, list[Element]]:
        elements: list[Element] = []
        source = self._source
        if place.budget.left < 0 and not item.is_undefined:
            yield from source.skip(item.length)
            return elements
        stop = None if item.is_undefined else source.offset + item.length
        while stop is None or source.offset < stop:
            header = yield from self._header(place)
            if header.tag == element_headers.ITEM_END:
                return elements
            _check_begins_element(header)
            found = yield from self._value(header, place)
            if found is not None:
                place.learn(found)
                if place.budget.spend(_text_kept(found)):
                    elements.append(found)
        if source.offset != stop:
            raise _misunderstood("An item is longer than it says.")
        return elements


def _check_begins_element(header: Header) -> None:
    if header.is_delimiter:
        raise _misunderstood(f"Tag {header.tag:08X} where an element should begin.")


def _text_kept(found: Element) -> str:
    return found.value or found.inline_binary or ""


def _read(header: Header, value: bytes, place: Place) -> Element:
    vr = header.vr
    if not value:
        return header.element()
    if vr in representations.TEXT:
        return header.element(charsets.decoded(value, vr, place.codecs))
    if vr in representations.NUMBERS:
        return header.element(representations.numbers_as_text(value, vr, place.syntax.order))
    if vr == "AT":
        return header.element(representations.tags_as_text(value, place.syntax.order))
    value = representations.in_byte_order(value, vr, place.syntax.order)
    return header.binary(b64encode(value).decode("ascii"))


def _misunderstood(sentence: str) -> DimseFailure:
    return DimseFailure(Status.CANNOT_UNDERSTAND, sentence)


def scanned(data_set: bytes | memoryview, transfer_syntax_uid: str) -> list[Element]:
    """The elements of a whole data set; raises DimseFailure C000."""
    scanner = Scanner(transfer_syntax_uid)
    scanner.feed(data_set)
    return scanner.finish()

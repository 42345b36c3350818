"""The incremental parser of a data set's elements (PS3.5 7).

Pixel data and other large values are skipped and become references. It tolerates errors of senders
as far as possible: invalid items of known length are stored as bytes. `scanner` feeds and inflates
the bytes and reports failures; `limits` decides how much is stored.
"""

from collections.abc import Generator

from dimse_ingestion.dicom import charsets, element_headers
from dimse_ingestion.dicom import value_representations as representations
from dimse_ingestion.dicom.byte_feed import ByteFeed, ParserSteps
from dimse_ingestion.dicom.element_headers import IMPLICIT_LITTLE, Header, Syntax
from dimse_ingestion.dicom.element_values import decode, stored_text
from dimse_ingestion.dicom.elements import BulkReference, Element
from dimse_ingestion.dicom.header_reader import HeaderReader, Malformed, cannot_understand
from dimse_ingestion.dicom.limits import (
    ENCODING_TAGS,
    Budget,
    FragmentLengths,
    ParserLimits,
    Scope,
    SequenceBudget,
)
from dimse_ingestion.dicom.short_elements import LONGEST_VALUE, read_short_elements

_FILE_META = 0x0002
_NOT_OF_DATA_SETS = frozenset({0x0000, 0x0002, 0x0004, 0x0006})
"""Groups of command sets, file meta information and directories, ignored in data sets."""
_SHORT = LONGEST_VALUE
_SIMPLE = representations.SHORT_LENGTH
_BYTES_OF_A_PART = (256, 16)  # of text, of numbers: they take as long as one more element


class Parser:
    """Parse one data set from `source`; `elements` are those read so far.

    It pauses after a slice of work (see `ByteFeed.paused`), and raises DimseFailure C000 for a data
    set that can't be parsed. `is_file_meta` allows group 2, which no data set may have.
    """

    def __init__(
        self, source: ByteFeed, limits: ParserLimits, *, is_file_meta: bool = False
    ) -> None:
        self.elements: list[Element] = []
        self.budget = Budget(limits.retained)
        self.has_duplicates = False
        """True if a tag occurred twice in a data set or item; the first one is used."""
        self._source = source
        self._limits = limits
        self._is_file_meta = is_file_meta
        self._tags: set[int] = set()
        self._headers = HeaderReader(source, limits.parts)

    def data_set(self, syntax: Syntax) -> ParserSteps:
        """Parse a whole data set; raises EndOfData if it is truncated."""
        place = Scope(syntax, charsets.codecs(""), SequenceBudget(self.budget))
        while not (yield from self._is_over(place)):
            header = self._headers.next_available(place) or (yield from self._headers.next(place))
            if header.tag == element_headers.ITEM_END and not header.length:
                continue  # some senders end the data set like an item
            _check_begins_element(header)
            if header.tag >> 16 == _FILE_META and not self._is_file_meta:
                raise cannot_understand("The data set holds group 0002: send it without file meta.")
            found = self._available_value(header, place) or (yield from self._value(header, place))
            if found is not None and self._is_new(header.tag):
                if header.tag in ENCODING_TAGS:
                    place.apply(header.tag, found)
                self._keep(header, found)

    def _read_short_elements(self, place: Scope) -> None:
        """Store the next elements, as far as they need no decision."""
        if not self._is_file_meta:
            work_left = self._headers.work_left
            read = read_short_elements(
                self._source, place, self._tags, self.budget, max(0, work_left)
            )
            self._headers.work_left = work_left - len(read)
            self.elements += read

    def _keep(self, header: Header, found: Element) -> None:
        """Store an element; text that exceeds the budget becomes a reference."""
        text = stored_text(found)
        if not self.budget.spend(text, on_small=not text or header.length <= _SHORT):
            end = self._source.offset
            found = header.reference(end - header.length, end)
            if not self.budget.spend(on_small=True):
                raise cannot_understand("The data set has more elements than can be taken.")
        self.elements.append(found)

    def _is_over(self, place: Scope) -> Generator[None, None, bool]:
        """Read short elements; return whether then only a few zeros follow, as padding."""
        source = self._source
        self._read_short_elements(place)
        if source.available >= element_headers.SHORTEST:
            return False
        rest = yield from source.peek_up_to(element_headers.SHORTEST)
        return len(rest) < element_headers.SHORTEST and not any(rest)

    def _is_new(self, tag: int) -> bool:
        """Return whether an element is used: the first of its tag, in a group of data sets."""
        if tag in self._tags or (tag >> 16 in _NOT_OF_DATA_SETS and not self._is_file_meta):
            self.has_duplicates |= tag in self._tags
            return False
        self._tags.add(tag)
        return True

    def _available_value(self, header: Header, place: Scope) -> Element | None:
        """Return a short value that is available without waiting, or None without reading.

        This avoids the cost of a generator for most values.
        """
        tag, vr, length = header
        source = self._source
        if (
            length > _SHORT
            or vr not in _SIMPLE
            or not tag & 0xFFFF
            or tag in element_headers.DECIDED_BY_TAG
            or len(source.buffer) - source.start < length
            or source.offset + length > place.end
            or not place.budget.is_within
        ):
            return None
        start = source.start
        source.start = start + length
        source.offset += length
        return decode(header, bytes(source.buffer[start : source.start]), place)

    def _value(self, header: Header, place: Scope) -> Generator[None, None, Element | None]:
        if not header.is_undefined and self._source.offset + header.length > place.end:
            raise Malformed(f"The value of {header.tag:08X} is longer than what it is in.")
        if header.vr == "UN":
            return self._unknown(header, place)
        if header.is_undefined and (header.is_pixel_data or header.vr in ("OB", "OW")):
            return self._encapsulated(header, place)
        if header.vr == "SQ" or header.is_undefined:
            return self._sequence(header, place)
        return self._plain(header, place)

    def _unknown(self, header: Header, place: Scope) -> Generator[None, None, Element | None]:
        """Read a UN value: implicit VR little endian (PS3.5 6.2.2), with the VR of its tag."""
        if header.is_undefined and not header.is_pixel_data:
            return self._sequence(header, place.with_syntax(IMPLICIT_LITTLE))
        header = header._replace(vr=representations.vr_of(header.tag, signed=place.signed))
        if header.is_undefined:
            return self._encapsulated(header, place)
        place = place.with_syntax(IMPLICIT_LITTLE)
        return (self._sequence if header.vr == "SQ" else self._plain)(header, place)

    def _plain(self, header: Header, place: Scope) -> Generator[None, None, Element | None]:
        tag, vr, length = header
        source = self._source
        is_padding = tag == element_headers.DATA_SET_TRAILING_PADDING
        if tag & 0xFFFF == 0 or is_padding or not place.budget.is_within:
            yield from source.skip(length)
            return None
        longest = self._limits.text if vr in representations.TEXT else self._limits.binary
        if length > longest or header.is_pixel_data:
            begin = source.offset
            yield from source.skip(length)
            return header.reference(begin, source.offset)
        self._headers.work_left -= length // _BYTES_OF_A_PART[vr in representations.NUMBERS]
        value = yield from source.take(length)
        return decode(header, value, place)

    def _encapsulated(self, header: Header, place: Scope) -> Generator[None, None, Element]:
        source = self._source
        begin = end = source.offset
        fragments = FragmentLengths(self._limits.fragments if place.depth == 0 else 0)
        while True:
            end = self._available_fragments(place, fragments, end)
            item = self._headers.next_available(place) or (yield from self._headers.next(place))
            if item.tag == element_headers.SEQUENCE_END:
                noted = fragments.lengths(self.budget) if place.depth == 0 else None
                bulk = BulkReference(begin, end - begin, noted)
                return header._replace(vr="OB").referring(bulk)
            if item.tag != element_headers.ITEM or item.is_undefined:
                raise cannot_understand(f"Tag {item.tag:08X} among the fragments of pixel data.")
            fragments.add(item.length)
            if item.length:
                yield from source.skip(item.length)
            end = source.offset

    def _available_fragments(self, place: Scope, fragments: FragmentLengths, end: int) -> int:
        """Skip complete fragments that are available; return the end offset of the last one."""
        source, unpack_from = self._source, place.syntax.tag_and_length.unpack_from
        start = begin = source.start
        buffer, last = source.buffer, len(source.buffer) - element_headers.SHORTEST
        work_left = self._headers.work_left
        while work_left > 0 and start <= last:
            group, number, length = unpack_from(buffer, start)
            following = start + element_headers.SHORTEST + length
            if group << 16 | number != element_headers.ITEM or following > len(buffer):
                break
            fragments.add(length)
            start, work_left = following, work_left - 1
        self._headers.work_left = work_left
        source.advance(start - begin)
        return source.offset if start > begin else end

    def _sequence(self, header: Header, place: Scope) -> Generator[None, None, Element | None]:
        """Read a sequence; if its items are invalid and its length is known, store it as bytes."""
        source, begin = self._source, self._source.offset
        if place.depth >= self._limits.depth:
            raise cannot_understand(f"Sequences are nested deeper than {place.depth}.")
        if header.is_undefined:
            return (yield from self._read_sequence(header, place, place.end))
        if place.depth == 0 and header.length > self._limits.sequence:
            yield from source.skip(header.length)
            return header._replace(vr="SQ").reference(begin, source.offset)
        is_short = header.length <= self._limits.binary
        if is_short:
            yield from source.wait_for(header.length)  # to be read again as bytes
        end = begin + header.length
        try:
            return (yield from self._read_sequence(header, place, end))
        except Malformed:
            source.advance(min(0, (begin if is_short else end) - source.offset))
        if is_short:
            return (yield from self._plain(header._replace(vr="UN"), place))
        yield from source.skip(end - source.offset)
        return header._replace(vr="UN").reference(begin, end)

    def _read_sequence(
        self, header: Header, place: Scope, end: int
    ) -> Generator[None, None, Element]:
        """Read a sequence, or return its reference if it is too large; raises Malformed."""
        begin, budget = self._source.offset, place.budget
        if place.depth == 0:
            budget = SequenceBudget(self.budget, begin + self._limits.sequence)
        within = place.nested(budget, place.depth + 1, end)
        try:
            items, last = yield from self._items(within, is_undefined=header.is_undefined)
        except Malformed:
            budget.discard() if place.depth == 0 else None
            raise
        if place.depth == 0 and not budget.is_within:
            return header._replace(vr="SQ").reference(begin, last)
        return header.sequence(items)

    def _items(
        self, place: Scope, *, is_undefined: bool
    ) -> Generator[None, None, tuple[list[list[Element]], int]]:
        """Return the items and the end offset of the last one."""
        items: list[list[Element]] = []
        source = self._source
        while source.offset < place.end:
            last = source.offset
            item = self._headers.next_available(place) or (yield from self._headers.next(place))
            if item.tag == element_headers.SEQUENCE_END and (
                is_undefined or source.offset == place.end
            ):
                return items, last
            if item.tag != element_headers.ITEM:
                raise Malformed(f"Tag {item.tag:08X} where an item should begin.")
            elements = yield from self._item(item, place)
            if place.budget.add(source.offset):
                items.append(elements)
            else:
                items.clear()
        return items, source.offset

    def _item(self, item: Header, around: Scope) -> Generator[None, None, list[Element]]:
        """Return the elements of an item, which ends at its delimiter or with its sequence."""
        elements: list[Element] = []
        source = self._source
        end = around.end if item.is_undefined else source.offset + item.length
        if end > around.end:
            raise Malformed("An item is longer than its sequence.")
        if not around.budget.is_within and not item.is_undefined:
            yield from source.skip(item.length)
            return elements
        place, tags = around.nested(around.budget, around.depth, end), set[int]()
        while source.offset < end:
            header = self._headers.next_available(place) or (yield from self._headers.next(place))
            tag = header.tag
            if tag == element_headers.ITEM_END and (item.is_undefined or source.offset == end):
                return elements
            _check_begins_element(header)
            found = self._available_value(header, place) or (yield from self._value(header, place))
            if found is None or tag >> 16 in _NOT_OF_DATA_SETS or tag in tags:
                self.has_duplicates |= tag in tags
                continue
            tags.add(tag)
            if tag in ENCODING_TAGS:
                place.apply(tag, found)
            if place.budget.add(source.offset, stored_text(found)):
                elements.append(found)
        return elements


def _check_begins_element(header: Header) -> None:
    if header.is_delimiter:
        raise Malformed(f"Tag {header.tag:08X} where an element should begin.")

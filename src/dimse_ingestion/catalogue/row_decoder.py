"""Decoding of rows: the elements of their levels, of which long ones are decoded in part.

How much JSON a row has is known before it is in memory, because some kilobytes in a column may be
many MiB of JSON. Rows are selected in `query`; how elements are stored is in `event_rows`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from dimse_ingestion.catalogue.event_rows import decompress, decompress_short, json_length
from dimse_ingestion.catalogue.sql_statements import (
    Columns,
    levels_with_columns,
    levels_with_elements,
)
from dimse_ingestion.dicom.elements import Element, by_tag, element
from dimse_ingestion.dicom.encoder import SPECIFIC_CHARACTER_SET
from dimse_ingestion.dicom.query_levels import KEYS, LEVELS
from dimse_ingestion.dicom.raw_items import decode_elements

_LEVELS_WITH_ELEMENTS = {level: levels_with_elements(level) for level in LEVELS}
_Columns = Mapping[str, Any]
Known = dict[int, Element]


class DecodedRow(NamedTuple):
    """A row: its columns, the JSON of each level's elements, and all of them decoded by tag."""

    columns: _Columns
    json: Mapping[str, bytes]
    known: Known

    @property
    def length(self) -> int:
        """Bytes of JSON of all levels."""
        return sum(map(len, self.json.values()))


class RowDecoder:
    """Decode rows of a level, selected with these columns; all levels make its elements known."""

    def __init__(self, level: str, columns: Columns) -> None:
        self._level = level
        self._needs_known = columns == "all levels"
        self._levels = levels_with_columns(level, columns)

    def length(self, row: _Columns) -> int:
        """Return the bytes of JSON that the row has, without holding them in memory."""
        return sum(json_length(_elements(row, each)) for each in self._levels)

    def decode(self, row: _Columns) -> DecodedRow:
        """Return the row decoded."""
        return self._decoded(row, {each: decompress(_elements(row, each)) for each in self._levels})

    def decode_short(self, row: _Columns, longest: int) -> DecodedRow | None:
        """Return the row decoded; None if it has more than `longest` bytes of JSON."""
        json_by_level = {}
        for each in self._levels:
            json = decompress_short(_elements(row, each), longest)
            if json is None:
                return None
            longest -= len(json)
            json_by_level[each] = json
        return self._decoded(row, json_by_level)

    def _decoded(self, row: _Columns, json: Mapping[str, bytes]) -> DecodedRow:
        return DecodedRow(row, json, _known(self._level, json) if self._needs_known else {})


def _elements(row: _Columns, level: str) -> bytes:
    elements: bytes = row[f"{level}_elements"]
    return elements


def _known(level: str, level_elements: Mapping[str, bytes]) -> Known:
    """Return a row's elements; keys of a level above only from that level, so that levels agree."""
    elements = {SPECIFIC_CHARACTER_SET: element(SPECIFIC_CHARACTER_SET, "CS")}
    above: frozenset[int] = frozenset()
    for each in _LEVELS_WITH_ELEMENTS[level]:
        own = by_tag(decode_elements(level_elements[each]))
        elements |= {tag: value for tag, value in own.items() if tag not in above}
        above |= KEYS[each] | KEYS["PATIENT"]
    return elements

"""Formats of a match: the elements that the query asks for, or the instance with its object.

Rows are decoded in `row_decoder`, and selected in `query`.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from dimse_ingestion.catalogue import sql_statements
from dimse_ingestion.catalogue.row_decoder import DecodedRow
from dimse_ingestion.dicom.elements import SOP_CLASS_UID, SOP_INSTANCE_UID, Element, element
from dimse_ingestion.dicom.encoder import SPECIFIC_CHARACTER_SET
from dimse_ingestion.dicom.query_levels import UNIQUE_KEYS, levels_to
from dimse_ingestion.queries.contract import Query
from dimse_ingestion.queries.wire import EncodedLocated

_Match = TypeVar("_Match")
_UIDS = (
    (SOP_CLASS_UID, "sop_class_uid"),
    (SOP_INSTANCE_UID, "sop_instance_uid"),
    (UNIQUE_KEYS["STUDY"], "study_instance_uid"),
    (UNIQUE_KEYS["SERIES"], "series_instance_uid"),
)
Format = Callable[[DecodedRow], _Match]
"""Makes a match from a row."""


def elements_of_match(query: Query) -> Format[list[Element]]:
    """Return the format of a match: the query's keys and the unique keys, or all elements."""
    unique = (UNIQUE_KEYS[level] for level in levels_to(query.scope))
    wanted = {key.tag for key in query.keys} | {SPECIFIC_CHARACTER_SET, *unique}

    def format_row(row: DecodedRow) -> list[Element]:
        known = row.known
        return [known[tag] for tag in sorted(known) if query.all_keys or tag in wanted]

    return format_row


def located_only(row: DecodedRow) -> EncodedLocated:
    """Return the instance's SOP class and UIDs with the object's place: what names and reads it."""
    place = {column: row.columns[column] for column in sql_statements.PLACE}
    elements = [element(tag, "UI", row.columns[column]) for tag, column in _UIDS]
    return EncodedLocated(elements=msgspec.Raw(msgspec.json.encode(elements)), **place)


def located(row: DecodedRow) -> EncodedLocated:
    """Return the elements of the object itself, not those of its study's and series' rows."""
    place = {column: row.columns[column] for column in sql_statements.PLACE}
    return EncodedLocated(elements=msgspec.Raw(row.json["IMAGE"]), **place)

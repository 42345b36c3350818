"""Rows of the tables from an event: for each level its keys as columns, its elements as JSON.

No database is used here. `dicom.query_levels` has the tags of each level.
"""

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from dimse_ingestion.dicom import comparison, raw_items, uids
from dimse_ingestion.dicom.elements import SOP_CLASS_UID, SOP_INSTANCE_UID, Element
from dimse_ingestion.dicom.encoder import SPECIFIC_CHARACTER_SET
from dimse_ingestion.dicom.query_levels import COUNTS, KEYS, UNIQUE_KEYS
from dimse_ingestion.events.contract import ImageStoredEvent, InstanceOrigin

PATIENT_NAME = 0x00100010
_PATIENT_ID = 0x00100020
_ISSUER = 0x00100021
_COMPRESSED = b"z"
_PLAIN = b"j"
_COMPRESSED_FROM = 512
_LONGEST_SHARED = 16 * 1024  # characters of values
_LONGEST_KEY = 300  # characters: PostgreSQL's index entries have at most 2.7 KB
_COUNTED_AT_ONCE = 256 * 1024  # bytes
_LONGEST_NAME = 1024  # bytes of an object's name, as S3 allows
_NO_ORIGIN = InstanceOrigin()
Row = dict[str, Any]
Elements = Mapping[int, Element]

COLUMNS: dict[str, dict[int, tuple[str, str]]] = {
    "PATIENT": {
        _PATIENT_ID: ("patient_id", "LO"),
        0x00100030: ("patient_birth_date", "DA"),
    },
    "STUDY": {
        0x0020000D: ("study_instance_uid", "UI"),
        0x00080020: ("study_date", "DA"),
        0x00080030: ("study_time", "TM"),
        0x00080050: ("accession_number", "SH"),
        0x00200010: ("study_id", "SH"),
    },
    "SERIES": {
        0x0020000E: ("series_instance_uid", "UI"),
        0x00080060: ("modality", "CS"),
        0x00200011: ("series_number", "IS"),
    },
    "IMAGE": {
        SOP_INSTANCE_UID: ("sop_instance_uid", "UI"),
        SOP_CLASS_UID: ("sop_class_uid", "UI"),
        0x00200013: ("instance_number", "IS"),
    },
}
"""Tag → column and VR, for the keys that SQL compares."""
_EACH_LEVEL = frozenset({SPECIFIC_CHARACTER_SET})
_KNOWN = {f"{tag:08X}": tag for tag in _EACH_LEVEL.union(*KEYS.values()) - COUNTS.keys()}


@dataclass(frozen=True, slots=True)
class EventRows:
    """The rows that one event inserts or updates, without ids.

    `rank` orders objects by the time they were stored; no two are equal. `elements` are those that
    the study's and series' rows may have.
    """

    source: str
    rank: str
    elements: Elements
    instance: Row
    object: Row

    @property
    def key(self) -> tuple[str, str, str]:
        """Return the unique key of the event's object."""
        return self.source, self.object["bucket_name"], self.object["object_name"]

    @property
    def study_instance_uid(self) -> str:
        """Return the UID of the instance's study."""
        return _stripped(self.elements, UNIQUE_KEYS["STUDY"])

    @property
    def series_instance_uid(self) -> str:
        """Return the UID of the instance's series."""
        return _stripped(self.elements, UNIQUE_KEYS["SERIES"])

    def study(self) -> Row:
        """Return the study's row from this instance."""
        return study_row(self.elements, self.source, self.rank)

    def series(self) -> Row:
        """Return the series' row from this instance, without the study's id."""
        return series_row(self.elements, self.rank)


def extract_rows(event: ImageStoredEvent) -> EventRows:
    """Return the rows of an event.

    Raises ValueError with a sentence that names the tag when a UID is missing.
    """
    store = event.data.store
    elements = by_known_tag(event.data.image.elements)
    for level in ("STUDY", "SERIES", "IMAGE"):
        _check_uid(elements, UNIQUE_KEYS[level])
    if not store.provider or not 0 < len(store.object_name.encode()) <= _LONGEST_NAME:
        raise ValueError("The event must name its provider and its object.")
    source, rank = _clean(store.provider), _rank(event)
    instance = {"source": source, "rank": rank} | _columns("IMAGE", elements)
    instance["sop_class_uid"] = instance["sop_class_uid"] or ""
    return EventRows(source, rank, elements, instance, _object_row(event, instance))


def by_known_tag(elements: Iterable[Element]) -> dict[int, Element]:
    """Return the elements that belong to a level, by tag; the first one for each tag."""
    by_tag: dict[int, Element] = {}
    for each in elements:
        if tag := _KNOWN.get(each.group + each.element):
            by_tag.setdefault(tag, each)
    return by_tag


def study_row(elements: Elements, source: str, rank: str) -> Row:
    """Return a study's row from the elements of an instance."""
    own = _of_levels(elements, "PATIENT", "STUDY")
    make = _shared_study_row if _are_short(own) else _study_row
    return make(own) | {"source": source, "rank": rank}


def series_row(elements: Elements, rank: str) -> Row:
    """Return a series' row from the elements of an instance, without the study's id."""
    own = _of_levels(elements, "SERIES")
    make = _shared_series_row if _are_short(own) else _series_row
    return make(own) | {"rank": rank}


def _of_levels(elements: Elements, *levels: str) -> tuple[Element, ...]:
    wanted = _wanted(levels)
    return tuple([each for tag, each in elements.items() if tag in wanted])


@cache
def _wanted(levels: tuple[str, ...]) -> frozenset[int]:
    return _EACH_LEVEL.union(*(KEYS[name] for name in levels))


def _are_short(elements: Iterable[Element]) -> bool:
    """Return whether elements are text that may stay in memory."""
    length = 0
    for each in elements:
        if each.items is not None or each.inline_binary is not None or each.bulk is not None:
            return False
        length += len(each.value)
    return length <= _LONGEST_SHARED


def _study_row(elements: tuple[Element, ...]) -> Row:
    by_tag = by_known_tag(elements)
    return (
        {"elements": encode_elements(elements)}
        | _columns("PATIENT", by_tag)
        | _columns("STUDY", by_tag)
        | _patient_columns(by_tag)
    )


def _series_row(elements: tuple[Element, ...]) -> Row:
    by_tag = by_known_tag(elements)
    return {"elements": encode_elements(elements)} | _columns("SERIES", by_tag)


_shared_study_row = lru_cache(maxsize=64)(_study_row)
_shared_series_row = lru_cache(maxsize=64)(_series_row)
"""The same, made once for the instances of a study or series that arrive together."""


def _check_uid(elements: Elements, tag: int) -> None:
    element = elements.get(tag)
    if element is None or not uids.is_valid(uids.strip_padding(element.value)):
        raise ValueError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is missing or no UID.")


def _rank(event: ImageStoredEvent) -> str:
    """Return the rank by the event's time, not by its arrival: retries arrive in any order."""
    now = datetime.now(UTC)
    try:
        stored = min(datetime.fromisoformat(event.time).astimezone(UTC), now)
    except (ValueError, OverflowError):
        stored = now
    store = event.data.store
    return _clean(f"{stored:%Y%m%d%H%M%S%f} {store.bucket_name}/{store.object_name}")


def _patient_columns(elements: Elements) -> Row:
    patient_id, issuer = (_stripped(elements, tag) for tag in (_PATIENT_ID, _ISSUER))
    study = _stripped(elements, UNIQUE_KEYS["STUDY"])
    key = f"{patient_id}\x1f{issuer}" if patient_id else f"\x1f\x1f{study}"
    return {"patient_key": _bounded(key)} | _name_columns(elements.get(PATIENT_NAME))


def _name_columns(element: Element | None) -> Row:
    """Return the folded name, and its second and third component group for searches by each."""
    folded = _comparable(element, "PN")
    groups = [*folded.split("="), "", ""] if folded is not None else [None] * 3
    return {
        "patient_name": folded,
        "patient_name_ideographic": groups[1],
        "patient_name_phonetic": groups[2],
    }


def _columns(level: str, elements: Elements) -> Row:
    return {name: _comparable(elements.get(tag), vr) for tag, (name, vr) in COLUMNS[level].items()}


def _comparable(element: Element | None, vr: str) -> str | None:
    """Return a value as SQL compares it, or None if only Python can compare it."""
    if element is None or not element.value:
        return None if element is not None and (element.items or element.bulk) else ""
    value = _comparable_text(element.value, vr)
    has_nul = "\0" in (element.value if vr == "PN" else value)
    only_in_python = has_nul or "\\" in value or len(value) > _LONGEST_KEY
    return None if only_in_python else value


@lru_cache(maxsize=1024)
def _short_comparable(value: str, vr: str) -> str:
    return comparison.comparable(value, vr)


def _comparable_text(value: str, vr: str) -> str:
    """Return the value's form; that of a short one is remembered, because many instances share."""
    shared = len(value) <= _LONGEST_KEY
    return _short_comparable(value, vr) if shared else comparison.comparable(value, vr)


def _stripped(elements: Elements, tag: int) -> str:
    element = elements.get(tag)
    return _clean(element.value.strip(" \0")) if element else ""


def _clean(text: str) -> str:
    """Return the text without NUL, which no text in PostgreSQL can have."""
    return text.replace("\0", "")


def _bounded(text: str) -> str:
    if len(text) <= _LONGEST_KEY:
        return text
    return f"sha256 {hashlib.sha256(text.encode()).hexdigest()}"


def _object_row(event: ImageStoredEvent, instance: Row) -> Row:
    store, origin = event.data.store, event.data.origin or _NO_ORIGIN
    texts = {
        "bucket_name": store.bucket_name,
        "object_name": store.object_name,
        "event_id": event.id,
        "transfer_syntax_uid": event.data.image.transfer_syntax_uid,
        "sha256": store.sha256,
        "wado_internal_endpoint": store.wado_internal_endpoint,
        "wado_external_endpoint": store.wado_external_endpoint,
        "calling_ae_title": origin.calling_ae_title,
        "called_ae_title": origin.called_ae_title,
        "proxy_id": origin.proxy_id,
        "peer_address": origin.peer_address,
        "received_at": origin.received_at,
    }
    shared = {name: instance[name] for name in ("source", "rank", "sop_instance_uid")}
    return (
        {name: _clean(text) for name, text in texts.items()}
        | shared
        | {
            "size": store.size,
            "header_size": store.header_size,
            "elements": encode_elements(event.data.image.elements),
        }
    )


def encode_elements(elements: Sequence[Element]) -> bytes:
    """Return elements as they are stored in a column, compressed if they are long."""
    return _as_stored(raw_items.encoder.encode(elements))


def _as_stored(json: bytes) -> bytes:
    if len(json) < _COMPRESSED_FROM:
        return _PLAIN + json
    return _COMPRESSED + zlib.compress(json, 1)


def decode_elements(data: bytes) -> list[Element]:
    """Return the elements that `encode_elements` has encoded."""
    return raw_items.decode_elements(decompress(data))


def decompress(data: bytes) -> bytes:
    """Return the JSON of stored elements."""
    return zlib.decompress(data[1:]) if data[:1] == _COMPRESSED else data[1:]


def decompress_short(data: bytes, longest: int) -> bytes | None:
    """Return the JSON of stored elements, None if it has more than `longest` bytes."""
    if data[:1] != _COMPRESSED:
        return data[1:] if len(data) - 1 <= longest else None
    decompressor = zlib.decompressobj()
    json = decompressor.decompress(data[1:], max(1, longest))
    return json if decompressor.eof else None


def json_length(data: bytes) -> int:
    """Return the length of the JSON of stored elements, without holding it in memory."""
    if data[:1] != _COMPRESSED:
        return len(data) - 1
    decompressor = zlib.decompressobj()
    length = len(decompressor.decompress(data[1:], _COUNTED_AT_ONCE))
    while not decompressor.eof:
        length += len(decompressor.decompress(decompressor.unconsumed_tail, _COUNTED_AT_ONCE))
    return length

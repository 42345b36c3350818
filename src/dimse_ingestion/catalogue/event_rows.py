"""What an event tells each level: its keys as columns, its elements as JSON.

Pure: no database. Which tags belong to a level is `dicom.query_levels`' table.
"""

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from dimse_ingestion.dicom import comparing, uids
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.encoding import SPECIFIC_CHARACTER_SET
from dimse_ingestion.dicom.query_levels import COUNTS, KEYS, UNIQUE_KEYS
from dimse_ingestion.events.contract import ImageStoredEvent

PATIENT_NAME = 0x00100010
_PATIENT_ID = 0x00100020
_ISSUER = 0x00100021
_SOP_CLASS_UID = 0x00080016
_COMPRESSED = b"z"
_PLAIN = b"j"
_WORTH_COMPRESSING = 512
_LONGEST_KEY = 300  # characters: PostgreSQL's index entries have at most 2.7 KB
_LONGEST_NAME = 1024  # bytes of an object's name, as S3 allows
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Element])
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
        0x00080018: ("sop_instance_uid", "UI"),
        _SOP_CLASS_UID: ("sop_class_uid", "UI"),
        0x00200013: ("instance_number", "IS"),
    },
}
"""Tag → column and VR, for the keys that SQL compares."""
_KEPT = frozenset({SPECIFIC_CHARACTER_SET})
_KNOWN = {f"{tag:08X}": tag for tag in _KEPT.union(*KEYS.values()) - COUNTS.keys()}


@dataclass(frozen=True, slots=True)
class EventRows:
    """What one event makes or changes, without ids.

    `rank` is its place in the order in which objects were stored; no two are equal. `told` are the
    elements that its study and series may keep.
    """

    source: str
    rank: str
    told: Elements
    instance: Row
    object: Row

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells its object from others."""
        return self.source, self.object["bucket_name"], self.object["object_name"]

    @property
    def study_instance_uid(self) -> str:
        """Of the study it is in."""
        return _stripped(self.told, UNIQUE_KEYS["STUDY"])

    @property
    def series_instance_uid(self) -> str:
        """Of the series it is in."""
        return _stripped(self.told, UNIQUE_KEYS["SERIES"])

    def study(self) -> Row:
        """Its study's row, as it tells it."""
        return study_row(self.told, self.source, self.rank)

    def series(self) -> Row:
        """Its series' row, as it tells it, without the study's id."""
        return series_row(self.told, self.rank)


def extract_rows(event: ImageStoredEvent) -> EventRows:
    """What an event tells.

    Raises ValueError with a sentence that names the tag when a UID is missing.
    """
    store = event.data.store
    told = by_known_tag(event.data.image.elements)
    for level in ("STUDY", "SERIES", "IMAGE"):
        _check_uid(told, UNIQUE_KEYS[level])
    if not store.provider or not 0 < len(store.object_name.encode()) <= _LONGEST_NAME:
        raise ValueError("The event must name its provider and its object.")
    source, rank = _clean(store.provider), _rank(event)
    instance = {"source": source, "rank": rank} | _columns("IMAGE", told)
    instance["sop_class_uid"] = instance["sop_class_uid"] or ""
    return EventRows(source, rank, told, instance, _object(event, instance))


def by_known_tag(elements: Iterable[Element]) -> dict[int, Element]:
    """The elements that some level keeps, by tag; of two with one tag the first counts."""
    found: dict[int, Element] = {}
    for each in elements:
        if tag := _KNOWN.get(each.group + each.element):
            found.setdefault(tag, each)
    return found


def study_row(told: Elements, source: str, rank: str) -> Row:
    """A study's row as an instance tells it."""
    row = {"source": source, "rank": rank, "elements": _kept(told, "PATIENT", "STUDY")}
    return row | _columns("PATIENT", told) | _columns("STUDY", told) | _patient(told)


def series_row(told: Elements, rank: str) -> Row:
    """A series' row as an instance tells it, without the study's id."""
    return {"rank": rank, "elements": _kept(told, "SERIES")} | _columns("SERIES", told)


def _check_uid(elements: Elements, tag: int) -> None:
    found = elements.get(tag)
    if found is None or not uids.is_valid(uids.strip_padding(found.value)):
        raise ValueError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is missing or no UID.")


def _rank(event: ImageStoredEvent) -> str:
    """By the time of the event, not of its arrival: retries may pass each other."""
    now = datetime.now(UTC)
    try:
        stored = min(datetime.fromisoformat(event.time).astimezone(UTC), now)
    except (ValueError, OverflowError):
        stored = now
    store = event.data.store
    return _clean(f"{stored:%Y%m%d%H%M%S%f} {store.bucket_name}/{store.object_name}")


def _patient(elements: Elements) -> Row:
    patient_id, issuer = (_stripped(elements, tag) for tag in (_PATIENT_ID, _ISSUER))
    study = _stripped(elements, UNIQUE_KEYS["STUDY"])
    key = f"{patient_id}\x1f{issuer}" if patient_id else f"\x1f\x1f{study}"
    return {"patient_key": _bounded(key)} | _name(elements.get(PATIENT_NAME))


def _name(found: Element | None) -> Row:
    """The folded name; its second and third group apart, so that each can be searched."""
    folded = _comparable(found, "PN")
    groups = [*folded.split("="), "", ""] if folded is not None else [None] * 3
    return {
        "patient_name": folded,
        "patient_name_ideographic": groups[1],
        "patient_name_phonetic": groups[2],
    }


def _kept(told: Elements, *names: str) -> bytes:
    wanted = _KEPT.union(*(KEYS[name] for name in names))
    return encoded([each for tag, each in told.items() if tag in wanted])


def _columns(level: str, elements: Elements) -> Row:
    return {name: _comparable(elements.get(tag), vr) for tag, (name, vr) in COLUMNS[level].items()}


def _comparable(found: Element | None, vr: str) -> str | None:
    """A value as SQL compares it; None when it is none that SQL can compare."""
    if found is None or not found.value:
        return None if found is not None and (found.items or found.bulk) else ""
    value = comparing.comparable(found.value, vr)
    hidden = "\0" in (found.value if vr == "PN" else value)
    apart = hidden or "\\" in value or len(value) > _LONGEST_KEY
    return None if apart else value


def _stripped(elements: Elements, tag: int) -> str:
    found = elements.get(tag)
    return _clean(found.value.strip(" \0")) if found else ""


def _clean(text: str) -> str:
    """Without NUL, which no text in PostgreSQL can have."""
    return text.replace("\0", "")


def _bounded(text: str) -> str:
    if len(text) <= _LONGEST_KEY:
        return text
    return f"sha256 {hashlib.sha256(text.encode()).hexdigest()}"


def _object(event: ImageStoredEvent, instance: Row) -> Row:
    store = event.data.store
    texts = {
        "bucket_name": store.bucket_name,
        "object_name": store.object_name,
        "event_id": event.id,
        "transfer_syntax_uid": event.data.image.transfer_syntax_uid,
        "sha256": store.sha256,
        "wado_internal_endpoint": store.wado_internal_endpoint,
        "wado_external_endpoint": store.wado_external_endpoint,
    }
    shared = {name: instance[name] for name in ("source", "rank", "sop_instance_uid")}
    return (
        {name: _clean(text) for name, text in texts.items()}
        | shared
        | {
            "size": store.size,
            "header_size": store.header_size,
            "elements": encoded(event.data.image.elements),
        }
    )


def encoded(elements: list[Element]) -> bytes:
    """Elements as they are kept, compressed where it is worth it."""
    plain = _encoder.encode(elements)
    if len(plain) < _WORTH_COMPRESSING:
        return _PLAIN + plain
    return _COMPRESSED + zlib.compress(plain, 1)


def decoded(kept: bytes) -> list[Element]:
    """Return the reverse of `encoded`."""
    return _decoder.decode(plain(kept))


def plain(kept: bytes) -> bytes:
    """Return elements as they are kept in JSON, whose length says what they take in memory."""
    return zlib.decompress(kept[1:]) if kept[:1] == _COMPRESSED else kept[1:]


def decoded_json(elements: bytes) -> list[Element]:
    """Return the elements of `plain`."""
    return _decoder.decode(elements)

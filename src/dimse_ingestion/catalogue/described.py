"""What an event tells each level: its keys as columns, its elements as JSON.

Pure: no database. Which tags belong to a level is `dicom.query_levels`' table.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import msgspec

from dimse_ingestion.dicom import comparing, uids
from dimse_ingestion.dicom.elements import Element, by_tag
from dimse_ingestion.dicom.encoding import SPECIFIC_CHARACTER_SET
from dimse_ingestion.dicom.query_levels import COUNTS, KEYS, UNIQUE_KEYS
from dimse_ingestion.events.contract import ImageStoredEvent

_PATIENT_NAME = 0x00100010
_ISSUER = 0x00100021
_COMPRESSED = b"z"
_PLAIN = b"j"
_WORTH_COMPRESSING = 512
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Element])
Row = dict[str, Any]

COLUMNS: dict[str, dict[int, tuple[str, str]]] = {
    "PATIENT": {0x00100020: ("patient_id", "LO")},
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
        0x00080016: ("sop_class_uid", "UI"),
        0x00200013: ("instance_number", "IS"),
    },
}
"""Tag → column and VR, for the keys that SQL compares."""


@dataclass(frozen=True, slots=True)
class Described:
    """The rows that one event makes or changes, without ids."""

    patient: Row
    study: Row
    series: Row
    instance: Row
    object: Row


def described(event: ImageStoredEvent) -> Described:
    """What an event tells.

    Raises ValueError with a sentence that names the tag when a UID is missing.
    """
    elements = by_tag(event.data.image.elements)
    for level in ("STUDY", "SERIES", "IMAGE"):
        _check_uid(elements, UNIQUE_KEYS[level])
    source = {"source": event.data.store.provider}
    return Described(
        patient=source | _patient(elements),
        study=source | _level("STUDY", elements),
        series=_level("SERIES", elements),
        instance=source | _columns("IMAGE", elements),
        object=source | _object(event, elements),
    )


def _check_uid(elements: dict[int, Element], tag: int) -> None:
    found = elements.get(tag)
    if found is None or not uids.is_valid(found.value.strip()):
        raise ValueError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is missing or no UID.")


def _patient(elements: dict[int, Element]) -> Row:
    name = elements.get(_PATIENT_NAME)
    folded = comparing.folded_name(name.value) if name else ""
    issuer = elements.get(_ISSUER)
    row = _level("PATIENT", elements)
    return row | {"name": f"={folded}=", "issuer": issuer.value.strip() if issuer else ""}


def _level(level: str, elements: dict[int, Element]) -> Row:
    wanted = (KEYS[level] | {SPECIFIC_CHARACTER_SET}) - COUNTS.keys()
    kept = [each for tag, each in elements.items() if tag in wanted]
    return _columns(level, elements) | {"elements": encoded(kept)}


def _columns(level: str, elements: dict[int, Element]) -> Row:
    return {name: _column(elements.get(tag), vr) for tag, (name, vr) in COLUMNS[level].items()}


def _column(found: Element | None, vr: str) -> str:
    if found is None or not found.values:
        return ""
    return comparing.comparable(found.values[0], vr)


def _object(event: ImageStoredEvent, elements: dict[int, Element]) -> Row:
    store = event.data.store
    return {
        "object_name": store.object_name,
        "event_id": event.id,
        "bucket_name": store.bucket_name,
        "sop_instance_uid": elements[UNIQUE_KEYS["IMAGE"]].value.strip(),
        "transfer_syntax_uid": event.data.image.transfer_syntax_uid,
        "sha256": store.sha256,
        "size": store.size,
        "header_size": store.header_size,
        "wado_internal_endpoint": store.wado_internal_endpoint,
        "wado_external_endpoint": store.wado_external_endpoint,
        "elements": encoded(event.data.image.elements),
    }


def encoded(elements: list[Element]) -> bytes:
    """Elements as they are kept, compressed where it is worth it."""
    plain = _encoder.encode(elements)
    if len(plain) < _WORTH_COMPRESSING:
        return _PLAIN + plain
    return _COMPRESSED + zlib.compress(plain, 1)


def decoded(kept: bytes) -> list[Element]:
    """The reverse of `encoded`."""
    plain = zlib.decompress(kept[1:]) if kept[:1] == _COMPRESSED else kept[1:]
    return _decoder.decode(plain)

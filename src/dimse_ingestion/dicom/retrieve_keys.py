"""The identifier of a C-MOVE or C-GET: its level and unique keys (PS3.4 C.4.2.1.4 and C.4.3.1.3).

Other than a query, a retrieve is never universal: the unique key of its level must have a value.
Keys of other attributes are ignored. What the keys match is decided by the catalogue.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import Element, by_tag, element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.query_levels import LEVELS, QUERY_RETRIEVE_LEVEL, UNIQUE_KEYS
from dimse_ingestion.dicom.status import Status

_PATIENT_ROOT = frozenset({uids.PATIENT_ROOT_MOVE, uids.PATIENT_ROOT_GET})
_STUDY_ROOT = frozenset({uids.STUDY_ROOT_MOVE, uids.STUDY_ROOT_GET})
_WILDCARDS = frozenset("*?")


@dataclass(frozen=True, slots=True)
class RetrieveKeys:
    """The level of a valid retrieve, and the keys that its instances match."""

    level: str
    keys: list[Element]


def parse_retrieve(
    identifier: Iterable[Element], sop_class_uid: str, *, relational: bool = False
) -> RetrieveKeys:
    """Return level and keys of an identifier; raises DimseFailure A900 that names the tag.

    The levels above must have a single value each. In a relational retrieve they may be absent or
    empty (PS3.4 C.4.2.2.2), but not the level's own key.
    """
    elements = by_tag(identifier)
    model = _model(sop_class_uid)
    level = _text(elements, QUERY_RETRIEVE_LEVEL)
    if level not in model:
        raise _mismatch(f"Level (0008,0052) must be one of {', '.join(model)}.")
    above = model[: model.index(level)]
    keys = [_key(elements, each, single=True, required=not relational) for each in above]
    keys.append(_key(elements, level, single=level == "PATIENT", required=True))
    return RetrieveKeys(level, [each for each in keys if each is not None])


def _model(sop_class_uid: str) -> tuple[str, ...]:
    if sop_class_uid in _PATIENT_ROOT:
        return LEVELS
    if sop_class_uid in _STUDY_ROOT:
        return LEVELS[1:]
    raise DimseFailure(Status.SOP_CLASS_NOT_SUPPORTED, "Only Patient and Study Root are served.")


def _key(
    elements: dict[int, Element], level: str, *, single: bool, required: bool
) -> Element | None:
    """Return the unique key of a level, or None when it has no value and is not required."""
    tag = UNIQUE_KEYS[level]
    values = [each.strip(" \0") for each in _text(elements, tag).split("\\")]
    values = [each for each in values if each]
    name = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    if not values:
        if required:
            raise _mismatch(f"{name} must have a value.")
        return None
    if single and len(values) > 1:
        raise _mismatch(f"{name} must have a single value.")
    if level == "PATIENT":
        if _WILDCARDS.intersection(values[0]):
            raise _mismatch(f"{name} must have no wild card.")
        return element(tag, "LO", values[0])
    if not all(map(uids.is_valid, values)):
        raise _mismatch(f"{name} has a value that is no UID.")
    return element(tag, "UI", "\\".join(dict.fromkeys(values)))


def _text(elements: dict[int, Element], tag: int) -> str:
    found = elements.get(tag)
    return found.value.strip() if found else ""


def _mismatch(sentence: str) -> DimseFailure:
    return DimseFailure(Status.DOES_NOT_MATCH_SOP_CLASS, sentence)

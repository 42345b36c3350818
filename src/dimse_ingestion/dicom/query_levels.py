"""The query information models (PS3.4 C.6) as tables of levels and keys.

An identifier is checked against the model of its SOP class, and its keys are split into supported
and unsupported ones. Values are compared in `matching`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from dimse_ingestion.dicom.elements import Element, by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicom.uids import PATIENT_ROOT_FIND, STUDY_ROOT_FIND

LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")
UNIQUE_KEYS = {
    "PATIENT": 0x00100020,
    "STUDY": 0x0020000D,
    "SERIES": 0x0020000E,
    "IMAGE": 0x00080018,
}
QUERY_RETRIEVE_LEVEL = 0x00080052
RETRIEVE_AE_TITLE = 0x00080054
INSTANCE_AVAILABILITY = 0x00080056
MODALITIES_IN_STUDY = 0x00080061
SOP_CLASSES_IN_STUDY = 0x00080062

COUNTS = {
    0x00201200: ("PATIENT", "STUDY"),
    0x00201202: ("PATIENT", "SERIES"),
    0x00201204: ("PATIENT", "IMAGE"),
    0x00201206: ("STUDY", "SERIES"),
    0x00201208: ("STUDY", "IMAGE"),
    0x00201209: ("SERIES", "IMAGE"),
}
"""Number of ... Related ...: tag → (of which level, how many of which)."""

KEYS: dict[str, frozenset[int]] = {
    "PATIENT": frozenset(
        # Name, ID, issuer, birth date and time, sex, other IDs and names, ethnic group, comments
        {0x00100010, 0x00100020, 0x00100021, 0x00100030, 0x00100032, 0x00100040}
        | {0x00101000, 0x00101001, 0x00101002, 0x00102160, 0x00104000}
        | {0x00201200, 0x00201202, 0x00201204}
    ),
    "STUDY": frozenset(
        # date, time, accession number, ID, instance UID
        {0x00080020, 0x00080030, 0x00080050, 0x00200010, 0x0020000D}
        # modalities and SOP classes in study, referring and reading physicians, descriptions
        | {0x00080061, 0x00080062, 0x00080090, 0x00081030, 0x00081032, 0x00081060, 0x00081080}
        # patient's age, size, weight, occupation, history
        | {0x00101010, 0x00101020, 0x00101030, 0x00102180, 0x001021B0}
        | {0x00201206, 0x00201208}
    ),
    "SERIES": frozenset(
        # modality, number, instance UID, description, body part, laterality, date, time
        {0x00080060, 0x00200011, 0x0020000E, 0x0008103E, 0x00180015, 0x00200060}
        | {0x00080021, 0x00080031, 0x00181030, 0x00185100}
        # equipment, institution, people
        | {0x00080070, 0x00080080, 0x00081010, 0x00081040, 0x00081050, 0x00081070, 0x00081090}
        # performed procedure step, request attributes
        | {0x00400244, 0x00400245, 0x00400253, 0x00400254, 0x00400275}
        | {0x00201209}
    ),
    "IMAGE": frozenset({0x00080016, 0x00080018, 0x00200013}),
}
"""Required, unique and optional keys of each level that can be answered; at IMAGE every other
attribute of the instance can be too."""

_NOT_KEYS = frozenset({0x00080005, 0x00080052, 0x00080054, 0x00080056, 0x00080201})
_MODELS = {PATIENT_ROOT_FIND: LEVELS, STUDY_ROOT_FIND: LEVELS[1:]}


@dataclass(frozen=True, slots=True)
class QueryKeys:
    """The level of a valid query, and its supported and unsupported keys (FF01)."""

    level: str
    keys: list[Element]
    unsupported: list[Element]


def levels_to(level: str) -> tuple[str, ...]:
    """Return the levels from PATIENT down to this one."""
    return LEVELS[: LEVELS.index(level) + 1]


@cache
def supported_keys(level: str) -> frozenset[int]:
    """Return the supported tags of a level and of the levels above it."""
    return frozenset().union(*(KEYS[each] for each in levels_to(level)))


def parse_query(
    identifier: Iterable[Element], sop_class_uid: str, *, relational: bool = False
) -> QueryKeys:
    """Return the level and keys of an identifier; raises DimseFailure A900 that names the tag.

    Without relational queries the unique keys of the levels above must have one value each (PS3.4
    C.4.1.2.1). Group lengths and elements that are no keys are ignored.
    """
    elements = by_tag(identifier)
    level = _level(elements, sop_class_uid)
    if not relational:
        _check_keys_above(elements, level, _MODELS[sop_class_uid])
    keys = [each for tag, each in elements.items() if tag not in _NOT_KEYS]
    answerable = [each for each in keys if _is_answerable(each, level)]
    unsupported = [each for each in keys if not _is_answerable(each, level)]
    return QueryKeys(level, answerable, unsupported)


def _level(elements: dict[int, Element], sop_class_uid: str) -> str:
    model = _MODELS.get(sop_class_uid)
    if model is None:
        raise DimseFailure(
            Status.SOP_CLASS_NOT_SUPPORTED, "Only Patient and Study Root are served."
        )
    found = elements.get(QUERY_RETRIEVE_LEVEL)
    level = found.value.strip() if found else ""
    if level not in model:
        raise _mismatch(f"Level (0008,0052) must be one of {', '.join(model)}.")
    return level


def _check_keys_above(elements: dict[int, Element], level: str, model: tuple[str, ...]) -> None:
    for above in model[: model.index(level)]:
        tag = UNIQUE_KEYS[above]
        key = elements.get(tag)
        value = key.value.strip() if key else ""
        if not value or "\\" in value or "*" in value or "?" in value:
            name = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
            raise _mismatch(f"{name} must have one value to ask at {level}.")


def _is_answerable(key: Element, level: str) -> bool:
    if key.tag in supported_keys(level):
        return True
    private = (key.tag >> 16) & 1
    return level == "IMAGE" and not private


def _mismatch(sentence: str) -> DimseFailure:
    return DimseFailure(Status.DOES_NOT_MATCH_SOP_CLASS, sentence)

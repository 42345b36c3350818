"""Instances as events tell them, for the catalogue's tests, and what they should answer.

`expected` is the catalogue as the standard's rules alone make it: grouping and matching in memory.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

from dimse_ingestion.dicom.elements import Element, by_tag, element
from dimse_ingestion.dicom.matching import predicate
from dimse_ingestion.dicom.query_levels import COUNTS, KEYS, LEVELS, UNIQUE_KEYS, levels_to
from dimse_ingestion.events.contract import Image, ImageStored, ImageStoredEvent, Store
from dimse_ingestion.queries.contract import Query

PROVIDER = "radiology"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_CHARACTER_SET = 0x00080005
_COLLECTED = {0x00080061: 0x00080060, 0x00080062: 0x00080016}

KEYWORDS = {
    "SpecificCharacterSet": (_CHARACTER_SET, "CS"),
    "SOPClassUID": (0x00080016, "UI"),
    "SOPInstanceUID": (0x00080018, "UI"),
    "StudyDate": (0x00080020, "DA"),
    "StudyTime": (0x00080030, "TM"),
    "AccessionNumber": (0x00080050, "SH"),
    "Modality": (0x00080060, "CS"),
    "ModalitiesInStudy": (0x00080061, "CS"),
    "SOPClassesInStudy": (0x00080062, "UI"),
    "ReferringPhysicianName": (0x00080090, "PN"),
    "StudyDescription": (0x00081030, "LO"),
    "SeriesDescription": (0x0008103E, "LO"),
    "PatientName": (0x00100010, "PN"),
    "PatientID": (0x00100020, "LO"),
    "IssuerOfPatientID": (0x00100021, "LO"),
    "PatientBirthDate": (0x00100030, "DA"),
    "StudyInstanceUID": (0x0020000D, "UI"),
    "SeriesInstanceUID": (0x0020000E, "UI"),
    "StudyID": (0x00200010, "SH"),
    "SeriesNumber": (0x00200011, "IS"),
    "InstanceNumber": (0x00200013, "IS"),
    "NumberOfPatientRelatedStudies": (0x00201200, "IS"),
    "NumberOfPatientRelatedSeries": (0x00201202, "IS"),
    "NumberOfPatientRelatedInstances": (0x00201204, "IS"),
    "NumberOfStudyRelatedSeries": (0x00201206, "IS"),
    "NumberOfStudyRelatedInstances": (0x00201208, "IS"),
    "NumberOfSeriesRelatedInstances": (0x00201209, "IS"),
    "ImageComments": (0x00204000, "LT"),
    "AcquisitionDateTime": (0x0008002A, "DT"),
}


def elements(**values: str) -> list[Element]:
    """Return elements by keyword, in the order of their tags."""
    made = (element(*KEYWORDS[keyword], value) for keyword, value in values.items())
    return sorted(made, key=lambda each: each.tag)


def event(
    name: str = "",
    *,
    second: int = 0,
    study: str = "1.2.1",
    series: str = "1.2.1.1",
    instance: str = "1.2.1.1.1",
    provider: str = PROVIDER,
    more: Iterable[Element] = (),
    **values: str,
) -> ImageStoredEvent:
    """Return the object `name`, stored at a second; every event has an id of its own."""
    name = name or f"instances/{instance}"
    unique = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance}
    attributes = elements(**({"SOPClassUID": CT_IMAGE} | unique | values))
    return ImageStoredEvent(
        id=f"{name}-{second}",
        source="tests",
        time=(_BEGIN + timedelta(seconds=second)).isoformat(),
        data=ImageStored(
            Image("1.2.840.10008.1.2.1", [*attributes, *more]),
            Store(provider, "space", name, size=9),
        ),
    )


def query(scope: str, limit: int | None = None, offset: int = 0, **values: str) -> Query:
    """Return a question by keywords."""
    return Query(scope=scope, keys=elements(**values), limit=limit, offset=offset)


def read(match: Iterable[Element], keyword: str) -> str | None:
    """Return a match's value, None when it has none."""
    found = by_tag(match).get(KEYWORDS[keyword][0])
    return found.value if found else None


_Instance = dict[int, Element]
_Ranked = tuple[str, str]


class Expected:
    """Events taken in any order, and the answers they make."""

    def __init__(
        self, events: Iterable[ImageStoredEvent], duplicates: Literal["latest", "first"]
    ) -> None:
        stored: dict[str, ImageStoredEvent] = {}
        for each in events:
            stored.setdefault(each.data.store.object_name, each)
        pick = max if duplicates == "latest" else min
        by_uid: dict[str, list[ImageStoredEvent]] = {}
        for each in stored.values():
            by_uid.setdefault(_value(_read(each), UNIQUE_KEYS["IMAGE"]), []).append(each)
        answering = sorted((pick(each, key=_rank) for each in by_uid.values()), key=_rank)
        self._instances = [_read(each) for each in answering]

    def matches(self, request: Query) -> list[list[Element]]:
        """Return all matches, in no certain order."""
        test = predicate(request.keys, combined_date_time=request.combined_date_time)
        wanted = {key.tag for key in request.keys} | {_CHARACTER_SET}
        wanted |= {UNIQUE_KEYS[level] for level in levels_to(request.scope)}
        return [
            [each for tag, each in sorted(entity.items()) if tag in wanted]
            for entity in self._entities(request.scope)
            if test(entity)
        ]

    def _entities(self, scope: str) -> Iterator[_Instance]:
        for members in self._groups(scope).values():
            yield {_CHARACTER_SET: element(_CHARACTER_SET, "CS")} | self._entity(members[-1], scope)

    def _groups(self, scope: str) -> dict[tuple[str, ...], list[_Instance]]:
        groups: dict[tuple[str, ...], list[_Instance]] = {}
        for each in self._instances:
            groups.setdefault(self._identity(each, scope), []).append(each)
        return groups

    def _identity(self, instance: _Instance, scope: str) -> tuple[str, ...]:
        """Identify a patient by the latest values of the study; without an ID, by the study."""
        study = _value(instance, UNIQUE_KEYS["STUDY"])
        if scope == "PATIENT":
            last = self._last(instance, "STUDY")
            patient = _value(last, UNIQUE_KEYS["PATIENT"])
            return (patient, _value(last, 0x00100021)) if patient else ("", "", study)
        if scope == "IMAGE":
            return (_value(instance, UNIQUE_KEYS["IMAGE"]),)
        return (study, _value(instance, UNIQUE_KEYS["SERIES"]))[: LEVELS.index(scope)]

    def _last(self, instance: _Instance, scope: str) -> _Instance:
        identity = self._identity(instance, scope)
        return [each for each in self._instances if self._identity(each, scope) == identity][-1]

    def _entity(self, instance: _Instance, scope: str) -> _Instance:
        entity: _Instance = {}
        above: frozenset[int] = frozenset()
        for level in levels_to(scope)[1:] or ("STUDY",):
            last = self._last(instance, level)
            own = KEYS[level] | KEYS["PATIENT"] if level == "STUDY" else KEYS[level]
            keeps = last.keys() if level == "IMAGE" else own | {_CHARACTER_SET}
            entity |= {tag: each for tag, each in last.items() if tag in keeps and tag not in above}
            above |= own
        return entity | self._computed(instance, scope)

    def _computed(self, instance: _Instance, scope: str) -> _Instance:
        computed = {}
        for tag, (of, below) in COUNTS.items():
            if of in levels_to(scope):
                number = len({self._identity(each, below) for each in self._related(instance, of)})
                computed[tag] = element(tag, "IS", str(number))
        for tag, collected in _COLLECTED.items():
            if scope != "PATIENT":
                level = "SERIES" if collected in KEYS["SERIES"] else "IMAGE"
                related = self._related(instance, "STUDY")
                values = {_value(self._last(each, level), collected) for each in related}
                vr = "CS" if tag == min(_COLLECTED) else "UI"
                computed[tag] = element(tag, vr, "\\".join(sorted(values - {""})))
        return computed

    def _related(self, instance: _Instance, of: str) -> list[_Instance]:
        identity = self._identity(instance, of)
        return [each for each in self._instances if self._identity(each, of) == identity]


def _read(stored: ImageStoredEvent) -> _Instance:
    return by_tag(stored.data.image.elements)


def _rank(stored: ImageStoredEvent) -> _Ranked:
    return stored.time, stored.data.store.object_name


def _value(instance: _Instance, tag: int) -> str:
    return instance[tag].value.strip() if tag in instance else ""

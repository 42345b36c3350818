"""Catalogue in memory, for tests and trials: small, with the standard's matching rules.

A match of a level is a group of instances with the same unique keys; its elements are those of the
group's last instance. `refusing` makes it fail as a catalogue does.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import TYPE_CHECKING

from dimse_ingestion.dicom.elements import Element, by_tag, element
from dimse_ingestion.dicom.matching import predicate
from dimse_ingestion.dicom.query_levels import (
    COUNTS,
    MODALITIES_IN_STUDY,
    SOP_CLASSES_IN_STUDY,
    UNIQUE_KEYS,
    levels_to,
    supported_keys,
)
from dimse_ingestion.queries.contract import Located, ObjectsDigest

if TYPE_CHECKING:
    from dimse_ingestion.failures import Failure
    from dimse_ingestion.queries.contract import Query

_CHARACTER_SET = 0x00080005
_COLLECTED = {MODALITIES_IN_STUDY: 0x00080060, SOP_CLASSES_IN_STUDY: 0x00080016}
_Instance = dict[int, Element]


class MemoryQueryClient:
    """Answer queries from a list of instances, to which more can be added."""

    def __init__(self, instances: Iterable[list[Element]] = ()) -> None:
        self.instances = list(instances)
        self._objects: dict[str, Located] = {}
        self.refusing: Failure | None = None  # what every call raises while it is set

    def add(self, located: Located) -> None:
        """Add an instance with its object."""
        self.instances.append(located.elements)
        self._objects[_instance_uid(by_tag(located.elements))] = located

    async def matches(self, query: "Query") -> AsyncGenerator[list[Element], None]:
        """Yield matches in the order in which their first instance was added."""
        self._refuse()
        for each in self._matching_entities(query):
            yield _answer(each, query)

    async def objects(self, query: "Query") -> AsyncGenerator[Located, None]:
        """Yield those of the matching instances that were added with their objects."""
        self._refuse()
        for each in self._matching_entities(query):
            if located := self._objects.get(_instance_uid(each)):
                yield located

    async def count(self, query: "Query") -> int | None:
        """Return the number of matches."""
        self._refuse()
        return len(self._matching_entities(query))

    async def digest(self, query: "Query") -> ObjectsDigest:
        """Return a digest of the matching instances' objects."""
        located = [each async for each in self.objects(query)]
        digests = "".join(each.sha256 + each.transfer_syntax_uid for each in located)
        return ObjectsDigest(len(located), digests)

    async def missing(self, bucket_name: str, object_names: Sequence[str]) -> list[str]:
        """Return the names of objects that were not added."""
        self._refuse()
        known = {(each.bucket_name, each.object_name) for each in self._objects.values()}
        return [each for each in object_names if (bucket_name, each) not in known]

    async def check(self) -> None:
        """Raise `refusing`, if set."""
        self._refuse()

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    def _refuse(self) -> None:
        if self.refusing:
            raise self.refusing

    def _matching_entities(self, query: "Query") -> list[_Instance]:
        matches = predicate(query.keys, combined_date_time=query.combined_date_time)
        entities = self._entities(query.scope)
        if query.newest_first:
            entities.reverse()
        if query.after:
            uids = [each[UNIQUE_KEYS["STUDY"]].value for each in entities]
            entities = entities[uids.index(query.after) + 1 :] if query.after in uids else []
        matching = [each for each in entities if matches(each)]
        end = None if query.limit is None else query.offset + query.limit
        return matching[query.offset : end]

    def _entities(self, scope: str) -> list[_Instance]:
        instances = [by_tag(each) for each in self.instances]
        return [
            members[-1] | _computed(instances, members[-1])
            for members in _groups(instances, scope).values()
        ]


def _instance_uid(instance: _Instance) -> str:
    return instance[UNIQUE_KEYS["IMAGE"]].value


def _identity(instance: _Instance, scope: str) -> tuple[str, ...]:
    unique = (UNIQUE_KEYS[level] for level in levels_to(scope))
    return tuple(instance[tag].value if tag in instance else "" for tag in unique)


def _groups(instances: list[_Instance], scope: str) -> dict[tuple[str, ...], list[_Instance]]:
    groups: dict[tuple[str, ...], list[_Instance]] = {}
    for each in instances:
        groups.setdefault(_identity(each, scope), []).append(each)
    return groups


def _computed(instances: list[_Instance], of: _Instance) -> _Instance:
    """Return the keys that no instance has: counts, and values of all of a study's instances."""
    computed = {}
    for tag, (scope, counted) in COUNTS.items():
        related = _related(instances, of, scope)
        computed[tag] = element(tag, "IS", str(len(_groups(related, counted))))
    for tag, collected in _COLLECTED.items():
        related = [each for each in _related(instances, of, "STUDY") if collected in each]
        values = sorted({each[collected].value for each in related})
        vr = related[0][collected].vr if related else "UI"
        computed[tag] = element(tag, vr, "\\".join(values))
    return computed


def _related(instances: list[_Instance], of: _Instance, scope: str) -> list[_Instance]:
    return [each for each in instances if _identity(each, scope) == _identity(of, scope)]


def _answer(entity: _Instance, query: "Query") -> list[Element]:
    unique = {UNIQUE_KEYS[level] for level in levels_to(query.scope)}
    wanted = {key.tag for key in query.keys} | unique | {_CHARACTER_SET}
    elements = {_CHARACTER_SET: element(_CHARACTER_SET, "CS")} | entity
    if query.all_keys:
        wanted |= supported_keys(query.scope) if query.scope != "IMAGE" else elements.keys()
    return [elements[tag] for tag in sorted(elements) if tag in wanted]

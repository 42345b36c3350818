"""Queries out: matches found a page at a time, decided in Python by the standard's rules.

SQL narrows (`selecting`), `dicom.matching` decides. A page is a transaction of its own, so that a
slow reader holds neither a connection nor a snapshot; memory is bounded by a page.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import Executor
from threading import Event
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine, Select

from dimse_ingestion.catalogue import sql_statements
from dimse_ingestion.catalogue.database import database_errors, read_connection
from dimse_ingestion.catalogue.event_rows import decoded, decoded_json, plain
from dimse_ingestion.dicom.elements import Element, by_tag, element
from dimse_ingestion.dicom.encoding import SPECIFIC_CHARACTER_SET
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.matching import all_of, criteria
from dimse_ingestion.dicom.query_levels import (
    COUNTS,
    KEYS,
    LEVELS,
    MODALITIES_IN_STUDY,
    SOP_CLASSES_IN_STUDY,
    UNIQUE_KEYS,
    levels_to,
)
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.queries.contract import Located, Query

_FIRST_PAGE = 50
_LARGEST_PAGE = 800
_MOST_CANDIDATES = 50_000
_LONG_PAGE = 2 * 2**20  # bytes, compressed
_LONG_DECODED = 8 * 2**20  # bytes of JSON, of which the elements take some ten times as many
_TELLING = {level: sql_statements.telling(level) for level in LEVELS}
_IN_STUDY = {MODALITIES_IN_STUDY: "CS", SOP_CLASSES_IN_STUDY: "UI"}
_Known = dict[int, Element]
_Found = TypeVar("_Found")
_Shown = Callable[[Any, _Known], _Found]
"""What a row that matches is given as; from the row and what it says."""


def pages(
    engine: Engine, query: Query, source: str, executor: Executor, longest: float
) -> AsyncGenerator[list[list[Element]], None]:
    """The matches of one storage space, each with the keys asked that are known, some at a time.

    Pages are fetched in `executor`; each may take `longest` seconds. Raises DimseFailure: A900 for
    a key that can't be asked, transient A700 when the database fails or takes too long.
    """
    return _pages(
        lambda: _Asking(engine, query, source, longest, _returned(query)), query, executor
    )


def located_pages(
    engine: Engine, query: Query, source: str, executor: Executor, longest: float
) -> AsyncGenerator[list[Located], None]:
    """The instances that match, with the objects that answer for them; otherwise like `pages`."""
    return _pages(lambda: _Asking(engine, query, source, longest, _located), query, executor)


async def _pages(
    asked: "Callable[[], _Asking[_Found]]", query: Query, executor: Executor
) -> AsyncGenerator[list[_Found], None]:
    loop = asyncio.get_running_loop()
    asking = await loop.run_in_executor(executor, asked)
    skip, left = query.offset, query.limit
    try:
        while left != 0:
            found = await loop.run_in_executor(executor, asking.next_page)
            if found is None:
                return
            given, skip = found[skip:][:left], max(0, skip - len(found))
            left = left if left is None else left - len(given)
            if given:
                yield given
    finally:
        asking.left.set()


class _Asking(Generic[_Found]):
    """One query under way; every page in a thread of its own."""

    def __init__(
        self, engine: Engine, query: Query, source: str, longest: float, shown: _Shown[_Found]
    ) -> None:
        self.left = Event()  # nobody waits any more
        self._engine = engine
        self._longest = longest
        self._deadline = 0.0
        self._level = query.scope
        self._source = source
        self._shown = shown
        combined = query.combined_date_time
        self._criteria = criteria(query.keys, combined_date_time=combined)
        self._holds = all_of(self._criteria)
        self._computing = _Computing(source, query)
        self._limit = query.limit
        self._begun = False
        self._places: deque[Any] | None = None
        self._rows: deque[Any] = deque()
        self._after: object = None
        self._size = _FIRST_PAGE

    def next_page(self) -> list[_Found] | None:
        """The matches among the next rows; None when there are no more rows."""
        self._deadline = time.monotonic() + self._longest
        with (
            database_errors(),
            read_connection(self._engine, self._longest, self.left) as connection,
        ):
            return self._page(connection)

    def _page(self, connection: Connection) -> list[_Found] | None:
        if self._criteria and not self._begun:
            self._places = self._candidates(connection)
        self._begun = True
        if not self._rows:
            rows = connection.execute(self._next_rows()).all()
            if not rows and not self._places:
                return None
            self._after = rows[-1].place if rows else self._after
            self._size = _next_size(self._size, self._level, rows)
            self._rows.extend(rows)
        return list(self._matching(connection))

    def _candidates(self, connection: Connection) -> deque[Any] | None:
        """Where all rows are that may match, in order; None if there are very many."""
        few = self._limit is not None and self._limit <= _LARGEST_PAGE
        most = _LARGEST_PAGE if few else _MOST_CANDIDATES
        statement = sql_statements.candidates(self._level, self._source, self._criteria, most + 1)
        found = connection.execute(statement).scalars().all()
        return deque(sorted(found)) if len(found) <= most else None

    def _next_rows(self) -> Select[Any]:
        if self._places is None:
            return sql_statements.page(
                self._level, self._source, self._criteria, self._after, self._size
            )
        number = min(self._size, len(self._places))
        places = [self._places.popleft() for _ in range(number)]
        return sql_statements.chosen(self._level, self._source, places)

    def _decoded(self) -> Iterator[tuple[Any, _Known]]:
        """The next rows and what they say, as many as may stand in memory at once."""
        length = 0
        while self._rows and length < _LONG_DECODED:
            row = self._rows.popleft()._mapping
            told = {each: plain(row[f"{each}_elements"]) for each in _TELLING[self._level]}
            length += sum(map(len, told.values()))
            yield row, _known(self._level, told)

    def _matching(self, connection: Connection) -> Iterator[_Found]:
        known = list(self._decoded())
        self._computing.add(connection, known)
        for row, elements in known:
            self._check_time()
            if self._holds(elements):
                yield self._shown(row, elements)

    def _check_time(self) -> None:
        """Raise A700 when this page has been compared for too long, or nobody waits for it."""
        if self.left.is_set() or time.monotonic() > self._deadline:
            sentence = f"The query took longer than {self._longest:g} s: narrow it."
            raise DimseFailure(Status.OUT_OF_RESOURCES, sentence)


def _returned(query: Query) -> _Shown[list[Element]]:
    """A match: the keys asked with the unique ones, or all that are known."""
    unique = (UNIQUE_KEYS[level] for level in levels_to(query.scope))
    wanted = {key.tag for key in query.keys} | {SPECIFIC_CHARACTER_SET, *unique}

    def returned(_: Any, known: _Known) -> list[Element]:
        return [known[tag] for tag in sorted(known) if query.all_keys or tag in wanted]

    return returned


def _located(row: Any, _: _Known) -> Located:
    """What the object itself says, not what its study and series do."""
    place = {column: row[column] for column in sql_statements.PLACE}
    return Located(elements=decoded(row["IMAGE_elements"]), **place)


def _next_size(size: int, level: str, rows: Any) -> int:
    """Twice as many rows, unless what was kept of these is long."""
    length = sum(len(row._mapping[f"{_TELLING[level][-1]}_elements"]) for row in rows)
    return max(1, size // 2) if length > _LONG_PAGE else min(2 * size, _LARGEST_PAGE)


def _known(level: str, told: Mapping[str, bytes]) -> _Known:
    """What a row says: keys of a level above by that level alone, so that levels agree."""
    elements = {SPECIFIC_CHARACTER_SET: element(SPECIFIC_CHARACTER_SET, "CS")}
    above: frozenset[int] = frozenset()
    for each in _TELLING[level]:
        own = by_tag(decoded_json(told[each]))
        elements |= {tag: value for tag, value in own.items() if tag not in above}
        above |= KEYS[each] | KEYS["PATIENT"]
    return elements


def _computed_for_all(query: Query) -> set[int]:
    """What the entities of a level have beside their elements."""
    if not query.all_keys:
        return set()
    own = {tag for tag, (level, _) in COUNTS.items() if level == query.scope}
    return own | (_IN_STUDY.keys() if query.scope == "STUDY" else set())


class _Computing:
    """The keys no instance holds: numbers of related ones, what a study has in all."""

    def __init__(self, source: str, query: Query) -> None:
        self._source = source
        levels = levels_to(query.scope)
        tags = {key.tag for key in query.keys} | _computed_for_all(query)
        self._counts = [tag for tag in tags if tag in COUNTS and COUNTS[tag][0] in levels]
        self._collected = [tag for tag in tags if tag in _IN_STUDY and "STUDY" in levels]

    def add(self, connection: Connection, known: list[tuple[Any, dict[int, Element]]]) -> None:
        """Add them to each row's elements, by one statement for each key."""
        for tag in self._counts:
            of, below = COUNTS[tag]
            identities = {row[f"{of}_id"] for row, _ in known}
            statement = sql_statements.counted(of, below, self._source, identities)
            numbers = {row[0]: row[1] for row in connection.execute(statement)}
            for row, elements in known:
                elements[tag] = element(tag, "IS", str(numbers.get(row[f"{of}_id"], 0)))
        for tag in self._collected:
            collected = self._of_studies(connection, tag, {row["STUDY_id"] for row, _ in known})
            for row, elements in known:
                values = sorted(collected.get(row["STUDY_id"], ()))
                elements[tag] = element(tag, _IN_STUDY[tag], "\\".join(values))

    def _of_studies(
        self, connection: Connection, tag: int, studies: set[object]
    ) -> dict[object, set[str]]:
        collected: dict[object, set[str]] = {}
        statement = sql_statements.distinct_in_studies(tag, studies)
        for study, value in connection.execute(statement):
            if value:
                collected.setdefault(study, set()).add(value)
        return collected

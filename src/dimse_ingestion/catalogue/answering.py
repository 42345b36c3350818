"""Queries out: matches found a page at a time, decided in Python by the standard's rules.

SQL narrows (`selecting`), `dicom.matching` decides. A page is a statement of its own, so that a
slow reader holds no transaction; memory is bounded by a page.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine

from dimse_ingestion.catalogue import selecting
from dimse_ingestion.catalogue.database import failures_told
from dimse_ingestion.catalogue.described import decoded
from dimse_ingestion.dicom.elements import Element, by_tag, element
from dimse_ingestion.dicom.encoding import SPECIFIC_CHARACTER_SET
from dimse_ingestion.dicom.matching import Criterion, Predicate, criteria, predicate
from dimse_ingestion.dicom.query_levels import (
    COUNTS,
    MODALITIES_IN_STUDY,
    SOP_CLASSES_IN_STUDY,
    UNIQUE_KEYS,
    levels_to,
)
from dimse_ingestion.queries.contract import Query

_FIRST_PAGE = 50
_PAGE = 500
_IN_STUDY = {MODALITIES_IN_STUDY: "CS", SOP_CLASSES_IN_STUDY: "UI"}


async def matches(engine: Engine, query: Query, source: str) -> AsyncIterator[list[Element]]:
    """The matches of one storage space, each with the keys asked that are known.

    Raises DimseFailure: A900 for a key that can't be asked, transient A700 when the database
    fails.
    """
    asking = _Asking(engine, query, source)
    skipped = given = 0
    while (found := await asyncio.to_thread(asking.next_page)) is not None:
        for match in found:
            if query.limit is not None and given >= query.limit:
                return
            if skipped < query.offset:
                skipped += 1
                continue
            given += 1
            yield match
        if query.limit is not None and given >= query.limit:
            return


@dataclass(frozen=True, slots=True)
class _Row:
    """What is known of one patient, study, series or instance."""

    ids: dict[str, int]
    elements: dict[int, Element]


class _Asking:
    """One query under way; every page in a thread of its own."""

    def __init__(self, engine: Engine, query: Query, source: str) -> None:
        self._engine = engine
        self._level = query.scope
        self._source = source
        self._returned = {key.tag for key in query.keys} | {
            SPECIFIC_CHARACTER_SET,
            *(UNIQUE_KEYS[level] for level in levels_to(query.scope)),
        }
        self._criteria: dict[int, Criterion] = criteria(query.keys)
        self._holds: Predicate = predicate(query.keys)
        self._computed = [key.tag for key in query.keys if key.tag in COUNTS.keys() | _IN_STUDY]
        self._after = 0
        self._size = _FIRST_PAGE

    def next_page(self) -> list[list[Element]] | None:
        """The matches among the next rows; None when there are no more rows."""
        with failures_told(), self._engine.connect() as connection:
            rows = connection.execute(
                selecting.page(self._level, self._source, self._criteria, self._after, self._size)
            ).all()
            if not rows:
                return None
            self._after = rows[-1].id
            self._size = _PAGE
            return list(self._matching(connection, rows))

    def _matching(self, connection: Connection, rows: Any) -> Iterator[list[Element]]:
        for row in rows:
            known = self._known(row)
            for tag in self._computed:
                if value := self._compute(connection, tag, known.ids):
                    known.elements[tag] = value
            if self._holds(known.elements):
                yield [each for tag, each in known.elements.items() if tag in self._returned]

    def _known(self, row: Any) -> _Row:
        values = row._mapping
        elements: dict[int, Element] = {}
        ids: dict[str, int] = {}
        for level in levels_to(self._level):
            ids[level] = values[f"{level}_id"]
            elements |= by_tag(decoded(values[f"{level}_elements"]))
        return _Row(ids, elements)

    def _compute(self, connection: Connection, tag: int, ids: dict[str, int]) -> Element | None:
        if tag in COUNTS:
            of, below = COUNTS[tag]
            if of not in ids:
                return None
            number = connection.execute(selecting.counted(of, below, ids[of])).scalar_one()
            return element(tag, "IS", str(number))
        if "STUDY" not in ids:
            return None
        found = connection.execute(selecting.distinct_in_study(tag, ids["STUDY"])).scalars()
        return element(tag, _IN_STUDY[tag], "\\".join(sorted(filter(None, found))))

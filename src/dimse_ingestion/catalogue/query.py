"""Execution of queries: pages of matches, decided in Python by the standard's matching rules.

SQL selects candidates (`sql_statements`), `dicom.matching` decides. Each page is a transaction of
its own, so that a slow reader holds neither a connection nor a snapshot. A page is small, or of
one long match; the long matches of all queries share a budget (`answer_memory`).
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from operator import itemgetter
from threading import Event
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import Connection, Engine

from dimse_ingestion.catalogue import sql_statements
from dimse_ingestion.catalogue.answer_memory import AnswerMemory
from dimse_ingestion.catalogue.computed_keys import ComputedKeys
from dimse_ingestion.catalogue.database import database_errors, read_connection
from dimse_ingestion.catalogue.match_formats import Format, elements_of_match, located, located_only
from dimse_ingestion.catalogue.row_decoder import DecodedRow, RowDecoder
from dimse_ingestion.catalogue.sql_execution import Row, Statement
from dimse_ingestion.catalogue.sql_statements import Columns, RowSelection
from dimse_ingestion.dicom.criteria import criteria
from dimse_ingestion.dicom.matching import all_of
from dimse_ingestion.failures import LimitExceeded
from dimse_ingestion.queries.contract import Query

if TYPE_CHECKING:
    from dimse_ingestion.dicom.elements import Element
    from dimse_ingestion.queries.wire import EncodedLocated

_FIRST_PAGE = 50
_LARGEST_PAGE = 800
_MOST_CANDIDATES = 50_000
_LONG_PAGE = 2 * 2**20  # bytes, compressed
_LONG_DECODED = 2 * 2**20  # bytes of JSON, of which the elements take some ten times as many
_NO_PLACES: deque[Any] = deque()
_Match = TypeVar("_Match")


def pages(
    engine: Engine,
    query: Query,
    source: str,
    executor: Executor,
    timeout: float,
    memory: AnswerMemory | None = None,
) -> "AsyncGenerator[Page[list[Element]], None]":
    """Yield pages of the matches in one storage space, each match with the keys that have a value.

    Pages are fetched in `executor`; each may take `timeout` seconds. A long match is a page of its
    own, and has its share of `memory` until the next page is asked for. Raises Invalid for an
    invalid key, LimitExceeded for a page that takes too long, Unavailable when the database fails
    or long matches of other queries take up the memory.
    """
    paged_query = _PagedQuery(engine, query, source, timeout, elements_of_match(query))
    return _pages(paged_query, query, executor, memory or AnswerMemory(timeout))


def located_pages(
    engine: Engine,
    query: Query,
    source: str,
    executor: Executor,
    timeout: float,
    memory: AnswerMemory | None = None,
) -> "AsyncGenerator[Page[EncodedLocated], None]":
    """Yield pages of the matching instances with their current objects; otherwise like `pages`."""
    format_row = located_only if query.locations_only else located
    columns: Columns = "place" if query.locations_only else "own level"
    paged_query = _PagedQuery(engine, query, source, timeout, format_row, columns)
    return _pages(paged_query, query, executor, memory or AnswerMemory(timeout))


def count_matches(
    engine: Engine, query: Query, source: str, timeout: float, most: int
) -> int | None:
    """Count the matches in one storage space; None if more than `most` rows had to be decoded.

    Blocks. Raises Failure as `pages`.
    """
    paged_query = _PagedQuery(engine, query, source, timeout, lambda _: None)
    return paged_query.count(most)


class Page(list[_Match]):
    """Matches; `is_last` when it is known that no more follow."""

    is_last = False

    def first(self, number: int) -> "Page[_Match]":
        """Return the first matches as a page that is not the last."""
        return Page(self[:number])


async def _pages(
    paged_query: "_PagedQuery[_Match]", query: Query, executor: Executor, memory: AnswerMemory
) -> AsyncGenerator[Page[_Match], None]:
    loop = asyncio.get_running_loop()
    remaining = query.limit
    try:
        while remaining != 0 and paged_query.has_more:
            async with memory.reserved(paged_query.length_of_long_row):
                page = Page(await loop.run_in_executor(executor, paged_query.next_page))
                if remaining is not None:
                    del page[remaining:]
                    remaining -= len(page)
                page.is_last = remaining == 0 or not paged_query.has_more
                if page:
                    yield page
    finally:
        paged_query.cancelled.set()


class _PagedQuery(Generic[_Match]):
    """A query that is being executed; each page may be fetched by another thread."""

    def __init__(
        self,
        engine: Engine,
        query: Query,
        source: str,
        timeout: float,
        format_row: Format[_Match],
        columns: Columns = "all levels",
    ) -> None:
        self.cancelled = Event()
        self.has_more = True
        """Whether there may be more matches."""
        self.length_of_long_row = 0
        """Bytes of JSON of the next row, if `next_page` left it out because it is long."""
        self._engine = engine
        self._timeout = timeout
        self._deadline = 0.0
        self._query = query
        self._level = query.scope
        self._format = format_row
        self._columns = columns
        self._selection = RowSelection(query.scope, source, {}, query.newest_first, query.after)
        self._matches = all_of({})
        self._computed_keys = ComputedKeys(source, query)
        self._limit = query.limit
        self._skip = query.offset
        self._is_started = False
        self._places: deque[Any] | None = None
        self._rows: deque[Row] = deque()
        self._after: object = None
        wanted = _FIRST_PAGE if query.limit is None else query.limit + query.offset
        self._size = max(1, min(_FIRST_PAGE, wanted))

    def next_page(self) -> list[_Match]:
        """Return the matches among the next rows, possibly none, and set `has_more`.

        A long row that comes next is left to the next call, before which its memory is reserved.
        """
        with self._connection() as connection:
            matches = self._page(connection)
        page, self._skip = matches[self._skip :], max(0, self._skip - len(matches))
        return page

    def count(self, most: int) -> int | None:
        """Return the number of all matches; None if more than `most` rows had to be decoded."""
        with self._connection() as connection:
            if self._selection.is_exact:
                return int(self._selection.count().column(connection)[0])
            places = self._selection.candidates(most + 1).column(connection)
        if len(places) > most:
            return None
        number = 0
        while self.has_more:
            number += len(self.next_page())
        return number

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Connect; keys are parsed before, in this thread, because there may be many."""
        self._deadline = time.monotonic() + self._timeout
        if not self._is_started:
            self._parse_keys()
        with (
            database_errors(),
            read_connection(self._engine, self._timeout, self.cancelled) as connection,
        ):
            yield connection

    def _parse_keys(self) -> None:
        query = self._query
        parsed = criteria(query.keys, combined_date_time=query.combined_date_time)
        selection = replace(self._selection, criteria=parsed)
        if not selection.is_exact:
            self._matches, self._columns = all_of(parsed), "all levels"
        self._selection = replace(selection, columns=self._columns)

    def _page(self, connection: Connection) -> list[_Match]:
        if not self._is_started:
            self._is_started = True
            self._start(connection)
        if not self._rows and self._places != _NO_PLACES:
            self._fetch_rows(connection)
        matches = list(self._matching(connection))
        self.has_more = bool(self._rows) or self._places != _NO_PLACES
        return matches

    def _start(self, connection: Connection) -> None:
        """Fetch the rows themselves if unique keys name a few, else the places of candidates."""
        if self._selection.is_pinpointed(_FIRST_PAGE):
            rows = self._selection.pinpointed(_FIRST_PAGE + 1).rows(connection)
            if len(rows) <= _FIRST_PAGE:
                self._rows.extend(self._ordered(rows, key=itemgetter("place")))
                self._places = deque()
                return
        if self._selection.criteria:
            self._places = self._candidates(connection)
        if self._places is not None and self._selection.is_exact:
            while self._skip and self._places:  # each place is a match
                self._places.popleft()
                self._skip -= 1

    def _fetch_rows(self, connection: Connection) -> None:
        rows = self._next_rows().rows(connection)
        if self._places is None and len(rows) < self._size:
            self._places = deque()  # these were the last
        self._after = rows[-1]["place"] if rows else self._after
        self._size = _next_size(self._size, self._level, rows)
        self._rows.extend(rows)

    def _candidates(self, connection: Connection) -> deque[Any] | None:
        """Return the places of all rows that may match, in order; None if there are very many."""
        has_small_limit = self._limit is not None and self._limit <= _LARGEST_PAGE
        most = _LARGEST_PAGE if has_small_limit else _MOST_CANDIDATES
        places = self._selection.candidates(most + 1).column(connection)
        return deque(self._ordered(places)) if len(places) <= most else None

    def _ordered(self, rows: Iterable[Any], key: Callable[[Any], Any] | None = None) -> list[Any]:
        return sorted(rows, key=key, reverse=self._selection.newest_first)

    def _next_rows(self) -> Statement:
        if self._places is None:
            skip = self._skip if self._selection.is_exact else 0  # each row is a match
            self._skip -= skip
            return self._selection.page(self._after, self._size, skip)
        number = min(self._size, len(self._places))
        places = [self._places.popleft() for _ in range(number)]
        return self._selection.rows_at(places)

    def _decode_rows(self) -> Iterator[DecodedRow]:
        """Yield the next rows with their elements, as many as may be in memory at once."""
        decoder = RowDecoder(self._level, self._columns)
        if self.length_of_long_row:
            self.length_of_long_row = 0
            yield decoder.decode(self._rows.popleft())
            return
        left = _LONG_DECODED
        while self._rows and (row := decoder.decode_short(self._rows[0], left)):
            self._rows.popleft()
            left -= row.length
            yield row
        if self._rows and left == _LONG_DECODED:
            self.length_of_long_row = decoder.length(self._rows[0])

    def _matching(self, connection: Connection) -> Iterator[_Match]:
        rows = list(self._decode_rows())
        self._computed_keys.add(connection, rows)
        for row in rows:
            self._check_time()
            if self._matches(row.known):
                yield self._format(row)

    def _check_time(self) -> None:
        """Raise LimitExceeded when this page takes too long, or the query is cancelled."""
        if self.cancelled.is_set() or time.monotonic() > self._deadline:
            sentence = f"The query took longer than {self._timeout:g} s: narrow it."
            raise LimitExceeded(sentence)


def _next_size(size: int, level: str, rows: Iterable[Row]) -> int:
    """Return twice the number of rows, or half of it if the elements of these rows are long."""
    column = f"{sql_statements.levels_with_elements(level)[-1]}_elements"
    length = sum(len(row.get(column, b"")) for row in rows)
    return max(1, size // 2) if length > _LONG_PAGE else min(2 * size, _LARGEST_PAGE)

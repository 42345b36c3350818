"""Statements that batches of events execute, prepared once.

SQLAlchemy's work for an execution costs several times SQLite's own, and most of a small batch's
time. So the driver of SQLite gets text and values. PostgreSQL, where a statement costs a round
trip, executes them by SQLAlchemy, which joins rows into one statement. What is executed, and why,
is in `record` and `hierarchy`.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from sqlalchemy import ClauseElement, Column, Connection, Table, bindparam, insert, select, update
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.exc import DBAPIError

Row = dict[str, Any]
_DIALECT = pysqlite.dialect()
_LONGEST_FILLED = 1024  # values; a longer list has a text of its own


class _Text:
    """A statement's text for SQLite, and the names of its parameters in their order."""

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> None:
        compiled: Any = statement.compile(dialect=_DIALECT, column_keys=columns)
        self.text = str(compiled)
        self._names: list[str] = compiled.positiontup

    def values(self, row: Row) -> list[Any]:
        """Return the values of a row in the order of the parameters."""
        return [row[name] for name in self._names]


class Lookup:
    """A look-up of the rows of a table whose keys are in lists of values."""

    def __init__(self, columns: Iterable["Column[Any]"], *keys: "Column[Any]") -> None:
        self._columns, self._keys = list(columns), keys
        names = [each.name for each in self._columns]
        self._row: Any = namedtuple("_Row", names)  # type: ignore[misc] # names of this table
        self._expanding = select(*self._columns).where(
            *(key.in_(bindparam(key.name, expanding=True)) for key in keys)
        )
        self._texts: dict[tuple[int, ...], str] = {}

    def rows(self, connection: Connection, *lists: Iterable[Any]) -> Sequence[Any]:
        """Return the rows, with columns as attributes, for a list of values of each key."""
        if not _is_sqlite(connection):
            values = {key.name: list(each) for key, each in zip(self._keys, lists, strict=True)}
            return connection.execute(self._expanding, values).all()
        filled = [_filled(list(each)) for each in lists]
        if not all(filled):
            return []
        text = self._text(tuple(map(len, filled)))
        with _driver(connection, text) as driver:
            found = driver.execute(text, list(chain.from_iterable(filled)))
            return [self._row(*each) for each in found]

    def _text(self, lengths: tuple[int, ...]) -> str:
        """Return the text for lists of these lengths."""
        if (text := self._texts.get(lengths)) is None:
            conditions = (
                key.in_([bindparam(None, type_=key.type) for _ in range(length)])
                for key, length in zip(self._keys, lengths, strict=True)
            )
            text = self._texts[lengths] = _Text(select(*self._columns).where(*conditions)).text
        return text


class Insertion:
    """Insertion of rows with all columns but `id`, which the database gives."""

    def __init__(self, table: Table) -> None:
        self._statement = insert(table).returning(table.c.id, sort_by_parameter_order=True)
        names = [each.name for each in table.c if each is not table.c.id]
        self._text = _Text(insert(table).returning(table.c.id), names)

    def ids(self, connection: Connection, rows: Sequence[Row]) -> Sequence[int]:
        """Insert rows and return their ids in order."""
        if not rows:
            return []
        if not _is_sqlite(connection):
            return connection.execute(self._statement, rows).scalars().all()
        text, values = self._text.text, self._text.values
        with _driver(connection, text) as driver:
            return [driver.execute(text, values(each)).fetchall()[0][0] for each in rows]


class Replacement:
    """Replacement of the values of columns, in rows with given ids."""

    def __init__(self, table: Table, *names: str) -> None:
        """Replace the columns of these names, without names all but `id`."""
        self._names = names or tuple(each.name for each in table.c if each is not table.c.id)
        new: dict[Any, Any] = {table.c[name]: bindparam(f"new_{name}") for name in self._names}
        self._statement = update(table).where(table.c.id == bindparam("row_id")).values(new)
        self._text = _Text(self._statement)

    def execute(self, connection: Connection, rows: Iterable[tuple[int, Row]]) -> None:
        """Write the rows of these ids."""
        parameters = [
            {"row_id": identity} | {f"new_{name}": row[name] for name in self._names}
            for identity, row in rows
        ]
        if not parameters:
            return
        if not _is_sqlite(connection):
            connection.execute(self._statement, parameters)
            return
        with _driver(connection, self._text.text) as driver:
            driver.executemany(self._text.text, map(self._text.values, parameters))


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


@contextmanager
def _driver(connection: Connection, text: str) -> Iterator[sqlite3.Connection]:
    """Use the driver's connection, within the transaction; errors are raised as SQLAlchemy's."""
    driver: Any = connection.connection.driver_connection
    try:
        yield driver
    except sqlite3.Error as error:
        raise DBAPIError.instance(text, None, error, sqlite3.Error, hide_parameters=True) from error


def _filled(values: list[Any]) -> list[Any]:
    """Repeat the last value until the length is a power of two, so that few texts are needed."""
    if not 1 < len(values) <= _LONGEST_FILLED:
        return values
    return values + values[-1:] * ((1 << (len(values) - 1).bit_length()) - len(values))

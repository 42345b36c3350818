"""Statements that batches of events execute, prepared once.

SQLAlchemy's work for an execution costs several times the driver's own, and most of a small batch's
time. So the drivers get text and values. What is executed, and why, is in `record` and `hierarchy`;
transactions begin and end in `database`.
"""

from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import (
    ARRAY,
    ClauseElement,
    Column,
    Delete,
    Dialect,
    Select,
    Table,
    any_,
    bindparam,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.dialects.sqlite import pysqlite

Row = dict[str, Any]
_SQLITE: Dialect = pysqlite.dialect()
_POSTGRESQL: Dialect = psycopg.dialect()  # type: ignore[no-untyped-call]
_LONGEST_FILLED = 1024  # values; a longer list has a text of its own


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction on the connection of a driver, sqlite3's or psycopg's."""

    driver: Any
    is_sqlite: bool


class _Text:
    """A statement's text for both drivers, and SQLite's parameters in their order."""

    def __init__(
        self,
        for_sqlite: ClauseElement,
        for_postgresql: ClauseElement,
        columns: Sequence[str] | None = None,
    ) -> None:
        compiled: Any = for_sqlite.compile(dialect=_SQLITE, column_keys=columns)
        self._names: list[str] = compiled.positiontup
        self._sqlite = str(compiled)
        self._postgresql = str(for_postgresql.compile(dialect=_POSTGRESQL, column_keys=columns))

    def of(self, transaction: Transaction) -> str:
        """Return the text for a transaction's driver."""
        return self._sqlite if transaction.is_sqlite else self._postgresql

    def values(self, transaction: Transaction, row: Row) -> Sequence[Any] | Mapping[str, Any]:
        """Return the values of a row as a transaction's driver takes them."""
        return [row[name] for name in self._names] if transaction.is_sqlite else row


class Statement:
    """A statement with parameters."""

    def __init__(self, statement: "Select[Any] | Delete") -> None:
        self._text = _Text(statement, statement)

    def execute(self, transaction: Transaction, **values: Any) -> Any:
        """Execute it and return the driver's cursor, whose rows are tuples."""
        text = self._text.of(transaction)
        return transaction.driver.execute(text, self._text.values(transaction, values))


class Lookup:
    """A look-up of the rows of a table whose keys are in lists of values."""

    def __init__(self, columns: Iterable["Column[Any]"], *keys: "Column[Any]") -> None:
        self._columns, self._keys = list(columns), keys
        names = [each.name for each in self._columns]
        self._row: Any = namedtuple("_Row", names)  # type: ignore[misc] # names of this table
        conditions = (key == any_(bindparam(key.name, type_=ARRAY(key.type))) for key in keys)
        statement = select(*self._columns).where(*conditions)
        self._postgresql = str(statement.compile(dialect=_POSTGRESQL))
        self._texts: dict[tuple[int, ...], str] = {}

    def rows(self, transaction: Transaction, *lists: Iterable[Any]) -> Sequence[Any]:
        """Return the rows, with columns as attributes, for a list of values of each key."""
        if transaction.is_sqlite:
            filled = [_filled(list(each)) for each in lists]
            if not all(filled):
                return []
            text = self._text(tuple(map(len, filled)))
            found = transaction.driver.execute(text, [*chain.from_iterable(filled)])
        else:
            values = {key.name: list(each) for key, each in zip(self._keys, lists, strict=True)}
            found = transaction.driver.execute(self._postgresql, values)
        return [*map(self._row._make, found)]

    def _text(self, lengths: tuple[int, ...]) -> str:
        """Return SQLite's text for lists of these lengths."""
        if (text := self._texts.get(lengths)) is None:
            conditions = (
                key.in_([bindparam(None, type_=key.type) for _ in range(length)])
                for key, length in zip(self._keys, lengths, strict=True)
            )
            statement = select(*self._columns).where(*conditions)
            text = self._texts[lengths] = str(statement.compile(dialect=_SQLITE))
        return text


class Insertion:
    """Insertion of rows with all columns but `id`, which the database gives.

    With `unless_known`, a row whose unique key another row has is left out.
    """

    def __init__(self, table: Table, *, unless_known: bool = False) -> None:
        names = [each.name for each in table.c if each is not table.c.id]
        for_sqlite, for_postgresql = insert(table), insert(table)
        if unless_known:
            for_sqlite = sqlite.insert(table).on_conflict_do_nothing()
            for_postgresql = postgresql.insert(table).on_conflict_do_nothing()
        returning = for_sqlite.returning(table.c.id), for_postgresql.returning(table.c.id)
        self._text = _Text(*returning, names)

    def ids(self, transaction: Transaction, rows: Sequence[Row]) -> list[Any]:
        """Insert rows and return their ids in order, None for each that is left out."""
        text, driver = self._text.of(transaction), transaction.driver
        if transaction.is_sqlite or len(rows) <= 1:
            values = (self._text.values(transaction, each) for each in rows)
            return [_id(driver.execute(text, each).fetchall()) for each in values]
        cursor = driver.cursor()
        cursor.executemany(text, rows, returning=True)  # all of them in one round trip
        ids = [_id(cursor.fetchall())]
        while cursor.nextset():
            ids.append(_id(cursor.fetchall()))
        return ids


class Replacement:
    """Replacement of the values of columns, in rows with given ids."""

    def __init__(self, table: Table, *names: str) -> None:
        """Replace the columns of these names, without names all but `id`."""
        self._names = names or tuple(each.name for each in table.c if each is not table.c.id)
        new: dict[Any, Any] = {table.c[name]: bindparam(f"new_{name}") for name in self._names}
        statement = update(table).where(table.c.id == bindparam("row_id")).values(new)
        self._text = _Text(statement, statement)

    def execute(self, transaction: Transaction, rows: Iterable[tuple[int, Row]]) -> None:
        """Write the rows of these ids."""
        parameters = [
            self._text.values(
                transaction,
                {"row_id": identity} | {f"new_{name}": row[name] for name in self._names},
            )
            for identity, row in rows
        ]
        text = self._text.of(transaction)
        if len(parameters) == 1:
            transaction.driver.execute(text, parameters[0])
        elif parameters:
            transaction.driver.cursor().executemany(text, parameters)


def _id(rows: Sequence[Sequence[Any]]) -> Any:
    return rows[0][0] if rows else None


def _filled(values: list[Any]) -> list[Any]:
    """Repeat the last value until the length is a power of two, so that few texts are needed."""
    if not 1 < len(values) <= _LONGEST_FILLED:
        return values
    return values + values[-1:] * ((1 << (len(values) - 1).bit_length()) - len(values))

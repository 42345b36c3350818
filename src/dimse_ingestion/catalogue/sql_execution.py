"""Execution of statements of queries: by SQLite's driver as text made once, or by SQLAlchemy.

SQLAlchemy's work for an execution costs several times SQLite's own, and most of a short query's
time. PostgreSQL, where a statement costs a round trip, executes them by SQLAlchemy. What they
select is in `sql_statements`.
"""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, cast

from sqlalchemy import Connection, Select
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.exc import DBAPIError

Row = Mapping[str, Any]
_DIALECT = pysqlite.dialect()
_LONGEST_LIST = 1024  # values; a statement with a longer one is SQLAlchemy's
_LIST = re.compile(r"__\[POSTCOMPILE_\w+\]")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement and its parameters; `is_prepared` if it is executed again with others.

    A parameter may be a list of values, as `bindparam(expanding=True)` takes it.
    """

    select: Select[Any]
    parameters: Mapping[str, Any]
    is_prepared: bool = True

    def rows(self, connection: Connection) -> Sequence[Row]:
        """Return the rows by the names of their columns; raises SQLAlchemy's errors."""
        if (lists := self._lists_for_driver(connection)) is None:
            rows = connection.execute(self.select, self.parameters).mappings().all()
            return cast("Sequence[Row]", rows)
        found, names = self._execute(connection, lists)
        return [dict(zip(names, row, strict=True)) for row in found]

    def column(self, connection: Connection) -> Sequence[Any]:
        """Return the values of the first column; raises SQLAlchemy's errors."""
        return [row[0] for row in self.tuples(connection)]

    def tuples(self, connection: Connection) -> Sequence[Any]:
        """Return the rows as tuples; raises SQLAlchemy's errors."""
        if (lists := self._lists_for_driver(connection)) is None:
            return connection.execute(self.select, self.parameters).all()
        return self._execute(connection, lists)[0]

    def _lists_for_driver(self, connection: Connection) -> dict[str, list[Any]] | None:
        """Return the parameters that are lists, None if the driver does not execute it."""
        if not self.is_prepared or connection.dialect.name != "sqlite":
            return None
        lists = {
            name: _filled(value)
            for name, value in self.parameters.items()
            if isinstance(value, list)
        }
        return lists if all(0 < len(each) <= _LONGEST_LIST for each in lists.values()) else None

    def _execute(
        self, connection: Connection, lists: dict[str, list[Any]]
    ) -> tuple[list[Any], list[str]]:
        lengths = tuple((name, len(values)) for name, values in lists.items())
        text, names, constants = _text(self.select, lengths)
        known = {**constants, **self.parameters}
        values = chain.from_iterable(lists.get(name) or (known[name],) for name in names)
        driver: Any = connection.connection.driver_connection
        try:
            if not driver.in_transaction:
                driver.execute("BEGIN")  # the statements of a page see one state
            cursor = driver.execute(text, list(values))
            return cursor.fetchall(), [each[0] for each in cursor.description]
        except sqlite3.Error as error:
            raise DBAPIError.instance(
                text, None, error, sqlite3.Error, hide_parameters=True
            ) from error


@lru_cache(maxsize=1024)
def _text(
    select: Select[Any], lengths: tuple[tuple[str, int], ...]
) -> tuple[str, list[str], dict[str, Any]]:
    """Return the text for lists of these lengths, its parameters in order, and constant ones."""
    compiled: Any = select.compile(dialect=_DIALECT)
    names: list[str] = compiled.positiontup
    lists = dict(lengths)
    marks = (", ".join("?" * lists[name]) for name in names if name in lists)
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return _LIST.sub(lambda _: next(marks), str(compiled)), names, constants


def _filled(values: list[Any]) -> list[Any]:
    """Repeat the last value until the length is a power of two, so that few texts are needed."""
    if not 1 < len(values) <= _LONGEST_LIST:
        return values
    return values + values[-1:] * ((1 << (len(values) - 1).bit_length()) - len(values))

"""Instances put into their series and studies, and those kept in step with what answers.

A study (or series) says what its answering instance with the highest rank says. That holds whatever
the order of events, because one that loses an instance is told anew from those it still has. Which
object answers for an instance is decided in `recording`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from dimse_ingestion.catalogue.event_rows import (
    EventRows,
    Row,
    by_known_tag,
    decoded,
    series_row,
    study_row,
)
from dimse_ingestion.catalogue.tables import instances, objects, series, studies

Duplicates = Literal["latest", "first"]
_Key = tuple[Any, str]


class _Statements:
    """What is done with one table, put together once: that costs more than its execution."""

    def __init__(self, table: Table, whose: str, which: str) -> None:
        keys = table.c[whose], table.c[which]
        self.find = select(table.c.id, table.c.rank, *keys).where(
            keys[0].in_(bindparam("whose", expanding=True)),
            keys[1].in_(bindparam("which", expanding=True)),
        )
        self.insert = insert(table).returning(table.c.id, sort_by_parameter_order=True)
        new: dict[Any, Any] = {
            each: bindparam(f"new_{each.name}") for each in table.c if each is not table.c.id
        }
        self.update = update(table).where(table.c.id == bindparam("its_id")).values(new)


_STUDIES = _Statements(studies, "source", "study_instance_uid")
_SERIES = _Statements(series, "study", "series_instance_uid")
_INSTANCES = _Statements(instances, "source", "sop_instance_uid")


def supersedes(duplicates: Duplicates, rank: str, earlier: str) -> bool:
    """Whether an object of `rank` answers rather than one of rank `earlier`."""
    return rank > earlier if duplicates == "latest" else rank < earlier


@dataclass(frozen=True, slots=True)
class CurrentObject:
    """An object, by its id, that answers from now on; `earlier` is its instance's row till now."""

    told: EventRows
    object: int
    earlier: Any


def place(connection: Connection, answering: Sequence[CurrentObject]) -> None:
    """Write instances, series and studies for what answers from now on."""
    if not answering:
        return
    told = [each.told for each in answering]
    study_keys = [(each.source, each.study_instance_uid) for each in told]
    best = _best(study_keys, told)
    study_of = _brought_up_to_date(connection, _STUDIES, best, lambda key: best[key].study())

    series_keys = [
        (study_of[key], each.series_instance_uid)
        for key, each in zip(study_keys, told, strict=True)
    ]
    first = _best(series_keys, told)
    series_of = _brought_up_to_date(
        connection, _SERIES, first, lambda key: first[key].series() | {"study": key[0]}
    )
    placed = [
        each.told.instance | {"study": key[0], "series": series_of[key], "object": each.object}
        for each, key in zip(answering, series_keys, strict=True)
    ]
    _write(connection, answering, placed)
    _settle(connection, _left(answering, placed))


def _best(keys: Iterable[_Key], told: Iterable[EventRows]) -> dict[_Key, EventRows]:
    """Of those with one key, the one with the highest rank."""
    best: dict[_Key, EventRows] = {}
    for key, each in zip(keys, told, strict=True):
        if key not in best or each.rank > best[key].rank:
            best[key] = each
    return best


def _brought_up_to_date(
    connection: Connection,
    statements: _Statements,
    told: Mapping[_Key, EventRows],
    row: Callable[[_Key], Row],
) -> dict[_Key, int]:
    """The ids of rows by key, which are inserted where missing and told anew where outranked."""
    found = _found(connection, statements, told)
    ids = {key: identity for key, (identity, _) in found.items()}
    if missing := [key for key in told if key not in found]:
        made = connection.execute(statements.insert, [row(key) for key in missing]).scalars()
        ids |= dict(zip(missing, made, strict=True))
    outranked = [key for key, (_, rank) in found.items() if told[key].rank > rank]
    _update(connection, statements, [(ids[key], row(key)) for key in outranked])
    return ids


def _found(
    connection: Connection, statements: _Statements, keys: Collection[_Key]
) -> dict[_Key, tuple[int, str]]:
    """Id and rank by key, of those of `keys` that are there."""
    wanted = {"whose": list({key[0] for key in keys}), "which": list({key[1] for key in keys})}
    rows = connection.execute(statements.find, wanted)
    found = {(row[2], row[3]): (row[0], row[1]) for row in rows}
    return {key: found[key] for key in keys if key in found}


def _update(
    connection: Connection, statements: _Statements, rows: Sequence[tuple[int, Row]]
) -> None:
    """Write rows by their ids."""
    if rows:
        parameters = [
            {"its_id": identity} | {f"new_{name}": value for name, value in row.items()}
            for identity, row in rows
        ]
        connection.execute(statements.update, parameters)


def _write(
    connection: Connection, answering: Sequence[CurrentObject], placed: Sequence[Row]
) -> None:
    pairs = list(zip(answering, placed, strict=True))
    if new := [row for each, row in pairs if each.earlier is None]:
        connection.execute(_INSTANCES.insert, new)
    again = [(each.earlier.id, row) for each, row in pairs if each.earlier is not None]
    _update(connection, _INSTANCES, again)


def _left(answering: Sequence[CurrentObject], placed: Sequence[Row]) -> list[Any]:
    """Instances as they were whose series or study may have lost what it said."""
    return [
        each.earlier
        for each, row in zip(answering, placed, strict=True)
        if each.earlier is not None
        and (each.earlier.series != row["series"] or each.earlier.rank > row["rank"])
    ]


def _settle(connection: Connection, left: Iterable[Any]) -> None:
    moved = list(left)
    for identity in {each.series for each in moved}:
        _tell_anew(connection, series, identity)
    for identity in {each.study for each in moved}:
        _tell_anew(connection, studies, identity)


def _tell_anew(connection: Connection, table: Table, identity: int) -> None:
    """Have a series or study say what it should by the instances it has; remove it without any."""
    own = instances.c.series if table is series else instances.c.study
    speaking = (
        select(objects.c.elements, instances.c.source, instances.c.rank)
        .join_from(instances, objects, instances.c.object == objects.c.id)
        .where(own == identity)
        .order_by(instances.c.rank.desc())
        .limit(1)
    )
    found = connection.execute(speaking).first()
    if found is None:
        connection.execute(delete(table).where(table.c.id == identity))
        return
    told = by_known_tag(decoded(found.elements))
    row = (
        series_row(told, found.rank)
        if table is series
        else study_row(told, found.source, found.rank)
    )
    connection.execute(update(table).where(table.c.id == identity).values(row))

"""Instances put into their series and studies, and those kept in step with what answers.

A study (or series) says what its answering instance with the highest rank says. That holds whatever
the order of events, because one that loses an instance is told anew from those it still has. Which
object answers for an instance is decided in `recording`.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from dimse_ingestion.catalogue.described import Described, Row, decoded, levels
from dimse_ingestion.catalogue.tables import instances, objects, series, studies
from dimse_ingestion.dicom.elements import by_tag

Duplicates = Literal["latest", "first"]
_Key = tuple[Any, ...]
_STUDY_KEY = ("source", "study_instance_uid")
_SERIES_KEY = ("study", "series_instance_uid")


def prefers(duplicates: Duplicates, rank: str, earlier: str) -> bool:
    """Whether an object of `rank` answers rather than one of rank `earlier`."""
    return rank > earlier if duplicates == "latest" else rank < earlier


@dataclass(frozen=True, slots=True)
class Answering:
    """An object, by its id, that answers from now on; `earlier` is its instance's row till now."""

    told: Described
    object: int
    earlier: Any


def place(connection: Connection, answering: Sequence[Answering]) -> None:
    """Write instances, series and studies for what answers from now on."""
    if not answering:
        return
    study_of = _kept(connection, studies, _STUDY_KEY, [each.told.study for each in answering])
    rows = [
        each.told.series | {"study": study_of[_key(each.told.study, _STUDY_KEY)]}
        for each in answering
    ]
    series_of = _kept(connection, series, _SERIES_KEY, rows)
    placed = [
        each.told.instance
        | {"study": row["study"], "series": series_of[_key(row, _SERIES_KEY)]}
        | {"object": each.object}
        for each, row in zip(answering, rows, strict=True)
    ]
    _write(connection, answering, placed)
    _settle(connection, _left(answering, placed))


def _key(row: Any, names: Iterable[str]) -> _Key:
    return tuple(row[name] for name in names)


def _kept(
    connection: Connection, table: Table, unique: tuple[str, str], rows: Iterable[Row]
) -> dict[_Key, int]:
    """The ids of rows, which are inserted where missing and told anew where outranked."""
    best: dict[_Key, Row] = {}
    for row in rows:
        key = _key(row, unique)
        if key not in best or row["rank"] > best[key]["rank"]:
            best[key] = row
    found = _found(connection, table, unique, best)
    ids = {key: identity for key, (identity, _) in found.items()}
    missing = {key: row for key, row in best.items() if key not in found}
    if missing:
        statement = insert(table).returning(table.c.id, sort_by_parameter_order=True)
        made = connection.execute(statement, list(missing.values())).scalars()
        ids |= dict(zip(missing, made, strict=True))
    outranked = [key for key, (_, rank) in found.items() if best[key]["rank"] > rank]
    _update(connection, table, [best[key] | {"id": ids[key]} for key in outranked])
    return ids


def _found(
    connection: Connection, table: Table, unique: tuple[str, str], keys: Collection[_Key]
) -> dict[_Key, tuple[int, str]]:
    """Id and rank by key, of those of `keys` that are there."""
    columns = [table.c[name] for name in unique]
    may_be = [column.in_({key[place] for key in keys}) for place, column in enumerate(columns)]
    rows = connection.execute(select(table.c.id, table.c.rank, *columns).where(*may_be))
    found = {tuple(row[2:]): (row[0], row[1]) for row in rows}
    return {key: found[key] for key in keys if key in found}


def _update(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Write all columns of rows that have an id."""
    if rows:
        statement = update(table).where(table.c.id == bindparam("its_id"))
        values: Row = {name: bindparam(f"new_{name}") for name in rows[0]}
        parameters = [{f"new_{name}": row[name] for name in row} for row in rows]
        for each, row in zip(parameters, rows, strict=True):
            each["its_id"] = row["id"]
        connection.execute(statement.values(values), parameters)


def _write(connection: Connection, answering: Sequence[Answering], placed: Sequence[Row]) -> None:
    pairs = list(zip(answering, placed, strict=True))
    if new := [row for each, row in pairs if each.earlier is None]:
        connection.execute(insert(instances), new)
    _update(
        connection,
        instances,
        [row | {"id": each.earlier.id} for each, row in pairs if each.earlier is not None],
    )


def _left(answering: Sequence[Answering], placed: Sequence[Row]) -> list[Any]:
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
    study, of_series = levels(by_tag(decoded(found.elements)), found.source, found.rank)
    row = of_series if table is series else study
    connection.execute(update(table).where(table.c.id == identity).values(row))

"""Rows of instances, series and studies, which follow from the current objects.

An instance has one current object: the one that answers queries for it, chosen in `record`. A study
(or series) has the elements of its instance with the highest rank. That holds for any order of
events, because a study that loses an instance is recomputed from those it still has.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from dimse_ingestion.catalogue.event_rows import (
    EventRows,
    Row,
    by_known_tag,
    decode_elements,
    series_row,
    study_row,
)
from dimse_ingestion.catalogue.tables import instances, objects, series, studies

Duplicates = Literal["latest", "first"]
_Key = tuple[Any, str]


class _Statements:
    """Statements for one table, built once: building them costs more than their execution."""

    def __init__(self, table: Table, parent: str, uid: str) -> None:
        keys = table.c[parent], table.c[uid]
        self.find = select(table.c.id, table.c.rank, *keys).where(
            keys[0].in_(bindparam("parents", expanding=True)),
            keys[1].in_(bindparam("uids", expanding=True)),
        )
        self.insert = insert(table).returning(table.c.id, sort_by_parameter_order=True)
        new: dict[Any, Any] = {
            each: bindparam(f"new_{each.name}") for each in table.c if each is not table.c.id
        }
        self.update = update(table).where(table.c.id == bindparam("row_id")).values(new)


_STUDIES = _Statements(studies, "source", "study_instance_uid")
_SERIES = _Statements(series, "study", "series_instance_uid")
_INSTANCES = _Statements(instances, "source", "sop_instance_uid")


def supersedes(duplicates: Duplicates, rank: str, earlier: str) -> bool:
    """Return whether an object of `rank` becomes current instead of one of rank `earlier`."""
    return rank > earlier if duplicates == "latest" else rank < earlier


@dataclass(frozen=True, slots=True)
class CurrentObject:
    """An object, by its id, that becomes current; `earlier` is its instance's row, if any."""

    rows: EventRows
    object: int
    earlier: Any


def update_hierarchy(connection: Connection, current: Sequence[CurrentObject]) -> None:
    """Write the rows of instances, series and studies for objects that become current."""
    if not current:
        return
    rows = [each.rows for each in current]
    study_keys = [(each.source, each.study_instance_uid) for each in rows]
    best = _best(study_keys, rows)
    study_of = _upsert(connection, _STUDIES, best, lambda key: best[key].study())

    series_keys = [
        (study_of[key], each.series_instance_uid)
        for key, each in zip(study_keys, rows, strict=True)
    ]
    first = _best(series_keys, rows)
    series_of = _upsert(
        connection, _SERIES, first, lambda key: first[key].series() | {"study": key[0]}
    )
    instance_rows = [
        each.rows.instance | {"study": key[0], "series": series_of[key], "object": each.object}
        for each, key in zip(current, series_keys, strict=True)
    ]
    _write(connection, current, instance_rows)
    _recompute_outdated(connection, _outdated(current, instance_rows))


def _best(keys: Iterable[_Key], rows: Iterable[EventRows]) -> dict[_Key, EventRows]:
    """Return for each key the rows with the highest rank."""
    best: dict[_Key, EventRows] = {}
    for key, each in zip(keys, rows, strict=True):
        if key not in best or each.rank > best[key].rank:
            best[key] = each
    return best


def _upsert(
    connection: Connection,
    statements: _Statements,
    rows: Mapping[_Key, EventRows],
    row: Callable[[_Key], Row],
) -> dict[_Key, int]:
    """Insert missing rows, update those with a lower rank, and return the ids of all by key."""
    existing = _find(connection, statements, rows)
    ids = {key: identity for key, (identity, _) in existing.items()}
    if missing := [key for key in rows if key not in existing]:
        new_ids = connection.execute(statements.insert, [row(key) for key in missing]).scalars()
        ids |= dict(zip(missing, new_ids, strict=True))
    outranked = [key for key, (_, rank) in existing.items() if rows[key].rank > rank]
    _update(connection, statements, [(ids[key], row(key)) for key in outranked])
    return ids


def _find(
    connection: Connection, statements: _Statements, keys: Collection[_Key]
) -> dict[_Key, tuple[int, str]]:
    """Return id and rank by key, of those of `keys` that exist."""
    wanted = {"parents": list({key[0] for key in keys}), "uids": list({key[1] for key in keys})}
    rows = connection.execute(statements.find, wanted)
    existing = {(row[2], row[3]): (row[0], row[1]) for row in rows}
    return {key: existing[key] for key in keys if key in existing}


def _update(
    connection: Connection, statements: _Statements, rows: Sequence[tuple[int, Row]]
) -> None:
    """Write rows by their ids."""
    if rows:
        parameters = [
            {"row_id": identity} | {f"new_{name}": value for name, value in row.items()}
            for identity, row in rows
        ]
        connection.execute(statements.update, parameters)


def _write(
    connection: Connection, current: Sequence[CurrentObject], instance_rows: Sequence[Row]
) -> None:
    pairs = list(zip(current, instance_rows, strict=True))
    if new := [row for each, row in pairs if each.earlier is None]:
        connection.execute(_INSTANCES.insert, new)
    again = [(each.earlier.id, row) for each, row in pairs if each.earlier is not None]
    _update(connection, _INSTANCES, again)


def _outdated(current: Sequence[CurrentObject], instance_rows: Sequence[Row]) -> list[Any]:
    """Return earlier rows of instances whose series or study must be recomputed.

    That is, if the instance moved to another series, or has a lower rank than before.
    """
    return [
        each.earlier
        for each, row in zip(current, instance_rows, strict=True)
        if each.earlier is not None
        and (each.earlier.series != row["series"] or each.earlier.rank > row["rank"])
    ]


def _recompute_outdated(connection: Connection, outdated: Iterable[Any]) -> None:
    outdated = list(outdated)
    for identity in {each.series for each in outdated}:
        _recompute(connection, series, identity)
    for identity in {each.study for each in outdated}:
        _recompute(connection, studies, identity)


def _recompute(connection: Connection, table: Table, identity: int) -> None:
    """Update a series or study from its instances; delete it if it has none."""
    own = instances.c.series if table is series else instances.c.study
    highest = (
        select(objects.c.elements, instances.c.source, instances.c.rank)
        .join_from(instances, objects, instances.c.object == objects.c.id)
        .where(own == identity)
        .order_by(instances.c.rank.desc())
        .limit(1)
    )
    existing = connection.execute(highest).first()
    if existing is None:
        connection.execute(delete(table).where(table.c.id == identity))
        return
    rows = by_known_tag(decode_elements(existing.elements))
    row = (
        series_row(rows, existing.rank)
        if table is series
        else study_row(rows, existing.source, existing.rank)
    )
    connection.execute(update(table).where(table.c.id == identity).values(row))

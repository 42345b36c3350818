"""Rows of instances, series and studies, which follow from the current objects.

An instance has one current object: the one that answers queries for it, chosen in `record`. A study
(or series) has the elements of its instance with the highest rank. That holds for any order of
events, because a study that loses an instance is recomputed from those it still has.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import BindParameter, Column, Table, bindparam, delete, literal_column, select

from dimse_ingestion.catalogue.event_rows import (
    EventRows,
    Row,
    by_known_tag,
    decode_elements,
    series_row,
    study_row,
)
from dimse_ingestion.catalogue.prepared import (
    Insertion,
    Lookup,
    Replacement,
    Statement,
    Transaction,
)
from dimse_ingestion.catalogue.tables import instances, objects, series, studies

Duplicates = Literal["latest", "first"]
_Key = tuple[Any, str]


class _Statements:
    """Statements for one table, whose rows have a key of two columns."""

    def __init__(self, table: Table, parent: str, uid: str) -> None:
        self.names = (parent, uid)
        self.find = Lookup(table.c, table.c[parent], table.c[uid])
        self.insert = Insertion(table)
        self.update = Replacement(table)
        self.update_rank = Replacement(table, "rank")


class _Level:
    """Statements that recompute a study or series from its instances, and the row made of one."""

    def __init__(self, table: Table, own: Column[int], row: Callable[..., Row], *but: str) -> None:
        identity: BindParameter[int] = bindparam("identity")
        highest = (
            select(objects.c.elements, instances.c.source, instances.c.rank)
            .join_from(instances, objects, instances.c.object == objects.c.id)
            .where(own == identity)
            .order_by(instances.c.rank.desc())
            .limit(literal_column("1"))
            .offset(literal_column("0"))  # else SQLite's text has a parameter for it
        )
        self.highest = Statement(highest)
        self.delete = Statement(delete(table).where(table.c.id == identity))
        self.replace = Replacement(
            table, *(each.name for each in table.c if each.name not in ("id", *but))
        )
        self.row = row


_OUTDATED_STUDIES = _Level(studies, instances.c.study, study_row)
_OUTDATED_SERIES = _Level(
    series, instances.c.series, lambda elements, _, rank: series_row(elements, rank), "study"
)
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


def update_hierarchy(transaction: Transaction, current: Sequence[CurrentObject]) -> None:
    """Write the rows of instances, series and studies for objects that become current."""
    if not current:
        return
    rows = [each.rows for each in current]
    study_keys = [(each.source, each.study_instance_uid) for each in rows]
    best = _best(study_keys, rows)
    study_of = _upsert(transaction, _STUDIES, best, lambda key: best[key].study())

    series_keys = [
        (study_of[key], each.series_instance_uid)
        for key, each in zip(study_keys, rows, strict=True)
    ]
    first = _best(series_keys, rows)
    series_of = _upsert(
        transaction, _SERIES, first, lambda key: first[key].series() | {"study": key[0]}
    )
    instance_rows = [
        each.rows.instance | {"study": key[0], "series": series_of[key], "object": each.object}
        for each, key in zip(current, series_keys, strict=True)
    ]
    _write(transaction, current, instance_rows)
    _recompute_outdated(transaction, _outdated(current, instance_rows))


def _best(keys: Iterable[_Key], rows: Iterable[EventRows]) -> dict[_Key, EventRows]:
    """Return for each key the rows with the highest rank."""
    best: dict[_Key, EventRows] = {}
    for key, each in zip(keys, rows, strict=True):
        if key not in best or each.rank > best[key].rank:
            best[key] = each
    return best


def _upsert(
    transaction: Transaction,
    statements: _Statements,
    rows: Mapping[_Key, EventRows],
    row: Callable[[_Key], Row],
) -> dict[_Key, int]:
    """Insert missing rows, update those with a lower rank, and return the ids of all by key."""
    existing = _find(transaction, statements, rows)
    ids = {key: each.id for key, each in existing.items()}
    if missing := [key for key in rows if key not in existing]:
        new_ids = statements.insert.ids(transaction, [row(key) for key in missing])
        ids |= dict(zip(missing, new_ids, strict=True))
    outranked = [key for key, each in existing.items() if rows[key].rank > each.rank]
    _replace(transaction, statements, [(existing[key], row(key)) for key in outranked])
    return ids


def _find(
    transaction: Transaction, statements: _Statements, keys: Collection[_Key]
) -> dict[_Key, Any]:
    """Return the rows of those of `keys` that exist, by key."""
    parent, uid = statements.names
    rows = statements.find.rows(transaction, {key[0] for key in keys}, {key[1] for key in keys})
    existing = {(getattr(each, parent), getattr(each, uid)): each for each in rows}
    return {key: existing[key] for key in keys if key in existing}


def _replace(
    transaction: Transaction, statements: _Statements, rows: Iterable[tuple[Any, Row]]
) -> None:
    """Replace rows; if only the rank changes, as in most studies, leave other indexes alone."""
    changed: list[tuple[int, Row]] = []
    reranked: list[tuple[int, Row]] = []
    for existing, row in rows:
        same = all(getattr(existing, name) == row[name] for name in row if name != "rank")
        (reranked if same else changed).append((existing.id, row))
    statements.update.execute(transaction, changed)
    statements.update_rank.execute(transaction, reranked)


def _write(
    transaction: Transaction, current: Sequence[CurrentObject], instance_rows: Sequence[Row]
) -> None:
    pairs = list(zip(current, instance_rows, strict=True))
    _INSTANCES.insert.ids(transaction, [row for each, row in pairs if each.earlier is None])
    again = [(each.earlier.id, row) for each, row in pairs if each.earlier is not None]
    _INSTANCES.update.execute(transaction, again)


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


def _recompute_outdated(transaction: Transaction, outdated: Iterable[Any]) -> None:
    outdated = list(outdated)
    for identity in {each.series for each in outdated}:
        _recompute(transaction, _OUTDATED_SERIES, identity)
    for identity in {each.study for each in outdated}:
        _recompute(transaction, _OUTDATED_STUDIES, identity)


def _recompute(transaction: Transaction, level: _Level, identity: int) -> None:
    """Update a series or study from its instances; delete it if it has none."""
    existing = level.highest.execute(transaction, identity=identity).fetchone()
    if existing is None:
        level.delete.execute(transaction, identity=identity)
        return
    elements, source, rank = existing
    row = level.row(by_known_tag(decode_elements(elements)), source, rank)
    level.replace.execute(transaction, [(identity, row)])

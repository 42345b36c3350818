"""Recording of a batch of events in one transaction.

Synchronous; a handful of statements for any number of events. An event is identified by its object:
it may arrive any number of times, under any event id and in any order, with the same final state of
the catalogue. Batches are formed in `group_commit`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Engine, bindparam, insert, select
from sqlalchemy.exc import DataError, IntegrityError

from dimse_ingestion.catalogue.database import database_errors, write_transaction
from dimse_ingestion.catalogue.event_rows import EventRows, extract_rows
from dimse_ingestion.catalogue.hierarchy import (
    CurrentObject,
    Duplicates,
    supersedes,
    update_hierarchy,
)
from dimse_ingestion.catalogue.tables import instances, objects
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
Outcome = Literal["new", "known"] | ValueError
_Key = tuple[str, ...]
_OBJECTS = select(objects.c.source, objects.c.bucket_name, objects.c.object_name).where(
    objects.c.object_name.in_(bindparam("names", expanding=True))
)
_INSTANCES = select(instances).where(
    instances.c.sop_instance_uid.in_(bindparam("uids", expanding=True))
)
_INSERT_OBJECTS = insert(objects).returning(objects.c.id, sort_by_parameter_order=True)
_REFUSALS = (DataError, IntegrityError)


def record(
    engine: Engine, events: Sequence[ImageStoredEvent], duplicates: Duplicates
) -> list[Outcome]:
    """Commit all events; return for each "new", "known", or a ValueError that refuses it.

    Raises Unavailable when nothing could be committed.
    """
    extracted = [_extract(event) for event in events]
    rows = [each for each in extracted if isinstance(each, EventRows)]
    with database_errors():
        outcomes = iter(_commit(engine, rows, duplicates))
    return [next(outcomes) if isinstance(each, EventRows) else each for each in extracted]


def _extract(event: ImageStoredEvent) -> EventRows | ValueError:
    """Return the event's rows, or why it is refused: one event must not fail its batch."""
    try:
        return extract_rows(event)
    except ValueError as refused:
        return refused
    except Exception as mistake:  # noqa: BLE001 - the others of the batch are right
        _LOG.exception("An event could not be read.", event_id=event.id)
        return ValueError(f"The event can't be recorded ({type(mistake).__name__}).")


def _commit(engine: Engine, rows: Sequence[EventRows], duplicates: Duplicates) -> Sequence[Outcome]:
    try:
        with write_transaction(engine) as connection:
            return _write(connection, rows, duplicates)
    except _REFUSALS as refused:
        if len(rows) == 1:
            return [ValueError(f"The database refuses the event ({type(refused).__name__}).")]
    # the database refuses one event of the batch and does not say which: commit one by one
    return [_commit(engine, [each], duplicates)[0] for each in rows]


def _write(
    connection: Connection, rows: Sequence[EventRows], duplicates: Duplicates
) -> list[Outcome]:
    new = _without_entry(connection, rows)
    ids = _insert(connection, new)
    update_hierarchy(connection, _current_objects(connection, ids, duplicates))
    return ["new" if any(each is inserted for inserted, _ in ids) else "known" for each in rows]


def _without_entry(connection: Connection, rows: Sequence[EventRows]) -> list[EventRows]:
    """Return the rows whose object has no entry yet, each object once."""
    first: dict[_Key, EventRows] = {}
    for each in rows:
        first.setdefault(each.key, each)
    names = list({key[-1] for key in first})
    known = {tuple(row) for row in connection.execute(_OBJECTS, {"names": names})}
    return [each for key, each in first.items() if key not in known]


def _insert(connection: Connection, new: list[EventRows]) -> list[tuple[EventRows, int]]:
    if not new:
        return []
    ids = connection.execute(_INSERT_OBJECTS, [each.object for each in new]).scalars()
    return list(zip(new, ids, strict=True))


def _current_objects(
    connection: Connection, new: Iterable[tuple[EventRows, int]], duplicates: Duplicates
) -> list[CurrentObject]:
    """Return the new objects that become current, with the instances whose objects they replace."""
    best: dict[_Key, tuple[EventRows, int]] = {}
    for each in new:
        key = _instance(each[0].instance)
        if key not in best or supersedes(duplicates, each[0].rank, best[key][0].rank):
            best[key] = each
    earlier = _earlier(connection, best)
    return [
        CurrentObject(rows, identity, earlier.get(key))
        for key, (rows, identity) in best.items()
        if key not in earlier or supersedes(duplicates, rows.rank, earlier[key].rank)
    ]


def _earlier(connection: Connection, keys: Iterable[_Key]) -> dict[_Key, Any]:
    rows = connection.execute(_INSTANCES, {"uids": list({key[-1] for key in keys})}).all()
    return {_instance(row._mapping): row for row in rows}


def _instance(row: Any) -> _Key:
    return row["source"], row["sop_instance_uid"]

"""Recording of a batch of events in one transaction.

Synchronous; a handful of statements for any number of events. An event is identified by its object:
it may arrive any number of times, under any event id and in any order, with the same final state of
the catalogue. Batches are formed in `group_commit`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError

from dimse_ingestion.catalogue.database import database_errors, events_transaction
from dimse_ingestion.catalogue.event_rows import EventRows, extract_rows
from dimse_ingestion.catalogue.hierarchy import (
    CurrentObject,
    Duplicates,
    supersedes,
    update_hierarchy,
)
from dimse_ingestion.catalogue.prepared import Insertion, Lookup, Transaction
from dimse_ingestion.catalogue.tables import instances, objects
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
Outcome = Literal["new", "known"] | ValueError
_Key = tuple[str, ...]
_INSTANCES = Lookup(instances.c, instances.c.sop_instance_uid)
_INSERT_OBJECTS = Insertion(objects, unless_known=True)
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
        with events_transaction(engine) as transaction:
            return _write(transaction, rows, duplicates)
    except _REFUSALS as refused:
        if len(rows) == 1:
            return [ValueError(f"The database refuses the event ({type(refused).__name__}).")]
    # the database refuses one event of the batch and does not say which: commit one by one
    return [_commit(engine, [each], duplicates)[0] for each in rows]


def _write(
    transaction: Transaction, rows: Sequence[EventRows], duplicates: Duplicates
) -> list[Outcome]:
    new = _insert_objects(transaction, rows)
    update_hierarchy(transaction, _current_objects(transaction, new, duplicates))
    inserted = {id(each) for each, _ in new}
    return ["new" if id(each) in inserted else "known" for each in rows]


def _insert_objects(
    transaction: Transaction, rows: Sequence[EventRows]
) -> list[tuple[EventRows, int]]:
    """Insert objects that have no entry yet, each once; return their events' rows and ids."""
    first: dict[_Key, EventRows] = {}
    for each in rows:
        first.setdefault(each.key, each)
    ids = _INSERT_OBJECTS.ids(transaction, [each.object for each in first.values()])
    pairs = zip(first.values(), ids, strict=True)
    return [(each, identity) for each, identity in pairs if identity is not None]


def _current_objects(
    transaction: Transaction, new: Iterable[tuple[EventRows, int]], duplicates: Duplicates
) -> list[CurrentObject]:
    """Return the new objects that become current, with the instances whose objects they replace."""
    best: dict[_Key, tuple[EventRows, int]] = {}
    for each in new:
        key = each[0].source, each[0].instance["sop_instance_uid"]
        if key not in best or supersedes(duplicates, each[0].rank, best[key][0].rank):
            best[key] = each
    earlier = _earlier(transaction, best) if best else {}
    return [
        CurrentObject(rows, identity, earlier.get(key))
        for key, (rows, identity) in best.items()
        if key not in earlier or supersedes(duplicates, rows.rank, earlier[key].rank)
    ]


def _earlier(transaction: Transaction, keys: Iterable[_Key]) -> dict[_Key, Any]:
    rows = _INSTANCES.rows(transaction, {key[-1] for key in keys})
    return {(row.source, row.sop_instance_uid): row for row in rows}

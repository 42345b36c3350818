"""Events in: a batch of them made one commit, each object once, the levels above kept in step.

Synchronous, one transaction a batch, a handful of statements however many events. An event is told
from others by its object: the same one may come any number of times, under any event id, and in any
order: what the catalogue says in the end is the same. Gathering batches is `committing`'s matter.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Engine, bindparam, insert, select
from sqlalchemy.exc import DataError, IntegrityError

from dimse_ingestion.catalogue.database import database_errors, write_transaction
from dimse_ingestion.catalogue.event_rows import EventRows, extract_rows
from dimse_ingestion.catalogue.hierarchy import CurrentObject, Duplicates, place, supersedes
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
_INSERT = insert(objects).returning(objects.c.id, sort_by_parameter_order=True)
_REFUSALS = (DataError, IntegrityError)


def record(
    engine: Engine, events: Sequence[ImageStoredEvent], duplicates: Duplicates
) -> list[Outcome]:
    """Commit all events; for each whether it was new, known, or a ValueError that refuses it.

    Raises DimseFailure A700 (transient) when nothing could be committed.
    """
    read = [_described(event) for event in events]
    told = [each for each in read if isinstance(each, EventRows)]
    with database_errors():
        outcomes = iter(_recorded(engine, told, duplicates))
    return [next(outcomes) if isinstance(each, EventRows) else each for each in read]


def _described(event: ImageStoredEvent) -> EventRows | ValueError:
    """Return what the event tells, or why it is refused: no event may spoil its batch."""
    try:
        return extract_rows(event)
    except ValueError as refused:
        return refused
    except Exception as mistake:  # noqa: BLE001 - the others of the batch are right
        _LOG.exception("An event could not be read.", event_id=event.id)
        return ValueError(f"The event can't be recorded ({type(mistake).__name__}).")


def _recorded(
    engine: Engine, told: Sequence[EventRows], duplicates: Duplicates
) -> Sequence[Outcome]:
    try:
        with write_transaction(engine) as connection:
            return _record(connection, told, duplicates)
    except _REFUSALS as refused:
        if len(told) == 1:
            return [ValueError(f"The database refuses the event ({type(refused).__name__}).")]
    return [_recorded(engine, [each], duplicates)[0] for each in told]  # one is bad: which?


def _record(
    connection: Connection, told: Sequence[EventRows], duplicates: Duplicates
) -> list[Outcome]:
    fresh = _unknown(connection, told)
    ids = _inserted(connection, fresh)
    place(connection, _answering(connection, ids, duplicates))
    return ["new" if any(each is kept for kept, _ in ids) else "known" for each in told]


def _unknown(connection: Connection, told: Sequence[EventRows]) -> list[EventRows]:
    """Those whose object isn't kept yet, each object once."""
    first: dict[_Key, EventRows] = {}
    for each in told:
        first.setdefault(each.key, each)
    names = list({key[-1] for key in first})
    known = {tuple(row) for row in connection.execute(_OBJECTS, {"names": names})}
    return [each for key, each in first.items() if key not in known]


def _inserted(connection: Connection, fresh: list[EventRows]) -> list[tuple[EventRows, int]]:
    if not fresh:
        return []
    ids = connection.execute(_INSERT, [each.object for each in fresh]).scalars()
    return list(zip(fresh, ids, strict=True))


def _answering(
    connection: Connection, fresh: Iterable[tuple[EventRows, int]], duplicates: Duplicates
) -> list[CurrentObject]:
    """The fresh objects that answer from now on, with the instance whose object they replace."""
    best: dict[_Key, tuple[EventRows, int]] = {}
    for each in fresh:
        key = _instance(each[0].instance)
        if key not in best or supersedes(duplicates, each[0].rank, best[key][0].rank):
            best[key] = each
    earlier = _earlier(connection, best)
    return [
        CurrentObject(told, identity, earlier.get(key))
        for key, (told, identity) in best.items()
        if key not in earlier or supersedes(duplicates, told.rank, earlier[key].rank)
    ]


def _earlier(connection: Connection, keys: Iterable[_Key]) -> dict[_Key, Any]:
    found = connection.execute(_INSTANCES, {"uids": list({key[-1] for key in keys})}).all()
    return {_instance(row._mapping): row for row in found}


def _instance(row: Any) -> _Key:
    return row["source"], row["sop_instance_uid"]

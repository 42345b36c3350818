"""Events in: a batch of them made one commit, each once, the levels above kept in step.

Synchronous, one transaction a batch, a savepoint an event: a bad event fails alone. What an event
says is `described`'s matter, gathering batches `committing`'s.
"""

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Table, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from dimse_ingestion.catalogue.database import failures_told
from dimse_ingestion.catalogue.described import Described, Row, described
from dimse_ingestion.catalogue.tables import instances, objects, patients, series, studies
from dimse_ingestion.events.contract import ImageStoredEvent

Outcome = Literal["new", "known"] | ValueError
Duplicates = Literal["latest", "first"]
_TRIES = 3


def record(
    engine: Engine, events: Sequence[ImageStoredEvent], duplicates: Duplicates
) -> list[Outcome]:
    """Commit all events; for each whether it was new, known, or a ValueError that refuses it.

    Raises DimseFailure A700 (transient) when nothing could be committed.
    """
    with failures_told():
        for _ in range(_TRIES - 1):
            try:
                return _recorded(engine, events, duplicates)
            except IntegrityError:  # another replica wrote the same rows: they are there now
                continue
        return _recorded(engine, events, duplicates)


def _recorded(
    engine: Engine, events: Sequence[ImageStoredEvent], duplicates: Duplicates
) -> list[Outcome]:
    with engine.begin() as connection:
        recorder = _Recorder(connection, duplicates)
        return [recorder.outcome(event) for event in events]


class _Recorder:
    """One transaction; remembers the rows it has met."""

    def __init__(self, connection: Connection, duplicates: Duplicates) -> None:
        self._connection = connection
        self._duplicates = duplicates
        self._met: dict[tuple[Any, ...], tuple[int, bytes]] = {}

    def outcome(self, event: ImageStoredEvent) -> Outcome:
        try:
            told = described(event)
        except ValueError as refused:
            return refused
        if self._is_known(told):
            return "known"
        self._record(told)
        return "new"

    def _is_known(self, told: Described) -> bool:
        same = select(objects.c.id).where(
            objects.c.source == told.object["source"],
            objects.c.object_name == told.object["object_name"],
        )
        return self._connection.execute(same).first() is not None

    def _record(self, told: Described) -> None:
        object_id = self._inserted(objects, told.object)
        earlier = self._earlier(told.instance)
        if earlier is not None and self._duplicates == "first":
            return
        row = told.instance | {"series": self._series(told), "object": object_id}
        if earlier is None:
            self._inserted(instances, row)
            return
        self._connection.execute(update(instances).where(instances.c.id == earlier.id).values(row))
        if earlier.series != row["series"]:
            self._remove_empty()

    def _earlier(self, row: Row) -> Any:
        same = select(instances.c.id, instances.c.series).where(
            instances.c.source == row["source"],
            instances.c.sop_instance_uid == row["sop_instance_uid"],
        )
        return self._connection.execute(same).first()

    def _series(self, told: Described) -> int:
        patient = self._kept(patients, told.patient, ("source", "patient_id", "issuer"))
        study = self._kept(
            studies, told.study | {"patient": patient}, ("source", "study_instance_uid")
        )
        return self._kept(series, told.series | {"study": study}, ("study", "series_instance_uid"))

    def _kept(self, table: Table, row: Row, unique: tuple[str, ...]) -> int:
        """The row's id, inserted or brought up to date: what came last is what holds."""
        key = (table.name, *(row[name] for name in unique))
        content = repr(sorted(row.items())).encode()
        if (met := self._met.get(key)) and met[1] == content:
            return met[0]
        found = self._connection.execute(
            select(table).where(*(table.c[name] == row[name] for name in unique))
        ).first()
        identity = self._inserted(table, row) if found is None else self._updated(table, found, row)
        self._met[key] = (identity, content)
        return identity

    def _updated(self, table: Table, found: Any, row: Row) -> int:
        changed = {name: value for name, value in row.items() if getattr(found, name) != value}
        if changed:
            self._connection.execute(update(table).where(table.c.id == found.id).values(changed))
        if "patient" in changed:
            self._remove_empty()
        return int(found.id)

    def _inserted(self, table: Table, row: Row) -> int:
        key = self._connection.execute(insert(table).values(row)).inserted_primary_key
        return int(key[0])  # type: ignore[index]

    def _remove_empty(self) -> None:
        """Something moved: what it left behind with nothing below is no longer there."""
        for table, below in (
            (series, instances.c.series),
            (studies, series.c.study),
            (patients, studies.c.patient),
        ):
            nothing_below = ~exists(select(below).where(below == table.c.id))
            self._connection.execute(delete(table).where(nothing_below))
        self._met.clear()

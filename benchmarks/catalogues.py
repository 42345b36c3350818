"""Catalogues and an Orthanc with so many studies of one instance each, to be searched.

Filling is not measured: the catalogues get the rows that the product makes of events, inserted in
bulk, and Orthanc its instances by C-STORE without synced files. PostgreSQL is analyzed afterwards,
as autovacuum does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Table, insert

from benchmarks.ct_image import (
    CONSTANTS,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IDENTIFIERS,
    CtImage,
    Identity,
)
from benchmarks.sender import Senders
from benchmarks.systems import OURS, Deployment, System, orthanc, our_services
from dimse_ingestion.catalogue.database import open_engine, write_transaction
from dimse_ingestion.catalogue.event_rows import EventRows, extract_rows
from dimse_ingestion.catalogue.tables import instances, objects, series, studies
from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.events.contract import Image, ImageStored, ImageStoredEvent, Store
from harness.postgresql import postgresql

SQLITE, POSTGRESQL = f"{OURS}, SQLite", f"{OURS}, PostgreSQL"
_BATCH = 1000
_Row = Mapping[str, Any]
_CONSTANTS = [element((g << 16) + n, vr, str(value)) for g, n, vr, value in CONSTANTS]


@contextmanager
def filled_catalogues(folder: Path, identity: Identity, count: int) -> Iterator[dict[str, System]]:
    """Start ours with SQLite and with PostgreSQL, each with so many studies."""
    with ExitStack() as stack:
        server = stack.enter_context(postgresql(folder / "postgresql", durable=True))
        deployments = {
            SQLITE: Deployment(dicomweb=True),
            POSTGRESQL: Deployment(dicomweb=True, postgresql=server),
        }
        systems = {
            name: stack.enter_context(our_services(folder / name.replace(", ", "-"), deployment))
            for name, deployment in deployments.items()
        }
        _fill(systems.values(), identity, count)
        for system in systems.values():
            _check_filled(system, count)
        yield systems


@contextmanager
def filled_orthanc(
    folder: Path, senders: Senders, identity: Identity, count: int
) -> Iterator[System]:
    """Start an Orthanc with the same studies."""
    with orthanc(folder / "orthanc", synced=False, dicomweb=True) as system:
        senders.fill(system.port, CtImage(8, 8, identity), count)
        if (stored := system.count()) != count:
            raise RuntimeError(f"Orthanc has {stored} instances after {count} were stored.")
        yield system


@dataclass(frozen=True)
class Events:
    """Events of the images of an identity."""

    identity: Identity

    def event(self, number: int) -> ImageStoredEvent:
        """Return the event of the image with this number."""
        values = self.identity.values(number)
        name = f"{values['study']}/{values['series']}/{values['instance']}.dcm"
        image = Image(EXPLICIT_VR_LITTLE_ENDIAN, _elements(values))
        store = Store("provider", "bench", name, size=524288, sha256="0" * 64, header_size=400)
        return ImageStoredEvent(
            id=name,
            source="bench",
            time=datetime.now(UTC).isoformat(),
            subject=values["instance"],
            data=ImageStored(image, store),
        )


def _elements(values: dict[str, str]) -> list[Element]:
    own = [
        element((group << 16) + number, vr, values[name])
        for name, (group, number, vr) in IDENTIFIERS.items()
    ]
    return sorted([*_CONSTANTS, *own], key=lambda each: each.tag)


def _fill(systems: Iterable[System], identity: Identity, count: int) -> None:
    engines, events = [open_engine(_url(system)) for system in systems], Events(identity)
    for start in range(0, count, _BATCH):
        numbers = range(start, min(count, start + _BATCH))
        rows = [extract_rows(events.event(number)) for number in numbers]
        by_table = _rows_by_table(rows, start + 1)
        for engine in engines:
            with write_transaction(engine) as connection:
                for table, values in by_table:
                    connection.execute(insert(table), values)
    for engine in engines:
        engine.dispose()


def _rows_by_table(rows: Sequence[EventRows], first_id: int) -> list[tuple[Table, list[_Row]]]:
    """Return the rows of new studies of one instance each; one id for a study and all of it."""
    ids = range(first_id, first_id + len(rows))
    instance_ids = [{"id": each, "study": each, "series": each, "object": each} for each in ids]
    return [
        (studies, [{"id": id_} | row.study() for id_, row in zip(ids, rows, strict=True)]),
        (
            series,
            [{"id": id_, "study": id_} | row.series() for id_, row in zip(ids, rows, strict=True)],
        ),
        (objects, [{"id": id_} | row.object for id_, row in zip(ids, rows, strict=True)]),
        (instances, [own | row.instance for own, row in zip(instance_ids, rows, strict=True)]),
    ]


def _url(system: System) -> str:
    assert system.space is not None
    return system.space.database_url or f"sqlite:///{system.space.folder}/catalogue.db"


def _check_filled(system: System, count: int) -> None:
    """Bring PostgreSQL's sequences and statistics up to date, and count."""
    if (url := _url(system)).startswith("postgresql"):
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            for table in ("studies", "series", "objects", "instances"):
                connection.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), %s)", (count,)
                )
            connection.execute("ANALYZE")
    if (filled := system.count()) != count:
        raise RuntimeError(f"The catalogue has {filled} instances instead of {count}.")

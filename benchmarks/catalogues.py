"""Catalogues and an Orthanc with so many studies of one instance each, to be searched.

The catalogues are filled by the product's own recording in batches, Orthanc by C-STORE without
synced files: filling is not measured. PostgreSQL is analyzed afterwards, as autovacuum does.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from benchmarks.ct_image import (
    CONSTANTS,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IDENTIFIERS,
    CtImage,
    Identity,
)
from benchmarks.sender import Senders
from benchmarks.systems import OURS, Deployment, System, orthanc, our_services
from dimse_ingestion.catalogue.database import open_engine
from dimse_ingestion.catalogue.record import record
from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.events.contract import Image, ImageStored, ImageStoredEvent, Store
from harness.postgresql import postgresql

SQLITE, POSTGRESQL = f"{OURS}, SQLite", f"{OURS}, PostgreSQL"
_BATCH = 1000
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
        for system in systems.values():
            _fill(system, identity, count)
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


def _fill(system: System, identity: Identity, count: int) -> None:
    space = system.space
    assert space is not None
    url = space.database_url or f"sqlite:///{space.folder}/catalogue.db"
    engine, events = open_engine(url), Events(identity)
    for start in range(0, count, _BATCH):
        numbers = range(start, min(count, start + _BATCH))
        record(engine, [events.event(number) for number in numbers], "latest")
    engine.dispose()
    _analyze(url)
    if (recorded := system.count()) != count:
        raise RuntimeError(f"The catalogue has {recorded} instances after {count} events.")


def _analyze(url: str) -> None:
    if url.startswith("postgresql"):
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("ANALYZE")

"""A console that requests storage commitment of a proxy outside, and takes the report here."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.uid import CTImageStorage

from harness.commitment_scu import CommitmentScu
from harness.imaging_zone import ImagingZone
from harness.instances import MadeInstance
from harness.plugin import Workbench
from harness.ports import free_port
from harness.provisioning import Space

GRACE = 1
"""Seconds after which what is missing has failed."""
_CONSOLE = "CONSOLE"


@dataclass(frozen=True)
class Ward:
    """A proxy that commits, its console, and the port at which the console takes reports."""

    zone: ImagingZone
    console: CommitmentScu
    console_port: int


def ward(bench: Workbench, space: Space, proxy_id: str, journal: Path, **settings: str) -> Ward:
    """Return a proxy of the space, with its journal in this folder; not started."""
    port = free_port()
    peer = {"aeTitle": _CONSOLE, "host": "127.0.0.1", "port": port, "may": ["commit"]}
    zone = bench.zone(
        space,
        proxy_id,
        DIMSE_STORAGE_COMMITMENT_ENABLED="true",
        DIMSE_STORAGE_COMMITMENT_GRACE=str(GRACE),
        DIMSE_STORAGE_COMMITMENT_DIRECTORY=str(journal),
        DIMSE_PEERS=json.dumps([peer]),
        **settings,
    )
    return Ward(zone, CommitmentScu(replace(zone.peer, calling=_CONSOLE)), port)


def references(made: Iterable[MadeInstance]) -> list[tuple[str, str]]:
    """Return the class and instance UID of each image."""
    return [(str(CTImageStorage), each.sop_instance_uid) for each in made]

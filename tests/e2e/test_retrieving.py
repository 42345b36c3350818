"""C-MOVE and C-GET by DCMTK, through a proxy outside the cluster and the service inside it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import modalities
from harness.imaging_zone import ImagingZone
from harness.instances import MadeInstance
from harness.plugin import Workbench
from harness.ports import free_port
from tests.e2e.conftest import Observed
from tests.e2e.retrieving import (
    RETRIEVE,
    WORKSTATION,
    assert_gets,
    assert_moves,
    peers,
    received,
    stored_study,
)


@dataclass(frozen=True)
class Ward:
    """A proxy that serves retrieves, the port of its destination, and a study that is stored."""

    zone: ImagingZone
    archive_port: int
    study: list[MadeInstance]


@pytest.fixture(scope="module")
def ward(
    observed: Observed, module_bench: Workbench, tmp_path_factory: pytest.TempPathFactory
) -> Ward:
    port = free_port()
    settings = {
        "DIMSE_RETRIEVE_ENABLED": "true",
        "DIMSE_RETRIEVE_PENDING_INTERVAL": str(RETRIEVE["pendingInterval"]),
        "DIMSE_PEERS": json.dumps(peers(("127.0.0.1", port))),
    }
    zone = module_bench.zone(observed.space, "ward11", **settings).open()
    return Ward(zone, port, stored_study(zone.peer, tmp_path_factory.mktemp("study")))


async def test_a_study_is_moved_to_a_destination_outside(ward: Ward, tmp_path: Path) -> None:
    await assert_moves(ward.zone.peer, ward.study, tmp_path / "archive", ward.archive_port)


async def test_a_study_is_given_to_who_gets_it(ward: Ward, tmp_path: Path) -> None:
    await assert_gets(ward.zone.peer, ward.study, tmp_path / "out")


async def test_who_has_no_right_gets_nothing(ward: Ward, tmp_path: Path) -> None:
    assert ward.zone.peer.calling != WORKSTATION
    study = ward.study[0].study_instance_uid
    ended = await modalities.getscu(ward.zone.peer, tmp_path / "out", study)
    assert "0x0124" in ended.output, ended.output
    assert received(tmp_path / "out") == {}

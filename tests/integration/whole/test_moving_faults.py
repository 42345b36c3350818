"""C-MOVE while a replica dies or hangs, or NATS restarts, and of one larger than any memory."""

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import modalities
from harness.instances import made_instances
from harness.multi_frames import FRAME, MultiFrame
from harness.nats_server import nats_server
from harness.ports import free_port
from tests.integration.whole.conftest import System, started
from tests.integration.whole.test_moving import Destination, House, Scu, movescu
from tests.integration.whole.test_retrieving import counts, workstation

pytestmark = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())

COUNT = 40
LENGTH = 512 * 1024
MIB = 2**20
LARGE = 1024 * MIB


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    port = free_port()
    peers: list[dict[str, Any]] = [
        {"aeTitle": "OTHER", "host": "127.0.0.1", "port": port},
        {"aeTitle": "WS1", "may": ["move"]},
    ]
    rights = {"DIMSE_RETRIEVE_ENABLED": "true", "DIMSE_PEERS": json.dumps(peers)}
    with nats_server(tmp_path / "nats") as nats:
        system = started(tmp_path / "space", nats, replicas=2, **rights)
        yield House(system, {"OTHER": port})
        system.space.close()


async def stored(system: System, folder: Path) -> tuple[str, dict[str, str]]:
    """Store a study; return its UID, and the digest of each instance's data set."""
    made = await asyncio.to_thread(made_instances, folder, COUNT, LENGTH)
    ended = await modalities.storescu(system.peer, folder, options=["+sd"])
    assert ended.status == 0, ended.output
    return made[0].study_instance_uid, {each.sop_instance_uid: each.sha256 for each in made}


class Once:
    """An action for the first call after `after` instances have arrived."""

    def __init__(self, destination: Destination, action: Any, after: int = 3) -> None:
        self.destination, self.action, self.after = destination, action, after
        self.done = False

    def __call__(self) -> None:
        if not self.done and len(self.destination.received) >= self.after:
            self.done = True
            self.action()


@pytest.mark.parametrize("fault", ["replica", "hung replica", "nats"])
async def test_a_move_survives_a_fault_and_delivers_nothing_wrong(
    fault: str, house: House, tmp_path: Path
) -> None:
    system = house.system
    study, digests = await stored(system, tmp_path / "in")

    def break_it() -> None:
        if fault == "nats":
            system.nats.kill()
            system.nats.start()
        elif fault == "hung replica":
            os.kill(system.ingestion[0].pid, signal.SIGSTOP)
        else:
            system.ingestion[0].kill()

    with Destination(house.ports["OTHER"], seconds=0.1) as destination:
        destination.action = Once(destination, break_it)
        final = await asyncio.to_thread(Scu(house).move, study, "OTHER")
        assert destination.action.done
    completed, failed, warned, _ = counts(final)
    assert completed + failed == COUNT
    assert (failed, warned, final.Status) == (0, 0, 0)
    assert destination.digests() == digests


async def test_an_instance_larger_than_any_memory(house: House, tmp_path: Path) -> None:
    system = house.system
    image = MultiFrame(LARGE // FRAME)
    file = tmp_path / "large.dcm"
    await asyncio.to_thread(_write, image, file)
    ended = await modalities.storescu(system.peer, file)
    assert ended.status == 0, ended.output
    before = [each.peak_memory() for each in (system.proxy, *system.ingestion)]
    (tmp_path / "out").mkdir()
    with modalities.storescp(tmp_path / "out", "-B", port=house.ports["OTHER"]):
        ended = await movescu(workstation(system), "OTHER", image.study)
    assert ended.status == 0, ended.output
    (written,) = (tmp_path / "out").iterdir()
    assert written.stat().st_size > LARGE
    assert digest_of_data_set(written) == digest_of_data_set(file)
    after = [each.peak_memory() for each in (system.proxy, *system.ingestion)]
    assert max(after) < 200 * MIB, (before, after)


def digest_of_data_set(path: Path) -> str:
    """Return the SHA-256 of what follows the file meta information."""
    with path.open("rb") as file:
        file.seek(140)  # the value of (0002,0000), which counts what follows it
        file.seek(144 + int.from_bytes(file.read(4), "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(image: MultiFrame, file: Path) -> None:
    with file.open("wb") as target:
        for piece in image.file():
            target.write(piece)

"""What it means that a study was given back: the files have the data sets that were sent."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import modalities, scu
from harness.instances import MadeInstance, data_set_in, made_instances
from harness.modalities import Peer
from harness.services import eventually
from tests.e2e.keeping import sop_instance_uid

WORKSTATION, ARCHIVE = "WS1", "ARCHIVE"
_LONGEST_ROUTING = 60.0
RETRIEVE: Mapping[str, Any] = {"enabled": True, "pendingInterval": 1}


def peers(archive: tuple[str, int]) -> list[dict[str, Any]]:
    """Return a workstation that may retrieve, and a destination at this address."""
    host, port = archive
    return [
        {"aeTitle": WORKSTATION, "may": ["move", "get"]},
        {"aeTitle": ARCHIVE, "host": host, "port": port},
    ]


def stored_study(peer: Peer, folder: Path) -> list[MadeInstance]:
    """Store a study of images that need more than one NATS message, as soon as the AE is reached.

    A node port leads to a pod some time after the pod is ready: kube-proxy has to learn of it.
    """
    made = made_instances(folder, 8, 2**21)
    eventually(lambda: _accepts_associations(peer), bool, _LONGEST_ROUTING)
    answers = scu.store(peer, [each.path for each in made])
    assert {answer.status for answer in answers} == {0}, answers
    return made


def _accepts_associations(peer: Peer) -> bool:
    try:
        with scu.associate(peer, [(scu.VERIFICATION, None)]):
            return True
    except ConnectionError:
        return False


def sent(made: Iterable[MadeInstance]) -> dict[str, bytes]:
    """Return the data sets by their SOP Instance UIDs."""
    return _data_sets(each.path for each in made)


def received(folder: Path) -> dict[str, bytes]:
    """Return the data sets of the files in a folder by their SOP Instance UIDs."""
    return _data_sets(folder.iterdir())


async def assert_gets(peer: Peer, made: Sequence[MadeInstance], folder: Path) -> None:
    """Assert that the workstation gets the study by C-GET, byte for byte."""
    workstation = replace(peer, calling=WORKSTATION)
    ended = await modalities.getscu(workstation, folder, made[0].study_instance_uid)
    assert ended.status == 0, ended.output
    assert received(folder) == sent(made)


async def assert_moves(peer: Peer, made: Sequence[MadeInstance], folder: Path, port: int) -> None:
    """Assert that the workstation has the study moved to a storescp at this port."""
    workstation = replace(peer, calling=WORKSTATION)
    await asyncio.to_thread(folder.mkdir)
    with modalities.storescp(folder, "+B", port=port):
        ended = await modalities.movescu(workstation, ARCHIVE, made[0].study_instance_uid)
    assert ended.status == 0, ended.output
    assert received(folder) == sent(made)


def _data_sets(files: Iterable[Path]) -> dict[str, bytes]:
    return {sop_instance_uid(path): data_set_in(path.read_bytes()) for path in files}

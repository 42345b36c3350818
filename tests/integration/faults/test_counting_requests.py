"""`make faults` counts reports and retrieved instances: shown on those that are wrong."""

import hashlib
import os
import queue
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from faults import disks
from faults.commitment import Console
from faults.retrieval import Destination, Workstation
from faults.tally import Tally
from harness.commitment_scu import CommitmentScu, Report
from harness.modalities import Peer

CLEAN = Tally(9, 9, {}, 0, 0, 0, 1.5)
ONE, TWO, NEVER = "1.2.1", "1.2.2", "1.2.9"


def console(*reports: Report) -> Console:
    """Return one that has requested two stored instances and one that never was, with reports."""
    made = Console(0, CommitmentScu(Peer("127.0.0.1", 0)))
    made.requested = {"1.1": {ONE, TWO}, "1.2": {NEVER}}
    made.missing = {NEVER}
    made.statuses.update([0, 0, -1])
    for each in reports:
        made.scu.received.append(each)
    made._take()
    return made


def report(transaction_uid: str, committed: list[str], failed: dict[str, int]) -> Report:
    return Report(transaction_uid, 1, committed, failed, "", "", is_scp_role=True)


RIGHT = (report("1.1", [ONE, TWO], {}), report("1.2", [], {NEVER: 0x0112}))


@pytest.mark.parametrize(
    ("reports", "counted"),
    [
        (RIGHT, (0, 0, 0)),
        ((*RIGHT, RIGHT[0]), (0, 0, 0)),
        ((), (2, 0, 0)),
        (RIGHT[:1], (1, 0, 0)),
        ((report("1.1", [ONE], {TWO: 0x0112}), RIGHT[1]), (0, 1, 0)),
        ((report("1.1", [ONE], {}), RIGHT[1]), (0, 1, 0)),
        ((report("1.1", [ONE, TWO, TWO], {}), RIGHT[1]), (0, 1, 0)),
        ((RIGHT[0], report("1.2", [NEVER], {})), (0, 1, 0)),
        ((*RIGHT, report("1.1", [ONE], {TWO: 0x0112})), (0, 1, 1)),
    ],
)
def test_reports_are_counted(reports: tuple[Report, ...], counted: tuple[int, int, int]) -> None:
    result = console(*reports).count(CLEAN)
    assert (result.lost, result.wrong, result.doubled) == counted
    assert (result.operations, result.acknowledged, result.refused) == (3, 2, {"none": 1})


def test_what_is_stored_counts_too() -> None:
    result = console(*RIGHT).count(Tally(9, 9, {}, lost=1, wrong=2, doubled=3, recovery=1.5))
    assert (result.lost, result.wrong, result.doubled) == (1, 2, 3)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("status", "completed", "received", "counted"),
    [
        (0, 2, {ONE: b"1", TWO: b"2"}, (0, 0, 0)),
        (0, 2, {ONE: b"1"}, (1, 0, 0)),
        (0xB000, 1, {ONE: b"1"}, (0, 0, 0)),
        (0xB000, 2, {ONE: b"1"}, (1, 0, 0)),
        (-1, 0, {ONE: b"x"}, (0, 1, 0)),
    ],
)
def test_retrieved_instances_are_counted(
    status: int, completed: int, received: dict[str, bytes], counted: tuple[int, int, int]
) -> None:
    system: Any = None
    digests = {ONE: digest(b"1"), TWO: digest(b"2")}
    destination = Destination(0)
    destination.received = [(uid, digest(content)) for uid, content in received.items()]
    workstation = Workstation(system, ONE, destination, "1.2", digests)  # type: ignore[arg-type] # any model
    workstation._count(status, completed)
    assert (workstation.lost, workstation.wrong, workstation.doubled) == counted


def test_an_instance_that_comes_twice_is_doubled() -> None:
    system: Any = None
    destination = Destination(0)
    destination.received = [(ONE, digest(b"1"))] * 2
    workstation = Workstation(system, ONE, destination, "1.2", {ONE: digest(b"1")})  # type: ignore[arg-type] # any model
    workstation._count(0, 1)
    assert (workstation.lost, workstation.wrong, workstation.doubled) == (0, 0, 1)


def test_a_destination_that_is_gone_takes_nothing() -> None:
    aborted: list[bool] = []
    messages: queue.Queue[tuple[None, None]] = queue.Queue()
    association = SimpleNamespace(
        abort=lambda: aborted.append(True), dimse=SimpleNamespace(msg_queue=messages)
    )
    request = SimpleNamespace(AffectedSOPInstanceUID=ONE, DataSet=None)
    event: Any = SimpleNamespace(request=request, assoc=association)
    destination = Destination(0, seconds=0.0, is_gone=True)
    destination.take(event)
    assert (aborted, destination.received, destination.total) == ([True], [], 0)
    assert messages.get_nowait() == (None, None)


@pytest.mark.skipif(bool(disks.problem()), reason=disks.problem())
def test_a_disk_is_read_only_and_writable_again(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.touch()
    with disks.read_only(tmp_path):
        assert before.exists()
        with pytest.raises(OSError, match="Read-only"):
            (tmp_path / "file").touch()
        assert os.statvfs(tmp_path).f_flag & os.ST_RDONLY
    (tmp_path / "file").touch()

"""Storing through the whole path: the answer comes when the object is durable and indexed.

In a folder, against an Orthanc with synced files on the same disk. There a proxy that answers when
a data set is in its spool has rows of its own: it forwards meanwhile, and what it still has at the
end of a round arrives before the next system's turn. In MinIO, against MinIO alone: the same
objects put by as many clients, which is the limit of anything that stores there.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bucket_put import put_operation
from benchmarks.plan import Plan, Selection
from benchmarks.processes import Processes
from benchmarks.rounds import Contestant, measure
from benchmarks.samples import Outcome, Row
from benchmarks.sender import Load, LoadSender, Senders
from benchmarks.systems import (
    ORTHANC,
    OURS,
    SPOOLED,
    Deployment,
    System,
    orthanc,
    our_services,
)
from harness.s3_server import s3_server

FOLDER, MINIO = "storing in a folder", "storing in MinIO"
MINIO_ALONE = "MinIO alone"


def folder_rows(plan: Plan, senders: Senders, selection: Selection) -> Iterator[list[Row]]:
    """Measure each load at ours and at Orthanc, both with a folder."""
    loads = [load for load in plan.storing if selection.wants(FOLDER, str(load))]
    if not loads:
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        systems = {
            OURS: stack.enter_context(our_services(Path(name) / "ours")),
            SPOOLED: stack.enter_context(
                our_services(Path(name) / "spooled", Deployment(spooled=True))
            ),
            ORTHANC: stack.enter_context(orthanc(Path(name) / "orthanc")),
        }
        yield from storing_rows(FOLDER, senders, systems, loads, plan.rounds)


def minio_rows(plan: Plan, senders: Senders, selection: Selection) -> Iterator[list[Row]]:
    """Measure each load at ours with a bucket in MinIO, and at MinIO itself."""
    loads = [load for load in plan.storing if selection.wants(MINIO, str(load))]
    if not loads:
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        server = stack.enter_context(s3_server("minio", Path(name) / "minio"))
        assert server.process is not None
        ours = stack.enter_context(our_services(Path(name) / "ours", Deployment(s3=server)))
        sent = senders.warm_up(ours.port)
        bucket = server.store(server.make_bucket("alone"))
        alone = Processes({"MinIO": server.process.pid})
        for load in loads:
            sending = LoadSender(senders, ours.port, load)
            contestants = {
                OURS: Contestant(sending, ours.processes),
                MINIO_ALONE: Contestant(put_operation(bucket, load), alone),
            }
            yield measure(MINIO, str(load), contestants, plan.rounds, MINIO_ALONE)
            sent += sending.stored
        check_count(OURS, ours, sent)


def storing_rows(
    family: str,
    senders: Senders,
    systems: Mapping[str, System],
    loads: Sequence[Load],
    rounds: int,
    baseline: str = ORTHANC,
) -> Iterator[list[Row]]:
    """Measure each load at each system, then check that each has everything that was sent."""
    stored = {name: senders.warm_up(system.port) for name, system in systems.items()}
    for load in loads:
        sending = {name: LoadSender(senders, each.port, load) for name, each in systems.items()}
        contestants = {
            name: Contestant(_until_indexed(sending[name], each, stored[name]), each.processes)
            for name, each in systems.items()
        }
        yield measure(family, str(load), contestants, rounds, baseline)
        stored = {name: stored[name] + sending[name].stored for name in systems}
    for name, system in systems.items():
        check_count(name, system, stored[name])


def _until_indexed(sending: LoadSender, system: System, before: int) -> Callable[[], Outcome]:
    """Return a send that ends when the system's index has all of it; `before` it had so many."""

    def send() -> Outcome:
        outcome = sending()
        wait_for_count(system, before + sending.stored)
        return outcome

    return send


def check_count(name: str, system: System, expected: int) -> None:
    """Raise RuntimeError when a system has not exactly what it answered Success for.

    What is spooled arrives some time after its answer.
    """
    if (count := wait_for_count(system, expected)) != expected:
        raise RuntimeError(f"{name} has {count} instances after {expected} were stored.")


def wait_for_count(system: System, expected: int, longest: float = 120.0) -> int:
    """Return a system's count as soon as it is at least the expected one."""
    deadline = time.monotonic() + longest
    while (count := system.count()) < expected and time.monotonic() < deadline:
        time.sleep(0.1)
    return count

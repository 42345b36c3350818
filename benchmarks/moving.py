"""C-MOVE and C-GET of a CT study by DCMTK's tools, against Orthanc, near and over a distance.

The destination is DCMTK's storescp, which stores nothing; getscu stores nothing either. Ours has
the distance between proxy and NATS, where a hospital has it, and is compared with itself without.
"""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.plan import Plan, Selection
from benchmarks.rounds import Contestant, measure
from benchmarks.samples import Outcome, Row
from benchmarks.sender import Senders
from benchmarks.systems import ORTHANC, OURS, Deployment, System, orthanc, our_services
from harness import modalities
from harness.instances import MadeInstance, made_instances
from harness.modalities import Peer
from harness.ports import free_port

FAMILY = "retrieving by DIMSE"
NEAR = "dimse-ingestion without distance"
_WORKSTATION, _DESTINATION = "BENCH", "DESTINATION"
_PIXEL_BYTES = 512 * 512 * 2


def rows(plan: Plan, senders: Senders, selection: Selection) -> Iterator[list[Row]]:  # noqa: ARG001 - DCMTK sends here
    """Measure C-MOVE and C-GET beside Orthanc, then C-MOVE over the distance beside no distance."""
    study = f"study of {plan.study_instances} CT slices"
    distance = f"C-MOVE, {study}, {plan.delay * 2000:.0f} ms there and back"
    cases = [f"{service}, {study}" for service in ("C-MOVE", "C-GET")]
    if not any(selection.wants(FAMILY, case) for case in (*cases, distance)):
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        folder, port = Path(name), free_port()
        made = made_instances(folder / "study", plan.study_instances, _PIXEL_BYTES)
        stack.enter_context(modalities.storescp(folder, "--ignore", port=port))
        ours = _ours(stack, folder / "ours", port, made)
        theirs = stack.enter_context(orthanc(folder / "orthanc", modalities=_addresses(port)))
        _fill(theirs, made)
        for case in cases:
            if selection.wants(FAMILY, case):
                contestants = {
                    system: _contestant(at, made, moves=case.startswith("C-MOVE"))
                    for system, at in {OURS: ours, ORTHANC: theirs}.items()
                }
                yield measure(FAMILY, case, contestants, plan.rounds, ORTHANC)
        if selection.wants(FAMILY, distance):
            far = _ours(stack, folder / "far", port, made, plan.delay)
            contestants = {
                OURS: _contestant(far, made, moves=True),
                NEAR: _contestant(ours, made, moves=True),
            }
            yield measure(FAMILY, distance, contestants, plan.rounds, NEAR)


def _contestant(system: System, made: Sequence[MadeInstance], *, moves: bool) -> Contestant:
    return Contestant(_Retrieve(system, made, moves=moves), system.processes)


def _addresses(port: int) -> dict[str, int]:
    return {_WORKSTATION: 1, _DESTINATION: port}


def _ours(
    stack: ExitStack, folder: Path, port: int, made: Sequence[MadeInstance], delay: float = 0.0
) -> System:
    peers = [
        {"aeTitle": _WORKSTATION, "may": ["move", "get"]},
        {"aeTitle": _DESTINATION, "host": "127.0.0.1", "port": port},
    ]
    environment = {"DIMSE_RETRIEVE_ENABLED": "true", "DIMSE_PEERS": json.dumps(peers)}
    deployment = Deployment(delay=delay, environment=environment)
    system = stack.enter_context(our_services(folder, deployment))
    _fill(system, made)
    return system


def _fill(system: System, made: Sequence[MadeInstance]) -> None:
    _run("storescu", system, ["-R"], [str(each.path) for each in made])


def _run(tool: str, system: System, options: Sequence[str], files: Sequence[str] = ()) -> None:
    """Run a tool of DCMTK to its end. Raises CalledProcessError when it fails."""
    peer = Peer("127.0.0.1", system.port, calling=_WORKSTATION)
    command = modalities.command(tool, peer, options, files)
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"TCP_NODELAY": "1"})


class _Retrieve:
    """Retrieve the whole study once, and check that all of it was sent."""

    def __init__(self, system: System, made: Sequence[MadeInstance], *, moves: bool) -> None:
        self._system = system
        self._made = made
        study = made[0].study_instance_uid
        keys = ["-k", "0008,0052=STUDY", "-k", f"0020,000d={study}"]
        if moves:
            self._tool, self._options = "movescu", ["-S", "-aem", _DESTINATION, *keys]
        else:
            self._tool, self._options = "getscu", ["-S", "--ignore", *keys]

    def __call__(self) -> Outcome:
        started = time.perf_counter()
        _run(self._tool, self._system, self._options)
        seconds = time.perf_counter() - started
        return Outcome(len(self._made), sum(each.size for each in self._made), seconds)

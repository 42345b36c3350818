"""`make soak MINUTES=30`: the services under load for a while, their resources before and after.

Memory, file descriptors, threads and tasks of the event loop are read when each service has warmed
up and again when the load has ended; a leak shows as growth. Modalities send and query, and a
DICOMweb client searches and retrieves.
"""

import argparse
import json
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from pydicom import Dataset

from faults import load, tally
from faults.system import Deployment, System, open_system
from harness import scu
from harness.service_logs import serious_lines
from harness.services import ServiceProcess, eventually

_WARM_UP = 30  # acknowledged instances
_TASKS = re.compile(r"^dimse_event_loop_tasks (\S+)$", re.MULTILINE)
_MEMORY = re.compile(r"VmRSS:\s+(\d+) kB")
GROWTH: Mapping[str, tuple[float, int]] = {
    "memory_mib": (1.3, 30),
    "descriptors": (1.0, 8),
    "threads": (1.0, 8),
    "tasks": (1.0, 6),
}
"""Resource → the factor and the summand within which its growth is no leak: caches fill up, and
thread pools start threads as they are needed."""


@dataclass(frozen=True)
class Resources:
    """What one process uses."""

    memory_mib: float
    descriptors: int
    threads: int
    tasks: int


def read(service: ServiceProcess) -> Resources:
    """Return the resources of a service's process now."""
    process = Path(f"/proc/{service.pid}")
    memory = _MEMORY.search((process / "status").read_text())
    tasks = _TASKS.search(service.get("/metrics")[1])
    assert memory, "no memory in /proc"
    assert tasks, "no tasks in /metrics"
    return Resources(
        memory_mib=int(memory[1]) / 1024,
        descriptors=len(list((process / "fd").iterdir())),
        threads=len(list((process / "task").iterdir())),
        tasks=int(float(tasks[1])),
    )


def grown(before: Resources, after: Resources) -> list[str]:
    """Return the names of the resources that grew beyond their bound."""
    return [
        name
        for name, (factor, summand) in GROWTH.items()
        if getattr(after, name) > getattr(before, name) * factor + summand
    ]


def run(seconds: float) -> bool:
    """Run the services under load; print their resources, and return whether all is well."""
    with tempfile.TemporaryDirectory(prefix="dimse-soak-") as name:
        folder = Path(name)
        with open_system(folder, Deployment(dicomweb=True)) as system:
            with load.sending(system.peer, folder / "modalities") as sent:
                sent.discard = True
                sent.wait_for_successes(_WARM_UP)
                with _readers(system, sent.ended) as failures:
                    sent.wait_for_successes(_WARM_UP)
                    before = {each.arguments[0]: read(each) for each in system.services}
                    sent.ended.wait(seconds)
            _wait_until_idle(system, before)
            after = {each.arguments[0]: read(each) for each in system.services}
            missing = tally.missing(system, sent.acknowledged.values())
            if failures:
                print(serious_lines(each.log for each in system.services))
    _print(before, after)
    wrong = [f"{name}: {', '.join(grown(before[name], after[name]))}" for name in before]
    wrong = [line for line in wrong if not line.endswith(": ")]
    print(f"\n{len(sent.acknowledged)} instances, of which {missing} are not in the catalogue")
    print("\n".join([*(f"grew: {line}" for line in wrong), *failures]))
    return not wrong and not missing and not failures


def _print(before: Mapping[str, Resources], after: Mapping[str, Resources]) -> None:
    print("| service | memory, MiB | file descriptors | threads | tasks |\n|---|---|---|---|---|")
    for name, first in before.items():
        last = after[name]
        print(
            f"| {name} | {first.memory_mib:.0f} → {last.memory_mib:.0f} "
            f"| {first.descriptors} → {last.descriptors} | {first.threads} → {last.threads} "
            f"| {first.tasks} → {last.tasks} |"
        )


def _wait_until_idle(system: System, before: Mapping[str, Resources]) -> None:
    """Wait until connections and tasks of the load have ended, as far as they ever do."""
    deadline = time.monotonic() + 60

    def is_idle() -> bool:
        return time.monotonic() > deadline or not any(
            {"descriptors", "tasks"} & set(grown(before[each.arguments[0]], read(each)))
            for each in system.services
        )

    eventually(is_idle, bool, 120)


@contextmanager
def _readers(system: System, ended: Event) -> Iterator[list[str]]:
    """Query by C-FIND and read by DICOMweb until the load ends; yield what failed."""
    failures: list[str] = []

    def repeat(read_once: Callable[[], object]) -> None:
        while not ended.is_set():
            try:
                read_once()
            except Exception as error:  # noqa: BLE001 - counted
                failures.append(f"{read_once.__name__}: {error}")
            ended.wait(0.2)

    def find() -> None:
        wanted = Dataset()
        wanted.QueryRetrieveLevel = "STUDY"
        wanted.StudyInstanceUID = ""
        wanted.StudyDate = "20260101-"
        assert scu.find(system.peer, wanted)

    def retrieve() -> None:
        (study,) = _json(f"{_studies(system)}?limit=1")
        uid = study["0020000D"]["Value"][0]
        assert _json(f"{_studies(system)}/{uid}/metadata")

    with ThreadPoolExecutor(2) as threads:
        working = [threads.submit(repeat, each) for each in (find, retrieve)]
        try:
            yield failures
        finally:
            ended.set()
    for each in working:
        each.result()


def _studies(system: System) -> str:
    return f"http://127.0.0.1:{system.space.dicomweb_port}/dicomweb/studies"


def _json(url: str) -> list[dict[str, dict[str, list[str]]]]:
    request = urllib.request.Request(url, headers={"Accept": "application/dicom+json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        content: list[dict[str, dict[str, list[str]]]] = json.load(response)
        return content


def main(arguments: Sequence[str] | None = None) -> None:
    """Run for so many minutes."""
    parser = argparse.ArgumentParser(prog="faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    if not run(60 * parser.parse_args(arguments).minutes):
        sys.exit("Resources grew, or something failed.")


if __name__ == "__main__":
    main()

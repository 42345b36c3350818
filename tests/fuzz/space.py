"""The services under attack, each a process of its own, and what must hold all the while."""

import os
import re
import shutil
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil

from harness.modalities import Peer
from harness.nats_server import NatsServer, nats_server
from harness.services import ServiceProcess, StorageSpace
from tests.fuzz.bystander import Bystander, Measured, instances

EVIDENCE = Path(__file__).parents[2] / ".evidence" / "fuzz"
MEMORY = 500 * 2**20
_FACTOR = 10
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)|Task exception was never retrieved")
_RECENT = 40
_ALIKE = 200
_VARYING = re.compile(r"[0-9a-f.]*[0-9][0-9a-f.]*")
_IDLE_ROUNDS = 8


@dataclass
class AttackedSpace:
    """One storage space with a bystander; `bound` is how long each of its operations may take."""

    nats: NatsServer
    space: StorageSpace
    services: dict[str, ServiceProcess]
    bystander: Bystander
    bound: float = 0.0
    _read: dict[str, int] = field(default_factory=dict)

    @property
    def dimse(self) -> tuple[str, int]:
        """Where the proxy listens."""
        return "127.0.0.1", self.space.dimse_port

    @property
    def dicomweb(self) -> tuple[str, int]:
        """Where the DICOMweb service listens."""
        return "127.0.0.1", self.space.dicomweb_port

    @property
    def catalogue(self) -> tuple[str, int]:
        """Where the catalogue listens."""
        return "127.0.0.1", self.space.catalogue_port

    @property
    def secrets(self) -> list[bytes]:
        """What no answer to a DIMSE or DICOMweb client may hold: inside addresses and paths."""
        inside = (
            f"127.0.0.1:{self.space.catalogue_port}",
            self.nats.address,
            str(self.space.folder),
        )
        return [each.encode() for each in inside]

    def measure_idle(self) -> None:
        """Measure how long operations take here without an attack.

        A second is what a bystander may wait; a machine that is loaded by others needs more for the
        same work, so a multiple of the slowest is added.
        """
        for _ in range(_IDLE_ROUNDS):
            measured = self.bystander.once()
        assert not any(each.problem for each in measured), measured
        slowest = max(each.seconds for each in self.bystander.measured[len(measured) :])
        self.bound = 1.0 + _FACTOR * slowest

    def ended(self) -> list[str]:
        """Return a sentence for each process that is no more."""
        return [
            f"{name} ended with {service.process.returncode}: {service.last_lines(5)}"
            for name, service in self.services.items()
            if service.process is not None and service.process.poll() is not None
        ]

    def new_tracebacks(self) -> list[str]:
        """Return what was logged with a traceback since the last call."""
        match = []
        for name, service in self.services.items():
            lines = service.lines()
            new = lines[self._read.get(name, 0) :]
            self._read[name] = len(lines)
            match += [f"{name}: {line}" for line in new if _TRACEBACK.search(line)]
        return match

    def heavy(self) -> list[str]:
        """Return a sentence for each process that has had too much memory."""
        return [
            f"{name} ({pid}) had {peak // 2**20} MB"
            for name, service in self.services.items()
            for pid, peak in _peaks(service)
            if peak > MEMORY
        ]

    def held_up(self, since: float) -> list[Measured]:
        """Return the bystander's operations that failed or took too long."""
        return [
            each
            for each in self.bystander.measured
            if each.began >= since and (each.problem or each.seconds > self.bound)
        ]


@dataclass
class Findings:
    """What was found wrong, with the inputs that came before it, in a folder of .evidence."""

    seed: int
    service: str
    sentences: list[str] = field(default_factory=list)
    _kinds: set[str] = field(default_factory=set)
    _recent: "deque[tuple[int, bytes]]" = field(default_factory=lambda: deque(maxlen=_RECENT))

    @property
    def folder(self) -> Path:
        """Where the inputs are kept."""
        return EVIDENCE / f"{self.service}-seed{self.seed}"

    def sent(self, index: int, content: bytes) -> None:
        """Record an input."""
        self._recent.append((index, content))

    def add(self, sentence: str) -> None:
        """Keep a finding and the last inputs, unless it is like an earlier one."""
        kind = _VARYING.sub("", sentence[-_ALIKE:])
        if kind in self._kinds:
            return
        self._kinds.add(kind)
        self.folder.mkdir(parents=True, exist_ok=True)
        number = len(self.sentences)
        last = self._recent[-1][0] if self._recent else -1
        self.sentences.append(f"[{number}] at input {last}: {sentence}")
        (self.folder / "findings.txt").write_text("\n".join(self.sentences) + "\n")
        if number < _RECENT:
            for index, content in [*self._recent]:
                (self.folder / f"{number:02}-input{index:06}.bin").write_bytes(content)

    def text(self) -> str:
        """Return what a person needs to repeat it."""
        command = f"make fuzz FUZZ_SEED={self.seed} PYTEST_OPTIONS='-k {self.service}'"
        shown = "\n".join(_shortened(each) for each in self.sentences[:20])
        return (
            f"{len(self.sentences)} findings (inputs in {self.folder}; again: {command}):\n{shown}"
        )


@cache
def seed() -> int:
    """Return the seed of this run: $FUZZ_SEED, or another each time."""
    return int(os.environ.get("FUZZ_SEED") or time.time_ns() % 10**9)


def seconds() -> float:
    """Return how long each service is attacked: a part of $FUZZ_SECONDS, a minute by default."""
    return float(os.environ.get("FUZZ_SECONDS") or 60) / 4


@contextmanager
def attacked_space(folder: Path, server_settings: dict[str, object]) -> Iterator[AttackedSpace]:
    """Start everything, measure it idle, and end it after the block, its logs kept as evidence."""
    with nats_server(folder / "nats", server_settings) as nats:
        space = StorageSpace(folder / "space", nats.url)
        services = {
            "catalogue": space.catalogue(),
            "ingestion": space.ingestion(),
            "dicomweb": space.dicomweb(),
            "proxy": space.proxy(),
        }
        try:
            for service in services.values():
                service.start()
            for service in services.values():
                service.ready()
            url = f"http://127.0.0.1:{space.dicomweb_port}/dicomweb"
            peer = Peer("127.0.0.1", space.dimse_port)
            bystander = Bystander(peer, url, instances(folder / "instances"))
            attacked = AttackedSpace(nats, space, services, bystander)
            attacked.measure_idle()
            yield attacked
        finally:
            space.close()


def keep_logs(attacked: AttackedSpace, folder: Path) -> None:
    """Copy the services' logs beside the inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, service in attacked.services.items():
        shutil.copy(service.log, folder / f"{name}.log")


def _shortened(sentence: str) -> str:
    return sentence if len(sentence) < 1200 else f"{sentence[:300]} ... {sentence[-800:]}"


def _peaks(service: ServiceProcess) -> Iterator[tuple[int, int]]:
    """Yield the most resident memory of a service's process, and of its workers while they live."""
    try:
        yield service.pid, service.peak_memory()
        for child in psutil.Process(service.pid).children(recursive=True):
            yield child.pid, child.memory_info().rss
    except (OSError, psutil.Error):
        return  # ended; which is found elsewhere

"""DICOMweb of a study and of a large image: what each request costs in time and in bucket reads.

The service and its catalogue are processes with a folder as bucket. There is no peer to compare
with: beside each time stands what it was spent on. A cell is the median of the rounds.
"""

import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from pydicom import dcmread

from harness.instances import made_instances
from harness.multi_frames import FRAME, MultiFrame
from harness.services import ServiceProcess, StorageSpace

_ROUNDS = 5
_INSTANCES = 1000
_PIXELS = 64 * 1024
_BOUNDARY = "frontier"
_PIECE = 1 << 20
_GETS = re.compile(r'dimse_storage_requests_total\{asked="get",outcome="done"\} (\S+)')
_DICOM, _JSON = 'multipart/related; type="application/dicom"', "application/dicom+json"


@dataclass(frozen=True)
class Cost:
    """Of one request: seconds, bytes of the answer, reads of the bucket, bytes the service read."""

    seconds: float
    length: int
    reads: int
    read: int


@dataclass(frozen=True)
class Running:
    """A storage space whose DICOMweb service is measured."""

    space: StorageSpace
    service: ServiceProcess

    def cost(self, path: str, accept: str) -> Cost:
        """Of a GET that is read to its end."""
        reads, read = self._reads(), self._read()
        started = time.perf_counter()
        length = self._send("GET", path, {"Accept": accept})
        seconds = time.perf_counter() - started
        read = self._read() - read
        return Cost(seconds, length, self._reads() - reads, read)

    def store(self, parts: Iterator[bytes]) -> None:
        """Store what Part-10 files in pieces bring; raises RuntimeError."""
        content_type = f"{_DICOM}; boundary={_BOUNDARY}"
        self._send("POST", "/studies", {"Content-Type": content_type}, parts)

    def _send(
        self, method: str, path: str, headers: dict[str, str], body: Iterator[bytes] | None = None
    ) -> int:
        connection = HTTPConnection("127.0.0.1", self.space.dicomweb_port, timeout=600)
        connection.request(method, f"/dicomweb{path}", body, headers, encode_chunked=bool(body))
        answer = connection.getresponse()
        length = sum(map(len, iter(lambda: answer.read(_PIECE), b"")))
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status}")
        return length

    def _reads(self) -> int:
        found = _GETS.search(self.service.get("/metrics")[1])
        return int(float(found[1])) if found else 0

    def _read(self) -> int:
        """Bytes the process read, from the bucket and from its peers."""
        counts = Path(f"/proc/{self.service.pid}/io").read_text().split()
        return int(counts[counts.index("rchar:") + 1])


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """The service and its catalogue, ready."""
    space = StorageSpace(folder, "")
    space.catalogue().start()
    service = space.dicomweb().start()
    try:
        yield Running(space, service.ready())
    finally:
        space.close()


def _related(files: Iterator[Iterator[bytes]]) -> Iterator[bytes]:
    for file in files:
        yield f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        yield from file
        yield b"\r\n"
    yield f"--{_BOUNDARY}--\r\n".encode()


def _stored_study(running: Running, folder: Path) -> str:
    made = made_instances(folder, _INSTANCES, _PIXELS)
    running.store(_related(iter([each.path.read_bytes()]) for each in made))
    return f"/studies/{dcmread(made[0].path, stop_before_pixels=True).StudyInstanceUID}"


def measured(rounds: int = _ROUNDS) -> tuple[dict[str, list[Cost]], int]:
    """Each request's costs by its name, and the most memory the service ever had in bytes."""
    costs: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory(prefix="dicomweb-") as name:
        folder = Path(name)
        with running(folder / "space") as measured_space:
            study = _stored_study(measured_space, folder / "in")
            large = MultiFrame(2**30 // FRAME)
            started = time.perf_counter()
            measured_space.store(_related(iter([large.file()])))
            costs["STOW-RS of 1 GiB"] = [Cost(time.perf_counter() - started, 2**30, 0, 0)]
            for request, (path, accept) in _requests(study, large).items():
                costs[request] = [measured_space.cost(path, accept) for _ in range(rounds)]
            return costs, measured_space.service.peak_memory()


def _requests(study: str, large: MultiFrame) -> dict[str, tuple[str, str]]:
    return {
        f"metadata of a study of {_INSTANCES}": (f"{study}/metadata", _JSON),
        f"the study's {_INSTANCES} instances": (study, _DICOM),
        "WADO-RS of 1 GiB": (large.path, _DICOM),
        "a frame of 1 GiB": (f"{large.path}/frames/1234", "application/octet-stream"),
        "metadata of 1 GiB": (f"{large.path}/metadata", _JSON),
    }


def table(costs: dict[str, list[Cost]], memory: int) -> str:
    """A line for each request, and one for the memory."""
    lines = [
        f"{'DICOMweb':34} {'time':>9} {'answer':>12} {'bucket reads':>13} {'service read':>12}"
    ]
    for name, seen in costs.items():
        median = _median(seen)
        seconds, length = median(lambda each: each.seconds), median(lambda each: each.length)
        reads, read = median(lambda each: each.reads), median(lambda each: each.read)
        lines.append(
            f"{name:34} {seconds * 1000:6.0f} ms {length:10.0f} B {reads:13.0f} {read:10.0f} B"
        )
    lines.append(f"most memory of the service: {memory / 2**20:.0f} MiB")
    return "\n".join(lines)


def _median(seen: list[Cost]) -> Callable[[Callable[[Cost], float]], float]:
    return lambda what: statistics.median(map(what, seen))


def main() -> None:
    """Measure and print."""
    print(table(*measured()))


if __name__ == "__main__":
    main()

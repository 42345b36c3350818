"""The whole path, from a modality to bucket and catalogue, against an Orthanc on the same disk.

`storescu` sends to both, in turns within each round. Both answer only when an instance is durable
and indexed; ours goes through proxy, NATS, ingestion and catalogue, each a process, Orthanc is one
process. A cell is the median of the rounds.
"""

import asyncio
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import modalities
from harness.instances import made_instances
from harness.modalities import Peer
from harness.nats_server import nats_server
from harness.services import StorageSpace, eventually, free_port

_ROUNDS = 3


@dataclass(frozen=True)
class Load:
    """So many images of so many bytes of pixels, over so many associations."""

    name: str
    images: int
    pixel_bytes: int
    associations: int

    def __str__(self) -> str:
        plural = "s" if self.associations > 1 else ""
        return f"{self.name}, {self.associations} association{plural}"


LOADS = [
    Load("300 of 3 KB", 300, 2_700, 1),
    Load("300 of 3 KB", 300, 2_700, 4),
    Load("100 CT of 512 KiB", 100, 2**19, 1),
    Load("100 CT of 512 KiB", 100, 2**19, 4),
]


@contextmanager
def whole_path(folder: Path) -> Iterator[Peer]:
    """Start the services as processes around a nats-server."""
    with nats_server(folder / "nats") as nats:
        space = StorageSpace(folder / "space", nats.url)
        services = [each.start() for each in (space.catalogue(), space.ingestion(), space.proxy())]
        try:
            for service in services:
                service.ready()
            yield Peer("127.0.0.1", space.dimse_port)
        finally:
            space.close()


@contextmanager
def orthanc(folder: Path) -> Iterator[Peer]:
    """An Orthanc that keeps what it gets in files, synced, and indexes it."""
    port = free_port()
    folder.mkdir(parents=True)
    configuration = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomPort": port,
        "DicomAet": "DICOM-INGEST",
        "HttpServerEnabled": False,
        "DicomAlwaysAllowStore": True,
        "SyncStorageArea": True,
        "OverwriteInstances": False,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    process = subprocess.Popen(
        ["Orthanc", str(folder / "orthanc.json")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    peer = Peer("127.0.0.1", port)
    try:
        eventually(lambda: asyncio.run(modalities.echoscu(peer)).status, lambda seen: seen == 0)
        yield peer
    finally:
        process.terminate()
        process.wait()


def _folders(folder: Path, load: Load) -> list[Path]:
    each = load.images // load.associations
    folders = [folder / str(n) for n in range(load.associations)]
    for one in folders:
        made_instances(one, each, load.pixel_bytes)
    return folders


async def _sent(peer: Peer, folders: list[Path]) -> None:
    sending = (modalities.storescu(peer, one, options=("+sd",)) for one in folders)
    for ended in await asyncio.gather(*sending):
        if ended.status != 0:
            raise RuntimeError(ended.output)


def _seconds(peer: Peer, folder: Path, load: Load) -> float:
    folders = _folders(folder, load)
    started = time.perf_counter()
    asyncio.run(_sent(peer, folders))
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    return seconds


def measured(rounds: int = _ROUNDS) -> dict[Load, dict[str, float]]:
    """Seconds for each load and receiver."""
    times: dict[Load, dict[str, list[float]]] = {
        load: {"whole path": [], "Orthanc": []} for load in LOADS
    }
    with tempfile.TemporaryDirectory(prefix="whole-path-") as name:
        folder = Path(name)
        with whole_path(folder / "ours") as ours, orthanc(folder / "orthanc") as theirs:
            for number in range(rounds):
                for load in LOADS:
                    for receiver, peer in (("whole path", ours), ("Orthanc", theirs)):
                        sent = folder / f"in-{number}"
                        times[load][receiver].append(_seconds(peer, sent, load))
    return {
        load: {name: statistics.median(each) for name, each in seen.items()}
        for load, seen in times.items()
    }


def table(medians: dict[Load, dict[str, float]]) -> str:
    """A line for each load."""
    lines = [f"{'whole path':40} {'ours':>8} {'Orthanc':>8} {'ours/Orthanc':>13}"]
    for load, seen in medians.items():
        ours, theirs = seen["whole path"], seen["Orthanc"]
        lines.append(f"{load!s:40} {ours:7.2f}s {theirs:7.2f}s {ours / theirs:13.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    print(table(measured()))


if __name__ == "__main__":
    main()

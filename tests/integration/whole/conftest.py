"""All services as processes around a real nats-server, as a user starts them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from harness.modalities import Peer
from harness.nats_server import NatsServer, nats_server
from harness.services import ServiceProcess, StorageSpace


@dataclass
class System:
    """One storage space with everything it needs."""

    nats: NatsServer
    space: StorageSpace
    catalogue: ServiceProcess
    ingestion: list[ServiceProcess]
    proxy: ServiceProcess

    @property
    def peer(self) -> Peer:
        return Peer("127.0.0.1", self.space.dimse_port)

    def objects(self) -> dict[str, Path]:
        """Return the objects in the bucket by the digest that leads their key."""
        paths = self.space.bucket.rglob("*.dcm")
        return {path.parent.name.partition("-")[0]: path for path in paths}

    def catalogued(self, sop_instance_uid: str) -> bool:
        """Return whether the catalogue knows an instance, asked by HTTP."""
        key = {"group": "0008", "element": "0018", "vr": "UI", "value": sop_instance_uid}
        request = Request(
            f"http://127.0.0.1:{self.space.catalogue_port}/query/instances?source=provider",
            json.dumps({"scope": "IMAGE", "queryAttributes": [key]}).encode(),
            {"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=30) as answer:
            lines = [json.loads(line) for line in answer.read().splitlines()]
        assert (lines[-1]["end"], lines[-1].get("count", 0)) == (True, len(lines) - 1)
        return len(lines) > 1


def started(folder: Path, nats: NatsServer, replicas: int = 1, **extra: str) -> System:
    space = StorageSpace(folder, nats.url, extra=extra)
    catalogue = space.catalogue().start()
    ingestion = [space.ingestion(f"replica{n}").start() for n in range(replicas)]
    proxy = space.proxy().start()
    try:
        for service in (catalogue, *ingestion, proxy):
            service.ready()
    except BaseException:
        space.close()
        raise
    return System(nats, space, catalogue, ingestion, proxy)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with nats_server(tmp_path / "nats") as nats:
        system = started(tmp_path / "space", nats)
        yield system
        system.space.close()


@pytest.fixture
def two_replicas(tmp_path: Path) -> Iterator[System]:
    with nats_server(tmp_path / "nats") as nats:
        system = started(tmp_path / "space", nats, replicas=2)
        yield system
        system.space.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("shared")
    with nats_server(folder / "nats") as nats:
        system = started(folder / "space", nats)
        yield system
        system.space.close()

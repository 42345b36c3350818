"""The system that is broken: all services of a storage space, each a process, around real servers.

The bucket is a folder or MinIO, the catalogue's database SQLite or PostgreSQL. The proxy reaches
NATS, and ingestion the catalogue, through a relay, which a fault may use; MinIO where asked for.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faults.relay import Relay, relay
from harness.modalities import Peer
from harness.nats_server import NatsServer, nats_server
from harness.ports import free_port
from harness.postgresql import PostgreSQL, postgresql
from harness.s3_server import S3Server, s3_server
from harness.services import ServiceProcess, StorageSpace

BUCKET = "images"
_LONGEST_START = 240.0  # seconds, on a machine that does other work


@dataclass(frozen=True)
class Deployment:
    """How the system runs."""

    replicas: int = 1
    minio: bool = False
    postgresql: bool = False
    acknowledge: str = "stored"
    dicomweb: bool = False
    delay: float = 0.0
    cut_share: float = 0.0
    relays_bucket: bool = False
    """Whether ingestion reaches MinIO through a relay."""
    peers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The AEs that the proxy knows, each at a port of its own, and what they may request."""
    proxy_patch: str = ""
    """Python code that the proxy runs at its start."""
    environment: dict[str, str] = field(default_factory=dict)
    """Further variables of every service."""


@dataclass
class System:
    """A running system; a fault stops, pauses and starts its parts."""

    folder: Path
    space: StorageSpace
    nats: NatsServer
    to_nats: Relay
    """Between the proxy and NATS."""
    to_catalogue: Relay
    """Between ingestion and the catalogue."""
    catalogue: ServiceProcess
    ingestion: list[ServiceProcess]
    proxy: ServiceProcess
    acknowledge: str
    peer_ports: Mapping[str, int]
    """The port at which the proxy expects each peer."""
    to_bucket: Relay | None = None
    """Between ingestion and MinIO."""
    dicomweb: ServiceProcess | None = None
    minio: S3Server | None = None
    postgresql: PostgreSQL | None = None

    @property
    def peer(self) -> Peer:
        """The proxy's AE."""
        return Peer("127.0.0.1", self.space.dimse_port)

    @property
    def services(self) -> list[ServiceProcess]:
        """Every service."""
        others = [self.dicomweb] if self.dicomweb else []
        return [self.catalogue, *self.ingestion, self.proxy, *others]

    @property
    def spool(self) -> Path:
        """The proxy's spool directory."""
        return self.space.folder / "spool-proxy"

    def write_key(self, secret: str) -> None:
        """Rotate the secret key that ingestion uses for the bucket."""
        (self.folder / "s3-secret" / "AWS_SECRET_ACCESS_KEY").write_text(secret)

    def restart(self, *services: ServiceProcess) -> None:
        """Kill services, start them again, and wait until they are ready."""
        for service in services:
            service.kill()
        for service in services:
            service.start()
        for service in services:
            service.ready(_LONGEST_START)


@contextmanager
def open_system(folder: Path, deployment: Deployment) -> Iterator[System]:
    """Start a system, and end it after the block."""
    with ExitStack() as stack:
        nats = stack.enter_context(nats_server(folder / "nats"))
        to_nats = stack.enter_context(
            relay(nats.port, delay=deployment.delay, cut_share=deployment.cut_share)
        )
        peer_ports = {title: free_port() for title in deployment.peers}
        extra = _peer_settings(folder, deployment, peer_ports) | deployment.environment
        minio, to_bucket = None, None
        if deployment.minio:
            minio = stack.enter_context(s3_server("minio", folder / "minio"))
            endpoint = minio.endpoint
            if deployment.relays_bucket:
                to_bucket = stack.enter_context(relay(minio.port))
                endpoint = f"http://127.0.0.1:{to_bucket.port}"
            extra |= _minio_settings(folder, minio, endpoint)
        space = StorageSpace(folder / "space", nats.url, extra=extra)
        stack.callback(space.close)
        database = None
        if deployment.postgresql:
            database = stack.enter_context(postgresql(folder / "postgresql", durable=True))
            space.database_url = database.make_database("catalogue")
        to_catalogue = stack.enter_context(relay(space.catalogue_port))
        system = System(
            folder,
            space,
            nats,
            to_nats,
            to_catalogue,
            space.catalogue(),
            [_ingestion(space, to_catalogue, n) for n in range(deployment.replicas)],
            _proxy(space, to_nats, deployment),
            deployment.acknowledge,
            peer_ports,
            to_bucket,
            space.dicomweb() if deployment.dicomweb else None,
            minio,
            database,
        )
        for service in system.services:
            service.start()
        for service in system.services:
            service.ready(_LONGEST_START)
        yield system


def _ingestion(space: StorageSpace, to_catalogue: Relay, number: int) -> ServiceProcess:
    replica = space.ingestion(f"replica{number}")
    sink = f"http://127.0.0.1:{to_catalogue.port}/events"
    replica.environment = {**replica.environment, "K_SINK": sink}
    return replica


def _proxy(space: StorageSpace, to_nats: Relay, deployment: Deployment) -> ServiceProcess:
    proxy = space.proxy()
    own = {
        "DIMSE_NATS_URL": f"nats://127.0.0.1:{to_nats.port}",
        "DIMSE_ACKNOWLEDGE": deployment.acknowledge,
    }
    if deployment.proxy_patch:
        patches = space.folder / "patches"
        patches.mkdir(parents=True)
        (patches / "sitecustomize.py").write_text(deployment.proxy_patch)
        own["PYTHONPATH"] = str(patches)
    proxy.environment = {**proxy.environment, **own}
    return proxy


def _peer_settings(
    folder: Path, deployment: Deployment, ports: Mapping[str, int]
) -> dict[str, str]:
    if not ports:
        return {}
    peers = [
        {"aeTitle": title, "host": "127.0.0.1", "port": ports[title], "may": list(rights)}
        for title, rights in deployment.peers.items()
    ]
    return {
        "DIMSE_PEERS": json.dumps(peers),
        "DIMSE_STORAGE_COMMITMENT_DIRECTORY": str(folder / "commitment"),
    }


def _minio_settings(folder: Path, minio: S3Server, endpoint: str) -> dict[str, str]:
    config, secret = folder / "s3-config", folder / "s3-secret"
    files = {
        config / "BUCKET_NAME": minio.make_bucket(BUCKET),
        config / "BUCKET_HOST": endpoint,
        secret / "AWS_ACCESS_KEY_ID": minio.access_key,
        secret / "AWS_SECRET_ACCESS_KEY": minio.secret_key,
    }
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return {"BUCKET_CONFIG_PATH": str(config), "BUCKET_SECRET_PATH": str(secret)}

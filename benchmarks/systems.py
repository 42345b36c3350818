"""The systems that store: ours as processes around a nats-server, and Orthanc.

Both answer a C-STORE when the object's file and folder entry are synced and it is indexed. Ours
commits the catalogue durably (SQLite `synchronous=FULL`); Orthanc's index is SQLite with
`synchronous=NORMAL`, which a power cut may set back, and there is no setting for it.
"""

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import psycopg

from benchmarks.association import LONGEST_PDU
from benchmarks.interpreter import measured_interpreter
from benchmarks.processes import Processes
from benchmarks.receivers import accepts_associations
from benchmarks.relay import delaying_relay
from benchmarks.sender import LONGEST_ASSOCIATIONS
from harness.nats_server import nats_server
from harness.ports import free_port
from harness.postgresql import PostgreSQL
from harness.s3_server import S3Server
from harness.services import ServiceProcess, StorageSpace, eventually

OURS, ORTHANC = "dimse-ingestion", "Orthanc"
SPOOLED = "dimse-ingestion, spooled"
DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True)
class System:
    """A running system; `count` counts the instances in its index."""

    port: int
    processes: Processes
    count: Callable[[], int]
    http_port: int = 0
    space: StorageSpace | None = None


@dataclass(frozen=True)
class Deployment:
    """How ours runs: replicas, bucket, database, and seconds of distance to NATS."""

    replicas: int = 1
    s3: S3Server | None = None
    postgresql: PostgreSQL | None = None
    delay: float = 0.0
    dicomweb: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    spooled: bool = False
    """True if the proxy answers when a data set is in its spool."""


@contextmanager
def our_services(folder: Path, deployment: Deployment | None = None) -> Iterator[System]:
    """Start every service of a storage space, each a process."""
    chosen = deployment or Deployment()
    with ExitStack() as stack:
        nats = stack.enter_context(nats_server(folder / "nats"))
        space = StorageSpace(folder / "space", nats.url, extra=_environment(folder, chosen))
        stack.callback(space.close)
        if chosen.postgresql:
            space.database_url = chosen.postgresql.make_database("catalogue")
        services = _services(space, chosen)
        if chosen.delay:
            relay = stack.enter_context(delaying_relay(nats.port, chosen.delay))
            url = {"DIMSE_NATS_URL": f"nats://127.0.0.1:{relay}"}
            services["proxy"].environment = {**services["proxy"].environment, **url}
        if chosen.spooled:
            mode = {"DIMSE_ACKNOWLEDGE": "spooled"}
            services["proxy"].environment = {**services["proxy"].environment, **mode}
        python = measured_interpreter()
        for service in services.values():
            service.python = python.program
            service.environment = {**python.variables, **service.environment}
            service.start()
        pids = {name: service.ready().pid for name, service in services.items()}
        assert nats.process is not None
        pids["NATS"] = nats.process.pid
        yield System(
            space.dimse_port,
            Processes(pids | _servers(chosen)),
            lambda: _catalogued(space),
            space.dicomweb_port,
            space,
        )


def _services(space: StorageSpace, deployment: Deployment) -> dict[str, ServiceProcess]:
    services = {"proxy": space.proxy()}
    for number in range(deployment.replicas):
        name = f"ingestion {number + 1}" if deployment.replicas > 1 else "ingestion"
        services[name] = space.ingestion(f"replica{number}")
    services["catalogue"] = space.catalogue()
    if deployment.dicomweb:
        services["dicomweb"] = space.dicomweb()
    return services


def _servers(deployment: Deployment) -> dict[str, int]:
    servers = {"MinIO": deployment.s3, "PostgreSQL": deployment.postgresql}
    return {
        name: server.process.pid
        for name, server in servers.items()
        if server is not None and server.process is not None
    }


def _environment(folder: Path, deployment: Deployment) -> dict[str, str]:
    if deployment.s3 is None:
        return dict(deployment.environment)
    config, secret = folder / "s3-config", folder / "s3-secret"
    bucket = deployment.s3.make_bucket(f"bench-{free_port()}")
    _write(config, {"BUCKET_NAME": bucket, "BUCKET_HOST": deployment.s3.endpoint})
    keys = {
        "AWS_ACCESS_KEY_ID": deployment.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": deployment.s3.secret_key,
    }
    _write(secret, keys)
    paths = {"BUCKET_CONFIG_PATH": str(config), "BUCKET_SECRET_PATH": str(secret)}
    return paths | dict(deployment.environment)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)


def _catalogued(space: StorageSpace) -> int:
    """Count the instances in the catalogue's database."""
    statement = "SELECT count(*) FROM instances"
    if space.database_url:
        with psycopg.connect(space.database_url.replace("+psycopg", "")) as connection:
            row = connection.execute(statement).fetchone()
            return int(row[0]) if row else 0
    file = f"file:{space.folder}/catalogue.db?mode=ro"
    with closing(sqlite3.connect(file, uri=True)) as database:
        return int(database.execute(statement).fetchone()[0])


@contextmanager
def orthanc(
    folder: Path,
    *,
    synced: bool = True,
    dicomweb: bool = False,
    modalities: Mapping[str, int] | None = None,
) -> Iterator[System]:
    """Start an Orthanc; `synced` files are what its answer to a C-STORE stands for.

    `modalities` are the ports of the AEs that it knows, by title.
    """
    port, http_port = free_port(), free_port()
    folder.mkdir(parents=True)
    (folder / "orthanc.json").write_text(
        json.dumps(
            _orthanc_settings(folder, port, http_port, synced, dicomweb)
            | {"DicomModalities": _modalities(modalities or {})}
        )
    )
    process = subprocess.Popen(
        ["Orthanc", str(folder / "orthanc.json")],
        env=os.environ | {"TCP_NODELAY": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: accepts_associations(port), bool)
        yield System(
            port,
            Processes({ORTHANC: process.pid}),
            lambda: _orthanc_count(http_port),
            http_port,
        )
    finally:
        process.terminate()
        process.wait()


def _orthanc_settings(
    folder: Path, port: int, http_port: int, synced: bool, dicomweb: bool
) -> dict[str, object]:
    return {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomPort": port,
        "DicomAet": "DICOM-INGEST",
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomThreadsCount": LONGEST_ASSOCIATIONS,
        "MaximumPduLength": LONGEST_PDU,
        "HttpPort": http_port,
        "KeepAlive": True,
        "TcpNoDelay": True,
        "HttpCompressionEnabled": False,
        "SyncStorageArea": synced,
        "OverwriteInstances": False,
        "StorageAccessOnFind": "Never",
        "Plugins": [str(DICOMWEB_PLUGIN)] if dicomweb else [],
    }


def _modalities(ports: Mapping[str, int]) -> dict[str, list[object]]:
    return {title: [title, "127.0.0.1", port] for title, port in ports.items()}


def _orthanc_count(http_port: int) -> int:
    with urlopen(f"http://127.0.0.1:{http_port}/statistics", timeout=60) as answer:
        return int(json.load(answer)["CountInstances"])

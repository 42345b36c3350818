"""Each service starts with nothing mounted, names what is missing, and recovers when it appears."""

import json
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from harness import scu
from harness.modalities import Peer
from harness.nats_server import NatsServer, ServerTls, nats_server
from harness.services import ServiceProcess, StorageSpace, eventually

TOKEN = "a-token-for-tests"


@pytest.fixture
def tls(tmp_path: Path) -> ServerTls:
    return ServerTls.made_in(tmp_path / "tls")


@pytest.fixture
def nats(tmp_path: Path, tls: ServerTls) -> Iterator[NatsServer]:
    configuration = {
        "tls": tls.configuration(client_certificates=True),
        "authorization": {"token": TOKEN},
    }
    with nats_server(tmp_path / "nats", configuration) as running:
        yield running


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    """Create empty folders, as for optional volumes whose Secrets do not exist."""
    for name in ("token", "ca", "client", "bucket-config", "bucket-secret", "database"):
        (tmp_path / "mounts" / name).mkdir(parents=True)
    return tmp_path / "mounts"


@pytest.fixture
def space(tmp_path: Path, nats: NatsServer, mounts: Path) -> Iterator[StorageSpace]:
    made = StorageSpace(
        tmp_path / "space",
        nats.url,
        nats_token=str(mounts / "token"),
        database_url=str(mounts / "database"),
        extra={
            "DIMSE_NATS_TOKEN_SECRET_NAME": "radiology-nats",
            "DIMSE_NATS_CA_PATH": str(mounts / "ca" / "ca.crt"),
            "DIMSE_NATS_CA_SECRET_NAME": "nats-ca",
            "DIMSE_NATS_CERTIFICATE_PATH": str(mounts / "client" / "tls.crt"),
            "DIMSE_NATS_KEY_PATH": str(mounts / "client" / "tls.key"),
            "DIMSE_NATS_CERTIFICATE_SECRET_NAME": "nats-client",
            "BUCKET_CONFIG_PATH": str(mounts / "bucket-config"),
            "BUCKET_SECRET_PATH": str(mounts / "bucket-secret"),
            "BUCKET_CONFIG_NAME": "img-ingest",
            "BUCKET_SECRET_NAME": "img-ingest-s3",
            "DATABASE_SECRET_NAME": "core-database",
        },
    )
    yield made
    made.close()


def says(service: ServiceProcess, sentence: str) -> None:
    eventually(service.readiness, lambda seen: seen[0] == 503 and sentence in seen[1])
    assert service.get("/livez")[0] == 200


def readiness_names(service: ServiceProcess) -> list[str]:
    """Return the log's events about readiness, in order."""
    lines = [json.loads(line) for line in service.lines()]
    return [
        f"{line['event']} {json.dumps(line.get('reason', ''))}"
        for line in lines
        if line["event"].endswith("ready.")
    ]


def test_services_wait_for_what_is_mounted_name_it_and_recover(
    space: StorageSpace, mounts: Path, tls: ServerTls
) -> None:
    catalogue, ingestion, proxy = services = (
        space.catalogue().start(),
        space.ingestion().start(),
        space.proxy().start(),
    )
    says(catalogue, "database: Missing database Secret core-database: create it.")
    says(ingestion, "bucket: Missing bucket ConfigMap img-ingest: create it.")
    for service in (ingestion, proxy):
        says(service, "nats: Missing NATS credential Secret radiology-nats: create it.")
    (mounts / "token" / "token").write_text(TOKEN)
    says(proxy, "nats: Missing NATS CA Secret nats-ca: create it.")
    (mounts / "ca" / "ca.crt").write_bytes(tls.ca_file.read_bytes())
    says(proxy, "nats: Missing NATS client certificate Secret nats-client: create it.")
    (mounts / "client" / "tls.crt").write_bytes(tls.client_certificate_file.read_bytes())
    says(proxy, "nats: Missing key tls.key in NATS client certificate Secret nats-client: add it.")
    (mounts / "client" / "tls.key").write_bytes(tls.client_key_file.read_bytes())

    (mounts / "bucket-config" / "BUCKET_REGION").write_text("us-south")
    says(ingestion, "bucket: Missing bucket Secret img-ingest-s3: create it.")
    (mounts / "bucket-config" / "LOCAL_STORAGE_PATH").write_text(str(space.bucket))
    (mounts / "database" / "DATABASE_URL").write_text(f"sqlite:///{space.folder}/catalogue.db")
    for service in services:
        service.ready()
    assert scu.echo(Peer("127.0.0.1", space.dimse_port)) == 0
    for service in services:
        output = eventually(
            partial(readiness_names, service), lambda output: "is ready" in output[-1]
        )
        assert all(line != following for line, following in pairwise(output))

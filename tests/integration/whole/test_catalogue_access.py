"""A space whose catalogue has TLS and a token, as processes: DIMSE in, DIMSE out, `check`."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from harness import scu
from harness.instances import made_instances
from harness.modalities import Peer
from harness.nats_server import nats_server
from harness.ports import free_port
from harness.services import ServiceProcess, StorageSpace, eventually
from tests.catalogue_secret import EXPIRED, CatalogueSecret, certificate_keys
from tests.integration.whole.standing import command

SECRET_NAME = "core-catalogue"


@dataclass
class Secured:
    """The space, and the Secrets of the two sides."""

    space: StorageSpace
    server: CatalogueSecret
    client: CatalogueSecret
    catalogue: ServiceProcess
    ingestion: ServiceProcess
    proxy: ServiceProcess

    @property
    def peer(self) -> Peer:
        return Peer("127.0.0.1", self.space.dimse_port)

    def give_both(self, token: str) -> None:
        """Give both sides the same certificate authority and token."""
        self.server.put_all(token)
        self.client.put_all(token)

    def checked(self, service: ServiceProcess) -> str:
        """Return the output of `check`."""
        ended = subprocess.run(
            command("check", *service.arguments),
            env={"PATH": "/usr/bin:/bin", **service.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == int("wrong " in ended.stdout), ended.stdout + ended.stderr
        return ended.stdout

    def logs(self) -> str:
        return "".join(each.log.read_text(errors="replace") for each in self.space.services)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    server = CatalogueSecret(folder / "server").put_all()
    client = CatalogueSecret(folder / "client", server.authority).put_all()
    port = free_port()
    with nats_server(folder / "nats") as nats:
        space = StorageSpace(folder / "space", nats.url)
        space.extra = {
            "DIMSE_CATALOGUE_PORT": str(port),
            "DIMSE_CATALOGUE_CERTIFICATE_PATH": str(server.folder / "tls.crt"),
            "DIMSE_CATALOGUE_KEY_PATH": str(server.folder / "tls.key"),
            "DIMSE_CATALOGUE_TOKEN": str(server.folder),
            "DIMSE_CATALOGUE_SECRET_NAME": SECRET_NAME,
        }
        catalogue = space.catalogue().start()
        url = f"https://127.0.0.1:{port}"
        space.extra = {
            "K_SINK": f"{url}/events",
            "QUERY_ENDPOINT": url,
            "DIMSE_CATALOGUE_TOKEN": str(client.folder),
            "DIMSE_CATALOGUE_CA_PATH": str(client.folder / "ca.crt"),
            "DIMSE_CATALOGUE_SECRET_NAME": SECRET_NAME,
        }
        ingestion = space.ingestion().start()
        space.extra = {"DIMSE_OPERATION_TIMEOUT": "6"}
        proxy = space.proxy().start()
        try:
            yield Secured(space, server, client, catalogue, ingestion, proxy)
        finally:
            space.close()


@pytest.fixture
def ready(secured: Secured) -> Secured:
    secured.give_both("secret-1")
    for service in (secured.catalogue, secured.ingestion, secured.proxy):
        service.ready()
    return secured


def images(peer: Peer, path: Path) -> list[Dataset]:
    sent = dcmread(path)
    request = Dataset()
    request.QueryRetrieveLevel = "IMAGE"
    request.StudyInstanceUID, request.SeriesInstanceUID = (
        sent.StudyInstanceUID,
        sent.SeriesInstanceUID,
    )
    request.SOPInstanceUID = ""
    return scu.find(peer, request)


def test_a_modality_stores_and_finds(ready: Secured, tmp_path: Path) -> None:
    made = [each.path for each in made_instances(tmp_path, 3, 4096)]
    assert [answer.status for answer in scu.store(ready.peer, made)] == [0, 0, 0]
    assert len(images(ready.peer, made[0])) == 3
    for service in (ready.ingestion, ready.catalogue):
        assert "wrong " not in ready.checked(service)


def test_a_wrong_token_is_reported_to_all_until_it_is_put_right(
    ready: Secured, tmp_path: Path
) -> None:
    (made,) = made_instances(tmp_path, 1, 4096)
    message = f"refuses the token: correct DIMSE_CATALOGUE_TOKEN in catalogue Secret {SECRET_NAME}."
    ready.client.put_all("another-secret")
    eventually(
        ready.ingestion.readiness, lambda seen: f"event sink: The catalogue {message}" in seen[1]
    )
    assert f"catalogue: The catalogue {message}" in ready.ingestion.readiness()[1]
    assert ready.catalogue.readiness()[0] == 200
    checked = ready.checked(ready.ingestion)
    assert checked.count(message) == 2
    (answer,) = scu.store(ready.peer, [made.path])
    assert answer.status == 0xA700
    warned = [json.loads(line) for line in ready.catalogue.lines() if "bearer token" in line]
    assert warned[0]["reason"] == "The bearer token is wrong: send the one this service was given."
    ready.client.put_all("secret-1")
    ready.ingestion.ready()
    assert [answer.status for answer in scu.store(ready.peer, [made.path])] == [0]
    for token in ("secret-1", "another-secret"):
        assert token not in ready.logs() + checked


def test_a_token_replaced_beside_its_former_one_fails_no_operation(
    ready: Secured, tmp_path: Path
) -> None:
    made = [each.path for each in made_instances(tmp_path, 6, 4096)]
    former = {"previous-token": "secret-1"}
    sent = scu.store(ready.peer, made[:2])
    ready.client.put_all("secret-2", **former)
    sent += scu.store(ready.peer, made[2:4])
    ready.server.put_all("secret-2", **former)
    sent += scu.store(ready.peer, made[4:])
    assert [answer.status for answer in sent] == [0] * 6


def test_check_reports_an_expired_certificate_at_both_sides(ready: Secured) -> None:
    expired = certificate_keys(ready.server.authority, not_after=EXPIRED)
    ready.server.put({**expired, "token": "secret-1"})
    eventually(ready.catalogue.readiness, lambda seen: "certificate expired on" in seen[1])
    assert "catalogue's certificate expired on" in ready.checked(ready.catalogue)
    assert "certificate has expired; renew it." in ready.checked(ready.ingestion)


def test_check_reports_a_catalogue_that_would_be_exposed(ready: Secured) -> None:
    exposed = {
        name: value
        for name, value in ready.catalogue.environment.items()
        if not name.startswith(("DIMSE_CATALOGUE_", "DIMSE_HTTP_HOST"))
    }
    ready_to_check = ServiceProcess(["catalogue"], exposed, ready.catalogue.log)
    assert "wrong   events and queries: DIMSE_CATALOGUE_CERTIFICATE_PATH is not set" in (
        ready.checked(ready_to_check)
    )

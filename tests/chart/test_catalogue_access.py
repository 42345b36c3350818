"""The catalogue and its clients know each other by one Secret, over TLS, or by none."""

import base64
import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest

from dimse_ingestion.secure_http.server_certificate import ServerCertificate
from dimse_ingestion.settings import CatalogueSettings, StorageSpaceSettings
from harness.chart.rendering import Manifest, Rendering, rendered, shipped_values
from tests.chart.mounted_pod import MountedPod

SPACE = shipped_values("ci/minimal-values.yaml")
ELSEWHERE = shipped_values("ci/external-catalogue-values.yaml")
CORE = shipped_values("ci/core-only-values.yaml")
ACCESS = {"DIMSE_CATALOGUE_TOKEN", "DIMSE_CATALOGUE_CA_PATH", "DIMSE_CATALOGUE_SECRET_NAME"}


def generated(rendering: Rendering) -> dict[str, str]:
    """Return the keys of the one Secret that a release makes, decoded."""
    (made,) = rendering.of_kind("Secret")
    return {key: base64.b64decode(value).decode() for key, value in made["data"].items()}


def mounted(rendering: Rendering, component: str, root: Path, keys: dict[str, str]) -> MountedPod:
    """Return a component's pod and mount the keys of the catalogue's Secret that it uses."""
    pod = MountedPod(rendering.pod(component), rendering, root / component)
    pod.mount()
    volume = next(each for each in pod.pod.spec["volumes"] if each["name"].startswith("catalogue-"))
    wanted = [each["key"] for each in volume["secret"].get("items", [])] or [*keys]
    folder = pod.path("/etc/catalogue")
    for file in folder.iterdir():
        file.unlink()
    for key in keys:
        if key in wanted:
            (folder / key).write_text(keys[key], encoding="ascii")
    return pod


@pytest.mark.parametrize("component", ["ingestion", "dicomweb"])
def test_a_release_makes_what_both_sides_read(
    component: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendering = rendered(SPACE)
    keys = generated(rendering)
    client = mounted(rendering, component, tmp_path, keys).settings(monkeypatch)
    server = mounted(rendering, "catalogue", tmp_path, keys).settings(monkeypatch)
    assert isinstance(client, StorageSpaceSettings)
    assert isinstance(server, CatalogueSettings)
    assert client.catalogue_access.read_tokens() == server.access.read_tokens() == (keys["token"],)
    assert client.event_sink_access.read_tokens() == (keys["token"],)
    server.refuse_exposed()
    host = client.query_endpoint.removeprefix("https://").removesuffix(":8443")
    assert client.event_sink == f"https://{host}:8443/events"
    assert handshake(server, client.catalogue_access.read_authority(), host) == ""


@pytest.mark.parametrize(
    "host",
    [
        "radiology-catalogue",
        "radiology-catalogue.imaging",
        "radiology-catalogue.imaging.svc",
        "radiology-catalogue.imaging.svc.cluster.local",
        "localhost",
    ],
)
def test_the_certificate_is_for_each_name_of_its_service(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendering = rendered(SPACE)
    keys = generated(rendering)
    server = mounted(rendering, "catalogue", tmp_path, keys).settings(monkeypatch)
    assert isinstance(server, CatalogueSettings)
    assert handshake(server, keys["ca.crt"], host) == ""
    assert "mismatch" in handshake(server, keys["ca.crt"], "core-catalogue")
    assert "verify failed" in handshake(server, generated(rendered(SPACE))["ca.crt"], host)


def handshake(settings: CatalogueSettings, authority: str, host: str) -> str:
    """Return why a client that trusts `authority` can't connect to `host`; empty when it can."""
    assert settings.certificate_path is not None
    assert settings.key_path is not None
    certificate = ServerCertificate(settings.certificate_path, settings.key_path, "catalogue")
    certificate.reload()
    assert certificate.problem == ""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.create_default_context(cadata=authority)
    client = trusting.wrap_bio(to_client, to_server, server_hostname=host)
    server = certificate.context.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(5):
            for side in (client, server):
                _step(side)
    except ssl.SSLError as error:
        return str(error)
    return ""


def _step(side: ssl.SSLObject) -> None:
    with contextlib.suppress(ssl.SSLWantReadError):
        side.do_handshake()


@pytest.mark.parametrize("component", ["ingestion", "dicomweb"])
def test_a_client_has_no_key_of_the_server(component: str) -> None:
    volume = rendered(SPACE).pod(component).volume("catalogue-access")["secret"]
    assert {each["key"] for each in volume["items"]} == {"ca.crt", "token", "previous-token"}
    assert volume["optional"] is True


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("core", "core-catalogue"),
        ("core.imaging", "core-catalogue.imaging"),
        (f"{'c' * 50}.imaging", f"{'c' * 46}-catalogue.imaging"),
    ],
)
def test_another_releases_catalogue_is_known_by_the_secret_of_its_name(
    name: str, host: str
) -> None:
    rendering = rendered(ELSEWHERE | {"dicomEventDrivenIngestionName": name})
    assert not rendering.of_kind("Secret")
    environment = rendering.pod("ingestion").environment
    assert environment["QUERY_ENDPOINT"] == f"https://{host}:8443"
    assert environment["K_SINK"] == f"https://{host}:8443/events"
    secret = host.partition(".")[0]
    assert environment["DIMSE_CATALOGUE_SECRET_NAME"] == secret
    volume = rendering.pod("ingestion").volume("catalogue-access")["secret"]
    assert volume["secretName"] == secret


def test_that_secret_is_the_one_which_its_release_makes() -> None:
    (made,) = rendered(CORE, name="core").of_kind("Secret")
    asking = rendered(ELSEWHERE | {"dicomEventDrivenIngestionName": "core.imaging"})
    volume = asking.pod("ingestion").volume("catalogue-access")["secret"]
    assert made["metadata"]["name"] == volume["secretName"]


def test_a_secret_that_is_named_is_taken_by_all_and_none_is_made() -> None:
    rendering = rendered(SPACE | {"catalogueSecret": "own"})
    assert not rendering.of_kind("Secret")
    for component in ("ingestion", "dicomweb", "catalogue"):
        pod = rendering.pod(component)
        assert pod.environment["DIMSE_CATALOGUE_SECRET_NAME"] == "own"
        (volume,) = [each for each in pod.spec["volumes"] if each["name"].startswith("catalogue-")]
        assert volume["secret"]["secretName"] == "own"


def test_without_tls_there_is_no_secret_and_the_catalogue_runs_without_it() -> None:
    rendering = rendered(SPACE | {"catalogueSecure": False})
    assert not rendering.of_kind("Secret")
    catalogue = rendering.pod("catalogue")
    assert catalogue.environment["DIMSE_CATALOGUE_INSECURE"] == "true"
    assert not ACCESS & set(catalogue.environment)
    assert {port["containerPort"] for port in catalogue.container["ports"]} == {8080}
    for component in ("ingestion", "dicomweb"):
        environment = rendering.pod(component).environment
        assert environment["QUERY_ENDPOINT"] == "http://radiology-catalogue:8080"
        assert not ACCESS & set(environment)


@pytest.mark.parametrize("secret", ["", "mine"])
def test_a_catalogue_of_another_kind_gets_what_is_named_for_it(secret: str) -> None:
    existing = {"queryEndpoint": "https://catalogue.example.org", "catalogueSecret": secret}
    sink = {"eventSink": "https://catalogue.example.org/events"}
    rendering = rendered(SPACE | {"catalogue": {"enabled": False}} | existing | sink)
    environment = rendering.pod("ingestion").environment
    assert environment.get("DIMSE_CATALOGUE_SECRET_NAME", "") == secret
    assert not rendering.of_kind("Secret")


def test_a_broker_has_a_token_and_an_authority_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = {"eventSink": "https://broker.example.org/imaging"}
    secrets = {"eventSinkTokenSecret": "broker-token", "eventSinkCaSecret": "broker-ca"}
    rendering = rendered(SPACE | broker | secrets)
    pod = MountedPod(rendering.pod("ingestion"), rendering, tmp_path)
    pod.mount()
    settings = pod.settings(monkeypatch)
    assert isinstance(settings, StorageSpaceSettings)
    access = settings.event_sink_access
    assert (access.read_tokens(), access.read_authority()) == (("token",), "authority")
    assert (access.secret_name, access.authority_secret_name) == ("broker-token", "broker-ca")
    alone = rendered(SPACE | broker).pod("ingestion").environment
    assert not [name for name in alone if name.startswith("DIMSE_EVENT_SINK")]


def test_probes_and_metrics_stay_without_tls() -> None:
    rendering = rendered(SPACE)
    container = rendering.pod("catalogue").container
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == "http"
        assert "scheme" not in container[probe]["httpGet"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"http": 8080, "https": 8443}
    assert _ports(rendering.of_kind("Service")) == {"http": 8080, "https": 8443}


def _ports(services: list[Manifest]) -> dict[str, Any]:
    (catalogue,) = [each for each in services if each["metadata"]["name"].endswith("-catalogue")]
    return {each["name"]: each["port"] for each in catalogue["spec"]["ports"]}


def test_two_releases_have_two_tokens() -> None:
    first, second = generated(rendered(SPACE)), generated(rendered(SPACE))
    for key in ("ca.crt", "tls.crt", "tls.key", "token"):
        assert first[key] != second[key]
    assert len(first["token"]) == 43

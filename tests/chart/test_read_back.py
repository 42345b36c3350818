"""Read what the chart writes with each service's own loader, and compare it with the values.

The loader is the program's (`dimse_ingestion.settings`), the environment and the mounts are those
of the rendered pods, laid out below a temporary folder.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dimse_ingestion.settings import (
    DicomwebSettings,
    NatsSettings,
    ProxySettings,
    ServiceSettings,
    StorageSpaceSettings,
)
from harness.chart import CHART
from harness.chart.rendering import Rendering, Values, rendered, shipped_values
from harness.chart.values_file import values_of
from tests.chart.mounted_pod import SETTINGS_CLASSES, MountedPod

EVERY = {"log_level": "logLevel", "drain_timeout": "drainTimeout", "otlp_endpoint": "otlpEndpoint"}
NATS = {
    "nats_url": "natsUrl",
    "nats_tls_enabled": "natsSecure",
    "nats_subject_root": "natsSubjectRoot",
    "nats_auth_mode": "natsAuthMode",
    "nats_tls_handshake_first": "natsTlsHandshakeFirst",
    "nats_ca_secret_name": "natsCaSecret",
    "nats_certificate_secret_name": "natsClientCertificateSecret",
}
SPACE = {
    "provider_name": "providerName",
    "bucket_config_name": "bucketConfigName",
    "bucket_secret_name": "bucketSecretName",
}
VALUES = values_of(CHART / "values.yaml")
# a pod listens everywhere, and each start is another replica
NOT_SET_BY_THE_CHART = {
    "DIMSE_HTTP_HOST",
    "DIMSE_HOST",
    "DIMSE_REPLICA_ID",
    "DICOMWEB_HTTP_HOST",
}


def _mounted(rendering: Rendering, root: Path, *missing: str) -> Iterator[MountedPod]:
    for pod in rendering.pods():
        mounted = MountedPod(pod, rendering, root / pod.component)
        mounted.mount(*missing)
        yield mounted


def _loaded(
    rendering: Rendering, component: str, root: Path, monkeypatch: pytest.MonkeyPatch, *missing: str
) -> ServiceSettings:
    mounted = MountedPod(rendering.pod(component), rendering, root)
    mounted.mount(*missing)
    return mounted.settings(monkeypatch)


def test_every_service_loads_what_it_is_given(
    rendering: Rendering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mounted in _mounted(rendering, tmp_path):
        settings = mounted.settings(monkeypatch)
        if mounted.pod.runs_on:
            _check(settings, EVERY, rendering.values)
        if isinstance(settings, NatsSettings):
            _check(settings, NATS, rendering.values)
        if isinstance(settings, StorageSpaceSettings):
            _check(settings, SPACE, rendering.values)


def _check(settings: ServiceSettings, expected: dict[str, str], values: Values) -> None:
    for field, key in expected.items():
        assert getattr(settings, field) == values[key], f"{type(settings).__name__}.{field}"


def test_every_variable_is_one_that_the_service_knows(rendering: Rendering, tmp_path: Path) -> None:
    added = {"HTTPS_PROXY"}  # by extraEnv
    for mounted in _mounted(rendering, tmp_path):
        known = set(mounted.settings_class.names().values())
        assert set(mounted.pod.environment) - added <= known, mounted.pod.component


@pytest.mark.parametrize("component", ["ingestion", "catalogue", "dicomweb"])
def test_settings_of_a_component_reach_its_service(
    component: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As text in the environment they mean what they mean as in the values."""
    rendering = rendered(shipped_values("ci/everything-on-values.yaml"))
    settings = _loaded(rendering, component, tmp_path, monkeypatch)
    fields = {variable: field for field, variable in settings.names().items()}
    for variable, value in rendering.values[component]["settings"].items():
        field = fields[variable]
        understood = getattr(type(settings).load(**{field: value}), field)
        assert getattr(settings, field) == understood
        assert understood != type(settings).model_fields[field].default, "shows nothing"


def test_settings_of_the_proxy_reach_it_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendering = rendered(shipped_values("ci/everything-on-values.yaml"))
    settings = _loaded(rendering, "proxy", tmp_path, monkeypatch)
    assert isinstance(settings, ProxySettings)
    assert (settings.ae_title, settings.proxy_id, settings.port) == ("EVERYTHING", "ward7", 11112)
    assert settings.calling_ae_titles == ("CT1", "MR1")
    assert [str(network) for network in settings.source_networks] == ["10.1.0.0/16"]
    assert settings.maximum_pdu_length == 262144
    assert settings.spool_limit == 8 * 2**30
    assert settings.tls_client_ca_path == tmp_path / "etc/dicom-tls/client-ca/ca.crt"
    assert settings.peer_ca_path == tmp_path / "etc/dicom-tls/peer-ca/ca.crt"
    assert [(peer.ae_title, peer.address, set(peer.may)) for peer in settings.peers] == [
        ("WORKSTATION1", ("10.1.2.3", 11112), {"move", "get"}),
        ("CT1", ("ct1.example.org", 2762), {"commit"}),
    ]
    assert settings.storage_commitment_enabled
    assert settings.storage_commitment_grace == 600
    assert settings.storage_commitment_retry_for == 86400
    assert settings.storage_commitment_verify == "digest"
    assert (settings.retrieve_enabled, settings.retrieve_maximum_operations) == (True, 2)
    assert (settings.retrieve_pending_interval, settings.retrieve_maximum_instances) == (5, 10_000)
    assert settings.retrieve_assume_get_roles


def test_spools_lie_where_a_volume_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendering = rendered(shipped_values("ci/everything-on-values.yaml"))
    for component in ("proxy", "dicomweb"):
        settings = _loaded(rendering, component, tmp_path / component, monkeypatch)
        assert isinstance(settings, ProxySettings | DicomwebSettings)
        mounts = rendering.pod(component).container["volumeMounts"]
        (spool,) = [mount["mountPath"] for mount in mounts if mount["name"] == "spool"]
        assert settings.spool_directory.is_relative_to(tmp_path / component / spool[1:])
        if isinstance(settings, ProxySettings):
            journal = settings.storage_commitment_directory
            assert journal.is_relative_to(tmp_path / component / spool[1:])


@pytest.mark.parametrize("component", ["ingestion", "catalogue", "dicomweb", "proxy"])
def test_every_setting_of_a_service_is_within_reach(component: str) -> None:
    """Each is written by the chart, or may be in the component's `settings`; and no other."""
    pod = rendered(shipped_values("ci/everything-on-values.yaml")).pod(component)
    (settings,) = [each for each in VALUES if each.name == f"{component}.settings"]
    known = set(SETTINGS_CLASSES[component].names().values())
    allowed = {_variable(component, key) for key in _keys(settings.fragment["properties"])}
    assert allowed <= known
    assert known - allowed - set(pod.environment) - NOT_SET_BY_THE_CHART <= _written(component)


def _keys(properties: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys, and of a section those within it, with its name before them."""
    for key, schema in properties.items():
        if "properties" in schema:
            yield from (f"{key}{each[0].upper()}{each[1:]}" for each in _keys(schema["properties"]))
        else:
            yield key


def _variable(component: str, key: str) -> str:
    """Return the variable of a key of `settings`; the proxy's keys are those of proxy.yaml."""
    if component != "proxy":
        return key
    field = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()
    return SETTINGS_CLASSES["proxy"].names().get(field, key)


def _written(component: str) -> set[str]:
    """Return the fields that the chart writes into proxy.yaml by itself."""
    rendering = rendered(shipped_values("ci/everything-on-values.yaml"))
    files = [
        yaml.safe_load(each["data"]["proxy.yaml"])
        for each in rendering.of_kind("ConfigMap")
        if each["metadata"]["name"] == f"radiology-{component}"
    ]
    return {_variable(component, key) for file in files for key in _keys_in(file)}


def _keys_in(file: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of a file, and of a section those within it, with its name before them."""
    for key, value in file.items():
        if isinstance(value, dict):
            yield from (f"{key}{each[0].upper()}{each[1:]}" for each in value)
        else:
            yield key


def test_helm_test_is_a_proxy_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendering = rendered(shipped_values("ci/everything-on-values.yaml"))
    settings = _loaded(rendering, "test", tmp_path, monkeypatch)
    assert isinstance(settings, ProxySettings)
    assert settings.proxy_id == "helm-test"
    assert settings.nats_token_secret_name == "nats-helm-test"


def test_whole_numbers_stay_whole() -> None:
    """A values file's numbers are floats to Helm: none may become 6.291456e+06."""
    environment = rendered(shipped_values("ci/everything-on-values.yaml")).pod("ingestion")
    assert environment.environment["DIMSE_WINDOW"] == "6291456"
    assert environment.environment["DIMSE_BUCKET_TIMEOUT"] == "12.5"

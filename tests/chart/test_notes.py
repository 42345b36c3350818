"""What Helm prints after an installation is right: its proxy.yaml is one that the proxy loads."""

import re
import textwrap
from pathlib import Path

import pytest

from dimse_ingestion.settings import ProxySettings
from harness.chart.rendering import Rendering, Values, rendered, shipped_values

INGRESS: Values = {"enabled": True, "host": "images.example.org"}


def test_proxy_yaml_of_the_notes_reaches_the_release(
    rendering: Rendering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not rendering.values["ingestion"]["enabled"]:
        assert "proxy.yaml" not in rendering.notes
        return
    settings = _printed(rendering, tmp_path, monkeypatch)
    values = rendering.values
    assert settings.ae_title == values["applicationEntityTitle"]
    assert settings.nats_url == values["natsUrl"]
    assert settings.nats_subject_root == values["natsSubjectRoot"]
    assert settings.nats_tls_enabled == values["natsSecure"]
    assert settings.nats_tls_handshake_first == values["natsTlsHandshakeFirst"]
    assert bool(settings.nats_ca_path) == bool(values["natsCaSecret"])
    assert bool(settings.nats_key_path) == bool(values["natsClientCertificateSecret"])
    assert settings.nats_auth_mode == values["natsAuthMode"]
    assert bool(settings.nats_auth_token) == bool(values["natsTokenSecret"])


def test_ae_titles_that_yaml_would_misread_stay_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for title in ("NO", "0123", "A: B", "#1", "1e3", "*"):
        values = shipped_values("ci/minimal-values.yaml") | {"applicationEntityTitle": title}
        values |= {"natsSubjectRoot": "0123"}
        settings = _printed(rendered(values), tmp_path, monkeypatch)
        assert (settings.ae_title, settings.nats_subject_root) == (title, "0123")


@pytest.mark.parametrize(
    ("dicomweb", "warned"),
    [
        ({}, False),
        ({"ingress": INGRESS}, True),
        ({"ingress": INGRESS, "settings": {"DICOMWEB_AUTH": "off"}}, True),
        ({"service": {"type": "LoadBalancer"}}, True),
        ({"ingress": INGRESS, "settings": {"DICOMWEB_AUTH": "header"}}, False),
        ({"enabled": False, "service": {"type": "NodePort"}}, False),
    ],
    ids=str,
)
def test_notes_warn_of_a_service_that_is_open_to_all(dicomweb: Values, warned: bool) -> None:
    notes = rendered(shipped_values("ci/minimal-values.yaml") | {"dicomweb": dicomweb}).notes
    assert ("WARNING: anyone who reaches" in notes) == warned
    if "ingress" in dicomweb and warned:
        assert "http://images.example.org/dicomweb" in notes.partition("WARNING")[2]


def test_a_password_stands_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = shipped_values("ci/minimal-values.yaml")
    values |= {"natsTokenSecret": "nats", "natsAuthMode": "password"}
    settings = _printed(rendered(values), tmp_path, monkeypatch)
    assert settings.nats_auth_token.get_secret_value() == "/etc/dimse/nats"


def test_notes_name_what_exists(rendering: Rendering) -> None:
    names = {(each["kind"], each["metadata"]["name"]) for each in rendering.manifests}
    (forwarded,) = re.findall(r"port-forward deploy/(\S+) ", rendering.notes)
    assert ("Deployment", forwarded) in names
    for pod in rendering.pods():
        assert not pod.runs_on or f"\n  {pod.component} " in rendering.notes
    for host in re.findall(r"http://(radiology[\w-]+)\.imaging:8080", rendering.notes):
        assert ("Service", host) in names


def test_notes_say_how_to_prove_it_only_where_that_is_offered(rendering: Rendering) -> None:
    offered = bool([pod for pod in rendering.pods() if pod.component == "test"])
    assert ("helm test radiology --namespace imaging" in rendering.notes) == offered


def test_notes_name_what_a_pod_waits_for_without_a_word(rendering: Rendering) -> None:
    waited_for = {
        volume["secret"]["secretName"]
        for pod in rendering.pods()
        for volume in pod.spec["volumes"]
        if not volume.get("secret", {"optional": True}).get("optional")
    }
    (output,) = re.findall(r"waits, without a log, for (.+):", rendering.notes) or ("",)
    assert set(re.findall(r"Secret (\S+)", output)) == waited_for


def test_notes_have_no_holes(rendering: Rendering) -> None:
    assert not re.findall(r"<no value>|%!|<nil>|ConfigMap (,|\.)|\n\n\n", rendering.notes)


def _printed(rendering: Rendering, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ProxySettings:
    """Return the proxy.yaml of the notes, loaded without a variable of this machine's."""
    for name in ProxySettings.names().values():
        monkeypatch.delenv(name, raising=False)
    (block,) = re.findall(r"with this proxy\.yaml:\n\n((?:  .*\n)+)", rendering.notes)
    file = folder / "proxy.yaml"
    file.write_text(textwrap.dedent(block), encoding="utf-8")
    return ProxySettings.load(file)

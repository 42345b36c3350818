"""The proxy's examples for the imaging zone: what they run, mount and set fits together."""

import re
import shlex
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from dimse_ingestion.settings import ProxySettings
from harness.chart import CHART

FOLDER = CHART / "examples" / "proxy"
UNITS = ("dimse-proxy.service", "dimse-proxy.container", "dimse-spool.volume")
ARGUMENTS = ["proxy", "--config", "/etc/dimse/proxy.yaml"]
DRAIN = 100  # the default of DIMSE_DRAIN_TIMEOUT
SLACK = 20


class _Unit(RawConfigParser):
    """A unit of systemd's: keys keep their case and may stand more than once."""

    def __init__(self, file: Path) -> None:
        super().__init__(delimiters="=", comment_prefixes=("#", ";"), strict=False)
        self.lines: list[tuple[str, str]] = []
        text = file.read_text(encoding="utf-8")
        self.read_string(text)
        pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
        self.lines = [(key, value) for key, sign, value in pairs if sign]

    def optionxform(self, optionstr: str) -> str:
        """Return a key as it is written."""
        return optionstr

    def every(self, key: str) -> list[str]:
        """Return each value of a key, in order."""
        return [value for name, value in self.lines if name == key]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> ProxySettings:
    """Return the example's proxy.yaml as the proxy loads it."""
    return _loaded({}, monkeypatch)


@pytest.fixture
def compose() -> dict[str, Any]:
    """Return the service of compose.yaml."""
    content = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    assert content["volumes"].keys() == {"spool"}
    service: dict[str, Any] = content["services"]["dimse-proxy"]
    return service


def _loaded(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ProxySettings:
    for name in ProxySettings.names().values():
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return ProxySettings.load(FOLDER / "proxy.yaml")


def test_proxy_yaml_speaks_to_the_radiology_example(settings: ProxySettings) -> None:
    space = yaml.safe_load((CHART / "examples/radiology.yaml").read_text(encoding="utf-8"))
    assert settings.ae_title == space["applicationEntityTitle"]
    assert settings.nats_url == space["natsUrl"]
    assert settings.nats_subject_root == space["natsSubjectRoot"]
    assert settings.nats_tls_enabled == space["natsSecure"]


def test_lines_to_be_uncommented_are_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (FOLDER / "proxy.yaml").read_text(encoding="utf-8")
    keys = set(re.findall(r"^# (\w+): ", text, re.MULTILINE))
    assert keys == {
        "natsCaPath",
        "natsRateLimit",
        "natsRateLimitTimeZone",
        "callingAeTitles",
        "sourceNetworks",
        "peers",
        "storageCommitment",
        "modalities",
        "tlsCertificatePath",
        "tlsKeyPath",
    }
    whole = text
    for key in keys:
        whole = whole.replace(f"# {key}:", f"{key}:")
    for name in ("dicom.pem", "dicom-key.pem"):
        (tmp_path / name).touch()
        whole = whole.replace(f"/etc/dimse/{name}", str(tmp_path / name))
    (tmp_path / "proxy.yaml").write_text(whole, encoding="utf-8")
    _loaded({}, monkeypatch)
    assert ProxySettings.load(tmp_path / "proxy.yaml").calling_ae_titles == ("CT1", "MR1")


@pytest.mark.parametrize("name", UNITS)
def test_units_parse_and_say_nothing_before_a_section(name: str) -> None:
    unit = _Unit(FOLDER / name)
    assert {"Unit", "Container", "Service", "Volume"} & set(unit.sections())
    assert all(value or key.endswith(("Capabilities", "BoundingSet")) for key, value in unit.lines)


def test_systemd_unit_runs_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = _Unit(FOLDER / "dimse-proxy.service")
    (command,) = unit.every("ExecStart")
    assert shlex.split(command)[1:] == ARGUMENTS
    environment = dict(
        word.split("=", 1) for line in unit.every("Environment") for word in shlex.split(line)
    )
    assert set(environment) <= set(ProxySettings.names().values())
    settings = _loaded(environment, monkeypatch)
    assert settings.http_host == "127.0.0.1"
    assert settings.spool_directory.is_relative_to(
        Path("/var/lib", unit["Service"]["StateDirectory"])
    )


def test_podman_runs_the_proxy(settings: ProxySettings) -> None:
    unit = _Unit(FOLDER / "dimse-proxy.container")
    assert shlex.split(unit["Container"]["Exec"]) == ARGUMENTS
    mounts = dict(line.split(":")[:2] for line in unit.every("Volume"))
    assert mounts["/etc/dimse"] == "/etc/dimse"
    assert mounts["dimse-spool.volume"] == "/var/lib/dimse"
    assert settings.spool_directory.is_relative_to("/var/lib/dimse")
    ports = [line.rpartition(":")[2] for line in unit.every("PublishPort")]
    assert ports == [str(settings.port), str(settings.http_port)]
    assert unit["Container"]["ReadOnly"] == unit["Container"]["NoNewPrivileges"] == "true"
    assert unit["Container"]["DropCapability"] == "all"
    assert int(unit["Container"]["User"]) > 0


def test_compose_runs_the_proxy(settings: ProxySettings, compose: dict[str, Any]) -> None:
    assert compose["command"] == ARGUMENTS
    mounts = dict(line.split(":")[:2] for line in compose["volumes"])
    assert mounts == {"/etc/dimse": "/etc/dimse", "spool": "/var/lib/dimse"}
    ports = [line.rpartition(":")[2] for line in compose["ports"]]
    assert ports == [str(settings.port), str(settings.http_port)]
    assert compose["read_only"] is True
    assert compose["cap_drop"] == ["ALL"]
    assert compose["user"].split(":")[0] != "0"


def test_what_is_under_way_has_its_time(compose: dict[str, Any]) -> None:
    for name in ("dimse-proxy.service", "dimse-proxy.container"):
        assert int(_Unit(FOLDER / name)["Service"]["TimeoutStopSec"]) >= DRAIN + SLACK
    podman = _Unit(FOLDER / "dimse-proxy.container")["Container"]["PodmanArgs"]
    assert f"--stop-timeout={DRAIN + SLACK}" in podman
    assert int(compose["stop_grace_period"].removesuffix("s")) >= DRAIN + SLACK


def test_metrics_are_for_the_host_alone(compose: dict[str, Any]) -> None:
    published = [*compose["ports"], *_Unit(FOLDER / "dimse-proxy.container").every("PublishPort")]
    assert all(port.startswith("127.0.0.1:") for port in published if port.endswith(":8080"))


def test_examples_run_one_image(compose: dict[str, Any]) -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    podman = _Unit(FOLDER / "dimse-proxy.container")["Container"]["Image"]
    assert podman == compose["image"]
    assert podman.endswith(f":{about['appVersion']}")

"""The settings of the audit trail."""

from pathlib import Path
from typing import Any

import pytest

from dimse_ingestion.settings import ConfigurationMistake, DicomwebSettings, ProxySettings
from dimse_ingestion.settings.audit import RepositoryAddress


def proxy(**given: Any) -> ProxySettings:
    return ProxySettings.load(nats_url="nats.example:4222", **given)


def test_it_is_off_by_default() -> None:
    assert proxy().audit_repository is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("tls://arr.example", RepositoryAddress("arr.example", 6514)),
        ("tls://arr.example:7514/", RepositoryAddress("arr.example", 7514)),
        ("udp://10.1.2.3", RepositoryAddress("10.1.2.3", 514, is_udp=True)),
        ("tls://[fd00::1]:6514", RepositoryAddress("fd00::1", 6514)),
    ],
)
def test_an_address_has_the_default_port_of_its_protocol(
    written: str, expected: RepositoryAddress
) -> None:
    address = proxy(audit_repository=written).audit_repository
    assert address == expected
    assert proxy(audit_repository=str(address)).audit_repository == expected


@pytest.mark.parametrize(
    "written",
    ["arr.example:6514", "tcp://arr.example", "tls://", "tls://a:b", "tls://a:0", "tls://a:65536"],
)
def test_what_is_no_address_is_refused_with_its_cure(written: str) -> None:
    with pytest.raises(ConfigurationMistake, match=r"DIMSE_AUDIT_REPOSITORY: .*tls://host:port"):
        proxy(audit_repository=written)


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ConfigurationMistake, match="DIMSE_AUDIT_KEY_PATH"):
        proxy(audit_repository="tls://a", audit_certificate_path=Path("/c.pem"))


def test_the_environment_sets_them_for_both_services(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DIMSE_AUDIT_REPOSITORY": "tls://arr.example",
        "DIMSE_AUDIT_SOURCE_ID": "edge",
        "DIMSE_AUDIT_SITE_ID": "Hospital",
        "DIMSE_AUDIT_LIMIT": "64Mi",
        "DIMSE_AUDIT_DIRECTORY": "/queue",
    }.items():
        monkeypatch.setenv(name, value)
    web = DicomwebSettings.load(
        provider_name="p", event_sink="http://127.0.0.1/e", query_endpoint="http://127.0.0.1"
    )
    for settings in (proxy(), web):
        assert settings.audit_repository == RepositoryAddress("arr.example", 6514)
        assert (settings.audit_source_id, settings.audit_site_id) == ("edge", "Hospital")
        assert (settings.audit_limit, settings.audit_directory) == (64 * 2**20, Path("/queue"))


def test_the_proxys_file_has_them_in_camel_case(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text("natsUrl: nats.example\nauditRepository: tls://arr.example\n")
    assert str(ProxySettings.load(file).audit_repository) == "tls://arr.example:6514"

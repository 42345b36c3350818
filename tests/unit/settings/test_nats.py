from pathlib import Path

import pytest

from dimse_ingestion.settings import ConfigurationMistake, ProxySettings


@pytest.mark.parametrize(
    "address", ["nats:4222", "a:1, nats://b:2,wss://c", "tls://[::1]:4222", "10.0.0.1"]
)
def test_addresses_are_taken_as_their_users_write_them(address: str) -> None:
    assert ProxySettings.load(nats_url=address).nats_url == address


def test_a_credential_in_an_address_is_refused() -> None:
    with pytest.raises(ConfigurationMistake, match="without credentials"):
        ProxySettings.load(nats_url="nats://user@nats:4222")


def test_tls_requested_and_switched_off_is_refused() -> None:
    with pytest.raises(ConfigurationMistake, match="DIMSE_NATS_TLS_ENABLED switches it off"):
        ProxySettings.load(nats_url="tls://a:1", nats_tls_enabled=False)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    certificate = tmp_path / "tls.crt"
    certificate.touch()
    with pytest.raises(ConfigurationMistake, match="DIMSE_NATS_KEY_PATH belong together"):
        ProxySettings.load(nats_url="a:1", nats_certificate_path=certificate)
    with pytest.raises(ConfigurationMistake, match="DIMSE_TLS_KEY_PATH belong together"):
        ProxySettings.load(nats_url="a:1", tls_certificate_path=certificate)
    with pytest.raises(ConfigurationMistake, match="needs a certificate of this AE"):
        ProxySettings.load(nats_url="a:1", tls_client_ca_path=certificate)


def test_what_is_mounted_for_nats_may_be_missing_at_the_start() -> None:
    settings = ProxySettings.load(
        nats_url="a:1",
        nats_auth_token="/nowhere/token",
        nats_ca_path="/nowhere/ca.crt",
        nats_certificate_path="/nowhere/tls.crt",
        nats_key_path="/nowhere/tls.key",
    )
    assert settings.nats_ca_path == Path("/nowhere/ca.crt")

from pathlib import Path

from dimse_ingestion.settings import ProxySettings
from dimse_ingestion.transport.nats.from_settings import nats_options
from dimse_ingestion.transport.protocol.subjects import proxy_permissions

NEEDS = proxy_permissions("DIMSE", "p1")


def test_the_scheme_follows_tls_only_where_none_is_written() -> None:
    settings = ProxySettings(nats_url="a:1, nats://b:2,wss://c")
    made = nats_options(settings, "proxy p1", NEEDS)
    assert [server.url for server in made.servers] == ["tls://a:1", "nats://b:2", "wss://c:443"]
    plain = ProxySettings(nats_url="a:1", nats_tls_enabled=False)
    assert nats_options(plain, "proxy p1", NEEDS).servers[0].url == "nats://a:1"


def test_a_rotated_credential_is_read_anew(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    settings = ProxySettings.load(nats_url="a:1", nats_auth_token=str(tmp_path))
    made = nats_options(settings, "proxy p1", NEEDS)
    assert made.read_credential().token == "first"
    (tmp_path / "token").write_text("second")
    assert made.read_credential().token == "second"


def test_certificates_and_permissions_are_passed_on(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.touch()
    settings = ProxySettings(nats_url="a:1", nats_ca_path=authority, nats_tls_handshake_first=True)
    made = nats_options(settings, "proxy p1", NEEDS)
    assert (made.tls.authority, made.tls_handshake_first) == (authority, True)
    assert (made.required_permissions, made.name) == (NEEDS, "proxy p1")


def test_a_token_is_in_no_repr() -> None:
    settings = ProxySettings.load(nats_url="a:1", nats_auth_token="hush")
    made = nats_options(settings, "proxy p1", NEEDS)
    assert made.read_credential().token == "hush"
    assert "hush" not in repr(made) + repr(made.read_credential())

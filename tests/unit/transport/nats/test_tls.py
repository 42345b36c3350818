import ssl
from pathlib import Path

import pytest

from dimse_ingestion.transport.nats.tls import TlsError, TlsFiles
from harness.nats_server import ServerTls


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    return ServerTls.made_in(tmp_path_factory.mktemp("tls"))


def test_name_and_chain_are_always_verified(made: ServerTls) -> None:
    files = TlsFiles(made.ca_file, made.client_certificate_file, made.client_key_file)
    for context in (files.context(), TlsFiles().context()):
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_configured_ca_is_the_only_one_trusted(made: ServerTls) -> None:
    assert len(TlsFiles(made.ca_file).context().get_ca_certs()) == 1


def test_a_missing_ca_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"nowhere\.pem .*mount a PEM file"):
        TlsFiles(tmp_path / "nowhere.pem").context()


def test_a_key_of_another_certificate_is_reported(made: ServerTls) -> None:
    with pytest.raises(TlsError, match="belong together"):
        TlsFiles(made.ca_file, made.client_certificate_file, made.key_file).context()


def test_a_missing_secret_is_named_and_read_once_it_exists(made: ServerTls, tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    files = TlsFiles(authority, authority_secret="nats-ca")
    with pytest.raises(TlsError, match=r"^Missing NATS CA Secret nats-ca: create it\.$"):
        files.context()
    authority.write_bytes(made.ca_file.read_bytes())
    assert len(files.context().get_ca_certs()) == 1
    ours = TlsFiles(
        authority, tmp_path / "tls.crt", tmp_path / "tls.key", certificate_secret="nats-client"
    )
    with pytest.raises(TlsError, match=r"Missing key tls\.crt in NATS client certificate Secret"):
        ours.context()

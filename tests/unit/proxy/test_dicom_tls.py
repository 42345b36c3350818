import ssl
from pathlib import Path

import pytest
import trustme

from dimse_ingestion.proxy.dicom_tls import client_context, server_context
from dimse_ingestion.settings import ConfigurationMistake
from tests.unit.proxy.fakes import proxy_settings


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> dict[str, Path]:
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(tmp_path / "tls.key"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "tls.crt"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    (tmp_path / "empty").touch()
    return {each.name: each for each in tmp_path.iterdir()}


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """Return the version both agree on, over memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(to_server, to_client, server_side=True)
    there = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    for side in (there, here, there, here, there, here):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return here.version() or ""


def test_no_certificate_no_tls() -> None:
    assert server_context(proxy_settings()) is None


def test_old_versions_are_refused(files: dict[str, Path], authority: trustme.CA) -> None:
    settings = proxy_settings(tls_certificate_path=files["tls.crt"], tls_key_path=files["tls.key"])
    server = server_context(settings)
    assert server is not None
    client = ssl.create_default_context()
    authority.configure_trust(client)
    assert handshake(server, client) == "TLSv1.3"
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert handshake(server, client) == "TLSv1.2"
    assert server.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_modality_must_send_a_certificate_if_required(
    files: dict[str, Path], authority: trustme.CA
) -> None:
    settings = proxy_settings(
        tls_certificate_path=files["tls.crt"],
        tls_key_path=files["tls.key"],
        tls_client_ca_path=files["ca.crt"],
    )
    server = server_context(settings)
    assert server is not None
    client = ssl.create_default_context()
    authority.configure_trust(client)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(server, client)
    authority.issue_cert("ct1.example").configure_cert(client)
    assert handshake(server, client) == "TLSv1.3"


def test_files_that_can_not_be_used_are_named(files: dict[str, Path]) -> None:
    wrong = proxy_settings(tls_certificate_path=files["empty"], tls_key_path=files["tls.key"])
    with pytest.raises(ConfigurationMistake, match="DIMSE_TLS_CERTIFICATE_PATH"):
        server_context(wrong)
    wrong = proxy_settings(
        tls_certificate_path=files["tls.crt"],
        tls_key_path=files["tls.key"],
        tls_client_ca_path=files["empty"],
    )
    with pytest.raises(ConfigurationMistake, match="DIMSE_TLS_CLIENT_CA_PATH"):
        server_context(wrong)


PEER = {"ae_title": "CT1", "host": "localhost", "port": 2762, "tls": True}


def test_without_a_peer_with_tls_no_file_is_read(files: dict[str, Path]) -> None:
    plain = proxy_settings(peers=[PEER | {"tls": False}], peer_ca_path=files["empty"])
    assert client_context(plain) is None


def test_a_peer_is_verified_and_gets_the_certificate_it_requires(
    files: dict[str, Path], authority: trustme.CA
) -> None:
    pair = {"tls_certificate_path": files["tls.crt"], "tls_key_path": files["tls.key"]}
    ours = proxy_settings(peers=[PEER], peer_ca_path=files["ca.crt"], **pair)
    theirs = server_context(proxy_settings(tls_client_ca_path=files["ca.crt"], **pair))
    client = client_context(ours)
    assert theirs is not None
    assert client is not None
    assert handshake(theirs, client) == "TLSv1.3"
    stranger = client_context(proxy_settings(peers=[PEER], **pair))
    assert stranger is not None
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(theirs, stranger)


def test_an_authority_of_peers_that_can_not_be_used_is_named(files: dict[str, Path]) -> None:
    wrong = proxy_settings(peers=[PEER], peer_ca_path=files["empty"])
    with pytest.raises(ConfigurationMistake, match="DIMSE_PEER_CA_PATH"):
        client_context(wrong)

import ssl
import threading
from pathlib import Path

import pytest

from dimse_ingestion.secure_http.server_certificate import ServerCertificate
from tests.catalogue_secret import EXPIRED, CatalogueSecret, certificate_keys


@pytest.fixture
def secret(tmp_path: Path) -> CatalogueSecret:
    return CatalogueSecret(tmp_path / "secret")


def following(secret: CatalogueSecret) -> ServerCertificate:
    files = (secret.folder / "tls.crt", secret.folder / "tls.key")
    return ServerCertificate(*files, "catalogue", "core-catalogue")


def test_a_certificate_is_used_once_it_exists(secret: CatalogueSecret) -> None:
    secret.folder.mkdir()
    certificate = following(secret)
    assert certificate.problem == "The certificate was not read yet."
    certificate.reload()
    assert certificate.problem == "Missing catalogue Secret core-catalogue: create it."
    secret.put({"tls.crt": "", "token": "t"})
    certificate.reload()
    assert certificate.problem == "Missing key tls.key in catalogue Secret core-catalogue: add it."
    secret.put_all()
    certificate.reload()
    assert certificate.problem == ""


@pytest.mark.parametrize("wrong", ["tls.crt", "tls.key"])
@pytest.mark.parametrize("content", [b"", b"nothing", b"\xff\xfe"])
def test_what_is_no_pem_is_a_sentence(secret: CatalogueSecret, wrong: str, content: bytes) -> None:
    certificate = following(secret.put({**certificate_keys(secret.authority), wrong: content}))
    certificate.reload()
    assert certificate.problem.startswith("The catalogue's certificate can't be used (")
    assert certificate.problem.endswith("must be PEM, and belong together.")


def test_a_key_of_another_certificate_is_refused_and_the_last_pair_stays(
    secret: CatalogueSecret,
) -> None:
    keys = certificate_keys(secret.authority)
    mixed = {**keys, "tls.key": certificate_keys(secret.authority)["tls.key"]}
    certificate = following(secret.put(mixed))
    certificate.reload()
    assert "can't be used" in certificate.problem
    secret.put(keys)
    certificate.reload()
    assert certificate.problem == ""
    secret.put(mixed)
    certificate.reload()
    assert certificate.problem == ""


def test_an_expired_certificate_is_a_problem(secret: CatalogueSecret) -> None:
    certificate = following(secret.put(certificate_keys(secret.authority, not_after=EXPIRED)))
    certificate.reload()
    assert "expired on" in certificate.problem
    secret.put_all()
    certificate.reload()
    assert certificate.problem == ""


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> None:
    """Perform a handshake in memory. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    while waiting:
        for each in list(waiting):
            try:
                each.do_handshake()
                waiting.remove(each)
            except ssl.SSLWantReadError:
                pass


@pytest.mark.parametrize("name", [None, "127.0.0.1", "catalogue.example"])
def test_a_handshake_never_meets_a_certificate_that_is_half_loaded(
    secret: CatalogueSecret, name: str | None
) -> None:
    pairs = [certificate_keys(secret.authority) for _ in range(2)]
    certificate = following(secret.put(pairs[0]))
    certificate.reload()
    client = ssl.create_default_context(cadata=secret.authority.cert_pem.bytes().decode())
    client.check_hostname = False
    ended = threading.Event()

    def rotate() -> None:
        while not ended.is_set():
            for pair in pairs:
                secret.put(pair)
                certificate.reload()

    rotating = threading.Thread(target=rotate)
    rotating.start()
    try:
        for _ in range(300):
            handshake(certificate.context, client, name)
    finally:
        ended.set()
        rotating.join()

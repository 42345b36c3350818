from pathlib import Path

import httpx2
import pytest
import trustme

from dimse_ingestion.secure_http import mounted_value
from dimse_ingestion.secure_http.client import BearerToken, SecureClient
from dimse_ingestion.secure_http.mounted_value import MountedValue
from dimse_ingestion.settings import MountedMissing, PeerAccess
from tests.catalogue_secret import CatalogueSecret


def sent(auth: BearerToken, *taken: str) -> list[str]:
    """Return the headers of the requests that it takes until one of `taken` is sent."""
    headers: list[str] = []
    flow = auth.auth_flow(httpx2.Request("POST", "https://core"))
    request = next(flow)
    while True:
        headers.append(request.headers["authorization"])
        status = 200 if headers[-1].removeprefix("Bearer ") in taken else 401
        try:
            request = flow.send(httpx2.Response(status))
        except StopIteration:
            return headers


def test_the_token_in_use_is_sent_first_and_the_former_after_a_401() -> None:
    auth = BearerToken(MountedValue(lambda: ("new", "old")))
    assert sent(auth, "new", "old") == ["Bearer new"]
    assert sent(auth, "old") == ["Bearer new", "Bearer old"]
    assert sent(auth) == ["Bearer new", "Bearer old"]


def test_after_a_401_the_token_is_read_again() -> None:
    tokens = iter([("old",), ("new",)])
    auth = BearerToken(MountedValue(lambda: next(tokens)))
    assert sent(auth, "new") == ["Bearer old", "Bearer new"]


def test_a_client_stays_until_its_ca_is_another(tmp_path: Path) -> None:
    secret = CatalogueSecret(tmp_path / "secret").put_all()
    made = []

    def make(**options: object) -> httpx2.AsyncClient:
        made.append(options)
        return httpx2.AsyncClient()

    client = SecureClient(secret.access(), make)
    first = client.current()
    assert client.current() is first
    (options,) = made
    assert options["trust_env"] is False  # HTTPS_PROXY is for what is outside
    SecureClient(PeerAccess(), make).current()
    assert made[1]["trust_env"] is True


def test_a_ca_that_becomes_none_leaves_the_last_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounted_value, "_MAX_AGE", -1.0)
    secret = CatalogueSecret(tmp_path / "secret").put_all()
    client = SecureClient(secret.access(), httpx2.AsyncClient)
    first = client.current()
    for content in ("no certificate", ""):
        secret.put({"ca.crt": content, "token": "secret-1"})
        assert client.current() is first
    secret.authority = trustme.CA()
    secret.put_all()
    assert client.current() is not first


@pytest.mark.parametrize("content", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAA=="])
def test_a_ca_that_is_none_is_a_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "ca.crt"
    file.write_text(content)
    client = SecureClient(PeerAccess(authority=file), httpx2.AsyncClient)
    with pytest.raises(MountedMissing, match=r"DIMSE_CATALOGUE_CA_PATH .*PEM file of the CA"):
        client.current()

"""The client's sessions, tokens and limits; the last against a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import trustme
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.secure_http import mounted_value
from dimse_ingestion.secure_http.client import BearerToken, SecureClient
from dimse_ingestion.secure_http.direct import NotReached
from dimse_ingestion.secure_http.mounted_value import MountedValue
from dimse_ingestion.settings import MountedMissing, PeerAccess
from tests.catalogue_secret import CatalogueSecret


@asynccontextmanager
async def client_of(access: PeerAccess, silence: float = 5) -> AsyncIterator[SecureClient]:
    client = SecureClient(access, timeout=silence, connections=4)
    yield client
    await client.close()


async def sent(auth: BearerToken, *accepted: str) -> list[str]:
    """Return the headers of the requests that it sends until one of `accepted` is sent."""
    headers: list[str] = []

    async def handler(request: Any) -> Any:
        headers.append(request.headers["Authorization"])
        status = 200 if headers[-1].removeprefix("Bearer ") in accepted else 401
        return SimpleNamespace(status=status, release=lambda: None)

    request: Any = SimpleNamespace(headers={})
    await auth(request, handler)
    return headers


async def test_the_token_in_use_is_sent_first_and_the_former_after_a_401() -> None:
    auth = BearerToken(MountedValue(lambda: ("new", "old")))
    assert await sent(auth, "new", "old") == ["Bearer new"]
    assert await sent(auth, "old") == ["Bearer new", "Bearer old"]
    assert await sent(auth) == ["Bearer new", "Bearer old"]


async def test_after_a_401_the_token_is_read_again() -> None:
    tokens = iter([("old",), ("new",)])
    auth = BearerToken(MountedValue(lambda: next(tokens)))
    assert await sent(auth, "new") == ["Bearer old", "Bearer new"]


async def test_a_session_stays_until_its_ca_is_another(tmp_path: Path) -> None:
    secret = CatalogueSecret(tmp_path / "secret").put_all()
    async with client_of(secret.access()) as client:
        first = client.session()
        assert client.session() is first
        assert not first.trust_env  # HTTPS_PROXY is for what is outside
    async with client_of(PeerAccess()) as client:
        assert client.session().trust_env


async def test_a_ca_that_becomes_none_leaves_the_last_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounted_value, "_MAX_AGE", -1.0)
    secret = CatalogueSecret(tmp_path / "secret").put_all()
    async with client_of(secret.access()) as client:
        first = client.session()
        for content in ("no certificate", ""):
            secret.put({"ca.crt": content, "token": "secret-1"})
            assert client.session() is first
        secret.authority = trustme.CA()
        secret.put_all()
        assert client.session() is not first


class Echo:
    """Answers with the length of the body, 401 unless the token is right; remembers headers."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.peers: set[object] = set()
        self.silent = asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/", self.answer, methods=["POST"]),
                Route("/elsewhere", self.redirect, methods=["POST"]),
                Route("/silent", self.wait, methods=["POST"]),
            ]
        )

    async def answer(self, request: Request) -> Response:
        self.headers.append(dict(request.headers))
        self.peers.add(request.client)
        body = await request.body()
        allowed = request.headers.get("authorization") == "Bearer secret-2"
        return Response(str(len(body)), status_code=200 if allowed else 401)

    async def redirect(self, _: Request) -> Response:
        return Response(status_code=307, headers={"location": "/"})

    async def wait(self, _: Request) -> Response:
        await self.silent.wait()
        return Response()


@pytest.mark.parametrize("length", [0, 10, 3 * 2**20])
async def test_a_body_is_sent_again_with_another_token(tmp_path: Path, length: int) -> None:
    file = tmp_path / "token"
    file.mkdir()
    (file / "token").write_text("secret-1")
    (file / "previous-token").write_text("secret-2")
    echo = Echo()
    async with (
        serve(echo.app, "127.0.0.1", 0) as port,
        client_of(PeerAccess(token=str(file))) as client,
    ):
        url = f"http://user:password@127.0.0.1:{port}/"
        async with client.request("POST", url, bytes(length)) as answer:
            assert (answer.status, await answer.text()) == (200, str(length))
    assert [each["authorization"] for each in echo.headers] == [
        "Bearer secret-1",
        "Bearer secret-2",
    ]
    assert len(echo.peers) == 1


async def test_redirects_are_not_followed() -> None:
    async with (
        serve(Echo().app, "127.0.0.1", 0) as port,
        client_of(PeerAccess()) as client,
        client.request("POST", f"http://127.0.0.1:{port}/elsewhere") as answer,
    ):
        assert answer.status == 307


@pytest.mark.parametrize(("silence", "seconds"), [(0.2, None), (5, 0.2)])
async def test_a_silent_peer_ends_in_a_timeout(silence: float, seconds: float | None) -> None:
    echo = Echo()
    async with serve(echo.app, "127.0.0.1", 0) as port, client_of(PeerAccess(), silence) as client:
        with pytest.raises(TimeoutError):
            async with client.request(
                "POST", f"http://127.0.0.1:{port}/silent", seconds=seconds
            ) as answer:
                await answer.read()
        echo.silent.set()


async def test_an_impossible_url_is_an_error_of_the_client() -> None:
    async with client_of(PeerAccess()) as client:
        for url in ("http://[", "ftp://host/"):
            with pytest.raises(aiohttp.ClientError):
                async with client.request("POST", url):
                    pass


@pytest.mark.parametrize("content", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAA=="])
async def test_a_ca_that_is_none_is_a_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "ca.crt"
    file.write_text(content)
    async with client_of(PeerAccess(authority=file)) as client:
        with pytest.raises(MountedMissing, match=r"DIMSE_CATALOGUE_CA_PATH .*PEM file of the CA"):
            client.session()


async def queried(client: SecureClient, url: str, body: bytes = b"query") -> tuple[int, bytes]:
    async with client.post(url, body, headers={}, params={"source": "a"}) as answer:
        return answer.status, b"".join([piece async for piece in answer.pieces()])


async def test_a_query_is_sent_with_another_token_after_a_401(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-1")
    (tmp_path / "previous-token").write_text("secret-2")
    echo = Echo()
    async with (
        serve(echo.app, "127.0.0.1", 0) as port,
        client_of(PeerAccess(token=str(tmp_path))) as client,
    ):
        for _ in range(2):
            assert await queried(client, f"http://127.0.0.1:{port}/") == (200, b"5")
    sent = ["Bearer secret-1", "Bearer secret-2"]
    assert [each["authorization"] for each in echo.headers] == 2 * sent


async def test_a_query_goes_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    echo = Echo()
    async with serve(echo.app, "127.0.0.1", 0) as port, client_of(PeerAccess()) as client:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "inside.invalid")
        status, _ = await queried(client, "http://catalogue.invalid/")
        assert (status, echo.headers[-1]["host"]) == (401, "catalogue.invalid")
        with pytest.raises(NotReached):
            await queried(client, "http://inside.invalid/")


async def test_a_query_to_an_impossible_url_is_an_error_of_the_client() -> None:
    async with client_of(PeerAccess()) as client:
        for url in ("http://[", "ftp://host/"):
            with pytest.raises(aiohttp.ClientError):
                await queried(client, url)

"""The server as a whole: URLs, capabilities, methods, CORS, access, limits, and bad clients."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx2
import pytest

from dimse_ingestion.dicomweb import app as dicomweb
from dimse_ingestion.observability import http_protocol
from dimse_ingestion.settings import ConfigurationMistake, DicomwebSettings
from tests.instances import event
from tests.integration.dicomweb.conftest import Space, space_in
from tests.unit.dicomweb.tokens import AUDIENCE, ISSUER, SigningKey, issuer, token

WADL = "{http://wadl.dev.java.net/2009/02}"


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_capabilities_are_given_as_json(space: Space, method: str) -> None:
    description = (await space.client.request(method, "/")).json()
    assert description["base"] == space.base
    resources = {each["path"]: each["methods"] for each in description["resources"]}
    assert "GET" in resources["/studies"]
    assert "GET" in resources["/studies/{study}/series/{series}/instances/{instance}/metadata"]


async def test_capabilities_are_given_as_wadl(space: Space) -> None:
    accept = {"accept": "application/vnd.sun.wadl+xml"}
    response = await space.client.request("OPTIONS", "", headers=accept)
    root = ET.fromstring(response.content)
    paths = [each.get("path") for each in root.iter(f"{WADL}resource")]
    assert "/studies/{study}/series" in paths


async def test_an_unknown_path_or_method_is_a_problem(space: Space) -> None:
    missing = await space.client.get("/nothing")
    assert (missing.status_code, missing.json()["status"]) == (404, 404)
    refused = await space.client.delete("/studies")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.status_code == 405
    assert {"GET", "HEAD"} <= set(refused.headers["allow"].split(", "))


async def test_urls_are_as_a_trusted_proxy_was_reached(tmp_path: Path) -> None:
    forwarded = {"x-forwarded-proto": "https", "x-forwarded-host": "pacs.example"}
    for trusted, wanted in (("127.0.0.0/8", "https://pacs.example/dicomweb"), ("10.0.0.1", "")):
        folder = tmp_path / trusted.replace("/", "-")
        async with space_in(folder, trusted_proxies=trusted) as space:
            await space.add_events([event()])
            response = await space.client.get("/studies", headers=forwarded)
            [study] = response.json()
            url = study["00081190"]["Value"][0]
            assert url.startswith((wanted or space.base) + "/studies/")


async def test_a_configured_url_is_given(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space", external_address="https://pacs.example") as space:
        await space.add_events([event()])
        [study] = (await space.client.get("/studies")).json()
    assert study["00081190"]["Value"] == ["https://pacs.example/dicomweb/studies/1.2.1"]


async def test_the_path_of_a_configured_url_is_served_whether_stripped_or_not(
    tmp_path: Path,
) -> None:
    external = {"external_address": "https://pacs.example/radiology"}
    async with space_in(tmp_path / "space", **external) as space:
        await space.add_events([event()])
        below = f"{space.address}/radiology"
        for base in (space.base, f"{below}/dicomweb"):
            [study] = (await space.client.get(f"{base}/studies")).json()
            url = study["00081190"]["Value"][0]
            assert url == "https://pacs.example/radiology/dicomweb/studies/1.2.1"
        moved = await space.client.get(below)
        assert (moved.status_code, moved.headers["location"]) == (308, "/radiology/")
        assert (await space.client.get(f"{below}/")).text.startswith("<!doctype html>")
        assert (await space.client.get(f"{below}s/dicomweb/studies")).status_code == 404


async def test_a_token_is_required_below_a_configured_path(tmp_path: Path) -> None:
    key = SigningKey("one")
    with issuer([key]) as url:
        bearer = {"access": "bearer", "jwks_url": url}
        about = {"token_issuer": ISSUER, "token_audience": AUDIENCE}
        external = {"external_address": "https://pacs.example/radiology"}
        async with space_in(tmp_path / "space", **bearer, **about, **external) as space:
            refused = await space.client.get(f"{space.address}/radiology/dicomweb/studies")
            assert refused.status_code == 401


async def test_a_slash_at_the_end_makes_no_difference(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space", external_address="https://pacs.example") as space:
        await space.add_events([event()])
        for path in ("/studies/", "/", "/studies/1.2.1/series/"):
            assert (await space.client.get(path)).status_code == 200
        missing = await space.client.get("/nothing/")
        assert (missing.status_code, "location" in missing.headers) == (404, False)
        posted = await space.client.post("/studies/", headers={"content-type": "text/plain"})
        assert posted.status_code == 415


async def test_a_refusal_above_the_limit_has_cors_headers(tmp_path: Path) -> None:
    origin = {"origin": "https://viewer.example"}
    allowed: dict[str, Any] = {"cors_origins": "https://viewer.example", "maximum_requests": 1}
    async with space_in(tmp_path / "space", **allowed) as space:
        requests = [space.client.get("/studies", headers=origin) for _ in range(20)]
        responses = await asyncio.gather(*requests)
    refused = next(each for each in responses if each.status_code == 503)
    assert refused.headers["access-control-allow-origin"] == "https://viewer.example"
    assert "Retry-After" in refused.headers["access-control-expose-headers"]


async def test_only_configured_origins_get_cors_headers(tmp_path: Path) -> None:
    origin = {"origin": "https://viewer.example", "access-control-request-method": "GET"}
    async with space_in(tmp_path / "a", cors_origins="https://viewer.example") as space:
        requests = await space.client.options("/studies", headers=origin)
        assert requests.headers["access-control-allow-origin"] == "https://viewer.example"
        response = await space.client.get("/studies", headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in response.headers


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[tuple[Space, SigningKey]]:
    key = SigningKey("one")
    with issuer([key]) as url:
        bearer = {"access": "bearer", "jwks_url": url}
        about = {"token_issuer": ISSUER, "token_audience": AUDIENCE}
        async with space_in(tmp_path / "space", **bearer, **about) as space:
            yield space, key


async def test_only_valid_tokens_are_accepted(secured: tuple[Space, SigningKey]) -> None:
    space, key = secured
    refused = await space.client.get("/studies")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer ")
    headers = {"authorization": f"Bearer {token(key)}"}
    assert (await space.client.get("/studies", headers=headers)).status_code == 204
    late = {"authorization": f"Bearer {token(key, seconds=-3600)}"}
    expired = await space.client.get("/studies", headers=late)
    assert "has expired" in expired.json()["detail"]
    assert 'error="invalid_token"' in expired.headers["www-authenticate"]


async def test_a_trusted_proxy_gives_the_user(tmp_path: Path) -> None:
    trusted = {"access": "header", "trusted_proxies": "127.0.0.1", "user_header": "X-User"}
    async with space_in(tmp_path / "space", **trusted) as space:
        assert (await space.client.get("/studies")).status_code == 401
        named = await space.client.get("/studies", headers={"x-user": "jane"})
        assert named.status_code == 204


async def test_requests_above_the_limit_are_503(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space", maximum_requests=1) as space:
        requests = [space.client.get("/studies") for _ in range(20)]
        statuses = {each.status_code for each in await asyncio.gather(*requests)}
    assert 503 in statuses
    assert statuses <= {204, 503}


async def test_others_are_served_while_slow_bodies_take_every_slot(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space", maximum_requests=8) as space:
        url = httpx2.URL(space.address)
        head = "POST /dicomweb/studies HTTP/1.1\r\nhost: x\r\ncontent-type: application/dicom\r\n"
        slow = [await asyncio.open_connection(url.host, url.port) for _ in range(8)]
        for _, writer in slow:
            writer.write(f"{head}content-length: 1000000\r\n\r\nab".encode())
        responses = [asyncio.create_task(reader.readline()) for reader, _ in slow]
        await asyncio.wait(responses, return_when=asyncio.FIRST_COMPLETED)
        assert all(b" 503 " in each.result() for each in responses if each.done())
        assert (await space.client.get("/studies")).status_code == 204
        headers = {"content-type": "application/dicom"}
        statuses: list[int] = []
        while 409 not in statuses:  # refused only until the slow ones are seen to be slow
            posted = await space.client.post("/studies", headers=headers, content=bytes(200))
            statuses.append(posted.status_code)
        assert set(statuses) <= {503, 409}
        for _, writer in slow:
            writer.close()
        await asyncio.gather(*responses)


async def raw_response(space: Space, *requests: bytes) -> bytes:
    """Return all responses to these requests; each but the first is sent after a response."""
    url = httpx2.URL(space.address)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    response = b""
    for request in requests[:-1]:
        writer.write(request)
        response += await reader.readuntil(b"\r\n\r\n")
    writer.write(requests[-1])
    response += await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return response


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /dicomweb/studies\r\n\r\n",
        b"GET /dicomweb/studies HTTP/1.1\r\n" + b"x: y\r\n" * 50_000 + b"\r\n",
        b"GET /dicomweb/studies?" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["tls", "http-0.9", "header-flood", "long-line"],
)
async def test_a_malformed_request_is_a_problem(space: Space, request_bytes: bytes) -> None:
    response = await raw_response(space, request_bytes)
    assert response.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in response
    assert (await space.client.get("/studies")).status_code == 204


async def test_a_request_head_that_never_ends_is_408(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "_HEAD_TIMEOUT", 0.2)
    response = await raw_response(space, b"GET /dicomweb/studies HTTP/1.1\r\nhost: x\r\n")
    assert response.startswith(b"HTTP/1.1 408 ")
    first = b"GET /dicomweb/studies HTTP/1.1\r\nhost: x\r\n\r\n"
    second = await raw_response(space, first, b"GET /dicom")
    assert second.startswith(b"HTTP/1.1 204 ")
    assert b"HTTP/1.1 408 " in second


async def test_requests_in_progress_have_the_drain_timeout(tmp_path: Path) -> None:
    async with space_in(tmp_path, drain_timeout=0.2) as space:
        url = httpx2.URL(space.address)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        head = "POST /dicomweb/studies HTTP/1.1\r\nhost: x\r\ncontent-type: application/dicom\r\n"
        writer.write(f"{head}content-length: 9\r\nexpect: 100-continue\r\n\r\n".encode())
        assert b"100" in await reader.readuntil(b"\r\n\r\n")
        begin = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begin < 5
    writer.close()


async def test_a_port_in_use_is_a_configuration_mistake(space: Space) -> None:
    port = httpx2.URL(space.address).port
    taken = DicomwebSettings(**(space.settings.model_dump() | {"dicomweb_port": port}))
    with pytest.raises(ConfigurationMistake, match=r"DICOMWEB_HTTP_PORT: 127\.0\.0\.1"):
        async with dicomweb.running(taken):
            pass

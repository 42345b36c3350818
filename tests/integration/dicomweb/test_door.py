"""The door as a whole: addresses, capabilities, methods, CORS, access, limits, and bad clients."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx2
import pytest

from dimse_ingestion.dicomweb import app as dicomweb
from dimse_ingestion.observability import http_server
from dimse_ingestion.settings import ConfigurationMistake, DicomwebSettings
from tests.instances import event
from tests.integration.dicomweb.conftest import Space, space_in
from tests.unit.dicomweb.tokens import AUDIENCE, ISSUER, SigningKey, issuer, token

WADL = "{http://wadl.dev.java.net/2009/02}"


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_it_says_what_it_can(space: Space, method: str) -> None:
    told = (await space.client.request(method, "/")).json()
    assert told["base"] == space.base
    resources = {each["path"]: each["methods"] for each in told["resources"]}
    assert "GET" in resources["/studies"]
    assert "GET" in resources["/studies/{study}/series/{series}/instances/{instance}/metadata"]


async def test_it_says_so_as_the_standard_has_it(space: Space) -> None:
    accept = {"accept": "application/vnd.sun.wadl+xml"}
    answer = await space.client.request("OPTIONS", "", headers=accept)
    root = ET.fromstring(answer.content)
    paths = [each.get("path") for each in root.iter(f"{WADL}resource")]
    assert "/studies/{study}/series" in paths


async def test_what_is_not_there_is_a_problem(space: Space) -> None:
    missing = await space.client.get("/nothing")
    assert (missing.status_code, missing.json()["status"]) == (404, 404)
    refused = await space.client.delete("/studies")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.status_code == 405
    assert {"GET", "HEAD"} <= set(refused.headers["allow"].split(", "))


async def test_addresses_are_as_a_trusted_proxy_was_reached(tmp_path: Path) -> None:
    forwarded = {"x-forwarded-proto": "https", "x-forwarded-host": "pacs.example"}
    for trusted, wanted in (("127.0.0.0/8", "https://pacs.example/dicomweb"), ("10.0.0.1", "")):
        folder = tmp_path / trusted.replace("/", "-")
        async with space_in(folder, trusted_proxies=trusted) as opened:
            await opened.tell([event()])
            answer = await opened.client.get("/studies", headers=forwarded)
            [study] = answer.json()
            url = study["00081190"]["Value"][0]
            assert url.startswith((wanted or opened.base) + "/studies/")


async def test_a_configured_address_is_told(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space", external_address="https://pacs.example") as opened:
        await opened.tell([event()])
        [study] = (await opened.client.get("/studies")).json()
    assert study["00081190"]["Value"] == ["https://pacs.example/dicomweb/studies/1.2.1"]


async def test_the_path_of_a_configured_address_is_served_whether_stripped_or_not(
    tmp_path: Path,
) -> None:
    external = {"external_address": "https://pacs.example/radiology"}
    async with space_in(tmp_path / "space", **external) as opened:
        await opened.tell([event()])
        below = f"{opened.address}/radiology"
        for base in (opened.base, f"{below}/dicomweb"):
            [study] = (await opened.client.get(f"{base}/studies")).json()
            url = study["00081190"]["Value"][0]
            assert url == "https://pacs.example/radiology/dicomweb/studies/1.2.1"
        moved = await opened.client.get(below)
        assert (moved.status_code, moved.headers["location"]) == (308, "/radiology/")
        assert (await opened.client.get(f"{below}/")).text.startswith("<!doctype html>")
        assert (await opened.client.get(f"{below}s/dicomweb/studies")).status_code == 404


async def test_only_bearers_may_ask_below_a_configured_path(tmp_path: Path) -> None:
    key = SigningKey("one")
    with issuer([key]) as url:
        bearer = {"access": "bearer", "jwks_url": url}
        about = {"token_issuer": ISSUER, "token_audience": AUDIENCE}
        external = {"external_address": "https://pacs.example/radiology"}
        async with space_in(tmp_path / "space", **bearer, **about, **external) as opened:
            refused = await opened.client.get(f"{opened.address}/radiology/dicomweb/studies")
            assert refused.status_code == 401


async def test_a_slash_at_the_end_leads_nowhere_else(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space", external_address="https://pacs.example") as opened:
        await opened.tell([event()])
        for path in ("/studies/", "/", "/studies/1.2.1/series/"):
            assert (await opened.client.get(path)).status_code == 200
        missing = await opened.client.get("/nothing/")
        assert (missing.status_code, "location" in missing.headers) == (404, False)
        posted = await opened.client.post("/studies/", headers={"content-type": "text/plain"})
        assert posted.status_code == 415


async def test_pages_of_other_origins_are_told_when_there_is_no_place(tmp_path: Path) -> None:
    origin = {"origin": "https://viewer.example"}
    allowed = {"cors_origins": "https://viewer.example", "maximum_requests": 1}
    async with space_in(tmp_path / "space", **allowed) as opened:
        asked = [opened.client.get("/studies", headers=origin) for _ in range(20)]
        answers = await asyncio.gather(*asked)
    refused = next(each for each in answers if each.status_code == 503)
    assert refused.headers["access-control-allow-origin"] == "https://viewer.example"
    assert "Retry-After" in refused.headers["access-control-expose-headers"]


async def test_pages_of_other_origins_may_ask_if_told(tmp_path: Path) -> None:
    origin = {"origin": "https://viewer.example", "access-control-request-method": "GET"}
    async with space_in(tmp_path / "a", cors_origins="https://viewer.example") as opened:
        asked = await opened.client.options("/studies", headers=origin)
        assert asked.headers["access-control-allow-origin"] == "https://viewer.example"
        answer = await opened.client.get("/studies", headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in answer.headers


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[tuple[Space, SigningKey]]:
    key = SigningKey("one")
    with issuer([key]) as url:
        bearer = {"access": "bearer", "jwks_url": url}
        about = {"token_issuer": ISSUER, "token_audience": AUDIENCE}
        async with space_in(tmp_path / "space", **bearer, **about) as opened:
            yield opened, key


async def test_only_bearers_of_a_token_may_ask(guarded: tuple[Space, SigningKey]) -> None:
    space, key = guarded
    refused = await space.client.get("/studies")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer ")
    headers = {"authorization": f"Bearer {token(key)}"}
    assert (await space.client.get("/studies", headers=headers)).status_code == 204
    late = {"authorization": f"Bearer {token(key, seconds=-3600)}"}
    expired = await space.client.get("/studies", headers=late)
    assert "has expired" in expired.json()["detail"]
    assert 'error="invalid_token"' in expired.headers["www-authenticate"]


async def test_a_trusted_proxy_names_the_user(tmp_path: Path) -> None:
    trusted = {"access": "header", "trusted_proxies": "127.0.0.1", "user_header": "X-User"}
    async with space_in(tmp_path / "space", **trusted) as opened:
        assert (await opened.client.get("/studies")).status_code == 401
        named = await opened.client.get("/studies", headers={"x-user": "jane"})
        assert named.status_code == 204


async def test_one_request_too_many_is_told_to_come_again(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space", maximum_requests=1) as opened:
        asked = [opened.client.get("/studies") for _ in range(20)]
        statuses = {each.status_code for each in await asyncio.gather(*asked)}
    assert 503 in statuses
    assert statuses <= {204, 503}


async def test_others_are_answered_while_slow_bodies_take_every_place(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space", maximum_requests=8) as opened:
        url = httpx2.URL(opened.address)
        head = "POST /dicomweb/studies HTTP/1.1\r\nhost: x\r\ncontent-type: application/dicom\r\n"
        slow = [await asyncio.open_connection(url.host, url.port) for _ in range(8)]
        for _, writer in slow:
            writer.write(f"{head}content-length: 1000000\r\n\r\nab".encode())
        answers = [asyncio.create_task(reader.readline()) for reader, _ in slow]
        await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        assert all(b" 503 " in each.result() for each in answers if each.done())
        assert (await opened.client.get("/studies")).status_code == 204
        posted = {"headers": {"content-type": "application/dicom"}, "content": bytes(200)}
        statuses: list[int] = []
        while 409 not in statuses:  # refused only until the slow ones are seen to be slow
            statuses.append((await opened.client.post("/studies", **posted)).status_code)
        assert set(statuses) <= {503, 409}
        for _, writer in slow:
            writer.close()
        await asyncio.gather(*answers)


async def said_to(space: Space, *requests: bytes) -> bytes:
    """What the door says to these bytes until it closes; each but the first follows an answer."""
    url = httpx2.URL(space.address)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    answer = b""
    for request in requests[:-1]:
        writer.write(request)
        answer += await reader.readuntil(b"\r\n\r\n")
    writer.write(requests[-1])
    answer += await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer


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
async def test_what_is_no_request_is_a_problem(space: Space, request_bytes: bytes) -> None:
    answer = await said_to(space, request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    assert (await space.client.get("/studies")).status_code == 204


async def test_a_head_that_never_ends_is_given_up(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "_HEAD_TIMEOUT", 0.2)
    answer = await said_to(space, b"GET /dicomweb/studies HTTP/1.1\r\nhost: x\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    first = b"GET /dicomweb/studies HTTP/1.1\r\nhost: x\r\n\r\n"
    second = await said_to(space, first, b"GET /dicom")
    assert second.startswith(b"HTTP/1.1 204 ")
    assert b"HTTP/1.1 408 " in second


async def test_what_is_under_way_at_the_end_has_the_time_that_is_set(tmp_path: Path) -> None:
    async with space_in(tmp_path, drain_timeout=0.2) as space:
        url = httpx2.URL(space.address)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        head = "POST /dicomweb/studies HTTP/1.1\r\nhost: x\r\ncontent-type: application/dicom\r\n"
        writer.write(f"{head}content-length: 9\r\nexpect: 100-continue\r\n\r\n".encode())
        assert b"100" in await reader.readuntil(b"\r\n\r\n")
        begin = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begin < 5
    writer.close()


async def test_a_port_in_use_is_a_sentence(space: Space) -> None:
    port = httpx2.URL(space.address).port
    taken = DicomwebSettings(**(space.settings.model_dump() | {"dicomweb_port": port}))
    with pytest.raises(ConfigurationMistake, match=r"DICOMWEB_HTTP_PORT: 127\.0\.0\.1"):
        async with dicomweb.opened(taken):
            pass

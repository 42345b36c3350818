"""The catalogue with a certificate and a token: who has access, and how others are refused."""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
import trustme

from dimse_ingestion.catalogue import app
from dimse_ingestion.catalogue.app import running
from dimse_ingestion.events.cloudevents import CONTENT_TYPE, encode
from dimse_ingestion.events.http_sink import HttpSink
from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.observability import metrics
from dimse_ingestion.queries import wire
from dimse_ingestion.queries.http_client import HttpQueryClient
from dimse_ingestion.secure_http import mounted_value
from dimse_ingestion.settings import CatalogueSettings, ConfigurationMistake, PeerAccess
from harness.ports import free_port
from tests.catalogue_secret import EXPIRED, CatalogueSecret, certificate_keys
from tests.instances import PROVIDER, event, query

T = TypeVar("T")
TRANSIENT = (Unavailable, True)
HEADERS = {"content-type": CONTENT_TYPE}


@pytest.fixture(autouse=True)
def quick_reloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_RELOAD_INTERVAL", 0.02)
    monkeypatch.setattr(mounted_value, "_MAX_AGE", 0.02)


@pytest.fixture
def secret(tmp_path: Path) -> CatalogueSecret:
    return CatalogueSecret(tmp_path / "secret")


@pytest.fixture
def probes() -> int:
    return free_port()


@asynccontextmanager
async def catalogue(secret: CatalogueSecret, probes: int, **more: object) -> AsyncIterator[str]:
    """Yield a catalogue that runs; its base URL."""
    settings = secret.server(secret.folder.parent, http_port=probes, **more)
    async with running(settings) as port:
        yield f"https://127.0.0.1:{port}"


@pytest.fixture
async def url(secret: CatalogueSecret, probes: int) -> AsyncIterator[str]:
    secret.put_all()
    async with catalogue(secret, probes) as client:
        await readiness(probes, lambda text: text == "ready\n")
        yield client


async def readiness(probes: int, wanted: Callable[[str], bool]) -> str:
    """Wait until /readyz at the port of the probes has the wanted answer."""
    async with httpx2.AsyncClient() as client:

        async def readyz() -> str:
            return (await client.get(f"http://127.0.0.1:{probes}/readyz")).text

        return await becomes(readyz, wanted)


async def becomes(read_value: Callable[[], Awaitable[T]], wanted: Callable[[T], bool]) -> T:
    """Look until what is seen is wanted."""
    seen = None
    try:
        async with asyncio.timeout(20):
            while True:
                seen = await read_value()
                if wanted(seen):
                    return seen
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"last seen: {seen}") from None


async def stored(url: str, access: PeerAccess, name: str = "a") -> None:
    """Post an event, and check the connection as readiness does."""
    sink = HttpSink(f"{url}/events", access, timeout=5)
    try:
        await sink.check()
        await sink.accept(event(name))
    finally:
        await sink.close()


async def found(url: str, access: PeerAccess) -> int:
    """Return how many instances are found, and check the connection as readiness does."""
    client = HttpQueryClient(url, PROVIDER, access, timeout=5)
    try:
        await client.check()
        async with aclosing(client.matches(query("IMAGE"))) as matches:
            return len([match async for match in matches])
    finally:
        await client.close()


async def failures(url: str, access: PeerAccess) -> list[Failure]:
    """Return the failures of a check, an event and a query."""
    sink = HttpSink(f"{url}/events", access, timeout=5)
    client = HttpQueryClient(url, PROVIDER, access, timeout=5)
    failures = []
    for attempt in (
        sink.check,
        lambda: sink.accept(event("a")),
        client.check,
        lambda: anext(client.matches(query("IMAGE"))),
    ):
        with pytest.raises(Failure) as failure:
            await attempt()
        failures.append(failure.value)
    await sink.close()
    await client.close()
    return failures


async def test_who_has_ca_and_token_stores_and_finds(url: str, secret: CatalogueSecret) -> None:
    await stored(url, secret.access())
    assert await found(url, secret.access()) == 1


async def test_an_http_proxy_is_not_used_for_a_peer_with_its_own_ca(
    url: str, secret: CatalogueSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port()}")
    await stored(url, secret.access())
    assert await found(url, secret.access()) == 1


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"token": ""}, "requires a token: set DIMSE_CATALOGUE_TOKEN"),
        (
            {"token": "another"},
            "refuses the token: correct DIMSE_CATALOGUE_TOKEN in catalogue Secret core-catalogue",
        ),
        ({"authority": None}, "of a CA that is not trusted: correct DIMSE_CATALOGUE_CA_PATH"),
        (
            {"token": "/nowhere/token", "authority": None, "secret_name": ""},
            "Missing token /nowhere/token",
        ),
        ({"authority": Path("/nowhere/ca.crt")}, "Missing catalogue Secret core-catalogue"),
    ],
)
async def test_others_are_refused_with_the_name_of_the_wrong_setting(
    url: str, secret: CatalogueSecret, wrong: dict[str, object], expected: str
) -> None:
    for failure in await failures(url, secret.access(**wrong)):
        assert (type(failure), failure.transient) == TRANSIENT
        if expected.startswith("Missing token") and "not trusted" in failure.comment:
            continue  # which of the two comes first depends on the client
        assert expected in failure.comment
        assert "another" not in failure.comment
        assert "127.0.0.1" not in failure.comment
    assert await found(url, secret.access()) == 0


async def test_a_certificate_of_another_authority_is_refused(
    url: str, secret: CatalogueSecret, tmp_path: Path
) -> None:
    other = CatalogueSecret(tmp_path / "other").put_all()
    for failure in await failures(url, other.access()):
        assert "is not trusted: correct DIMSE_CATALOGUE_CA_PATH" in failure.comment


async def test_a_certificate_for_another_host_is_refused(
    secret: CatalogueSecret, probes: int
) -> None:
    secret.put({**certificate_keys(secret.authority, "core-catalogue"), "token": "secret-1"})
    async with catalogue(secret, probes) as url:
        for failure in await failures(url, secret.access()):
            assert "is for another host: correct QUERY_ENDPOINT" in failure.comment


async def test_an_expired_certificate_has_a_sentence_at_both_sides(
    secret: CatalogueSecret, probes: int
) -> None:
    expired = certificate_keys(secret.authority, not_after=EXPIRED)
    secret.put({**expired, "token": "secret-1"})
    async with catalogue(secret, probes) as url:
        for failure in await failures(url, secret.access()):
            assert "certificate has expired; renew it" in failure.comment
        sentence = await readiness(probes, lambda text: "expired" in text)
        assert f"catalogue's certificate expired on {EXPIRED:%Y-%m-%d}: renew it." in sentence
        secret.put_all()
        await readiness(probes, lambda text: text == "ready\n")
        await stored(url, secret.access())


async def test_plain_http_at_the_tls_port_has_a_sentence(url: str, secret: CatalogueSecret) -> None:
    plain = url.replace("https:", "http:")
    for failure in await failures(plain, secret.access()):
        assert (type(failure), failure.transient) == TRANSIENT
        assert "if it speaks TLS, QUERY_ENDPOINT must begin with https://" in failure.comment


async def test_a_client_at_the_port_of_the_probes_gets_421_and_loses_nothing(
    url: str, probes: int
) -> None:
    for failure in await failures(f"http://127.0.0.1:{probes}", PeerAccess()):
        assert (type(failure), failure.transient) == TRANSIENT
        assert "takes this over TLS, at another port: correct QUERY_ENDPOINT" in failure.comment


async def test_tls_at_a_port_of_plain_http_has_a_sentence(
    url: str, secret: CatalogueSecret, probes: int
) -> None:
    for failure in await failures(f"https://127.0.0.1:{probes}", secret.access()):
        assert "does not speak TLS: correct QUERY_ENDPOINT" in failure.comment


async def test_probes_stay_open_and_take_no_events(url: str, probes: int) -> None:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{probes}") as client:
        for path in ("/livez", "/readyz", "/metrics"):
            assert (await client.get(path)).status_code == 200
        for path in ("/events", "/query/studies?source=radiology"):
            answer = await client.post(path, content=encode(event("a")), headers=HEADERS)
            assert answer.status_code == 421
            assert "over TLS, at another port" in answer.json()["title"]


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ({}, "is missing: send `Authorization: Bearer TOKEN`"),
        ({"authorization": "Basic c2VjcmV0LTE="}, "is missing"),
        ({"authorization": "secret-1"}, "is missing"),
        ({"authorization": "Bearer secret-2"}, "is wrong"),
        ({"authorization": "Bearer"}, "is wrong"),
        ({"authorization": b"Bearer \xff\xfe"}, "is wrong"),
    ],
)
async def test_a_401_has_a_sentence_and_the_log_has_a_line(
    url: str,
    secret: CatalogueSecret,
    lines: io.StringIO,
    authorization: dict[str, Any],  # one value is no text
    expected: str,
) -> None:
    before = metrics.catalogue_unauthorized._value.get()
    async with httpx2.AsyncClient(verify=tls(secret), base_url=url) as client:
        for path in ("/events", "/query/studies?source=a", wire.OBJECTS, wire.MISSING, "/nothing"):
            answer = await client.post(path, content=b"{}", headers={**HEADERS, **authorization})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert expected in answer.json()["title"]
    assert metrics.catalogue_unauthorized._value.get() - before == 5
    logged = [line for line in lines.getvalue().splitlines() if "bearer token" in line]
    assert len(logged) == 1  # not one for each request
    assert '"path":"/events"' in logged[0].replace(": ", ":")
    assert "secret" not in lines.getvalue()


async def test_the_scheme_may_be_written_in_any_case(url: str, secret: CatalogueSecret) -> None:
    async with httpx2.AsyncClient(verify=tls(secret), base_url=url) as client:
        headers = HEADERS | {"authorization": "bearer secret-1"}
        answer = await client.post("/events", content=encode(event("a")), headers=headers)
        assert answer.status_code == 202


async def refusal(url: str, access: PeerAccess) -> str:
    """Return why an event is refused; nothing when it is accepted."""
    try:
        await stored(url, access)
    except Failure as failure:
        return failure.comment
    return ""


async def test_a_long_event_with_a_wrong_token_gets_the_same_answer(
    url: str, secret: CatalogueSecret
) -> None:
    sink = HttpSink(f"{url}/events", secret.access(token="another"))
    long = event("a", ImageComments="x" * 8_000_000)
    for _ in range(3):
        with pytest.raises(Unavailable, match="refuses the token: correct DIMSE_CATALOGUE_TOKEN"):
            await sink.accept(long)
    await sink.close()


async def test_a_token_is_replaced_while_both_run(url: str, secret: CatalogueSecret) -> None:
    sink = HttpSink(f"{url}/events", secret.access())
    await sink.accept(event("a"))
    secret.put_all(token="secret-2")
    await sink.accept(event("b"))
    await becomes(
        partial(refusal, url, secret.access(token="secret-1")),
        lambda sentence: "refuses the token" in sentence,
    )
    await sink.close()


async def test_a_new_token_works_in_any_order_of_rotation(
    url: str, secret: CatalogueSecret, tmp_path: Path
) -> None:
    early = CatalogueSecret(tmp_path / "early", secret.authority)
    early.put_all(token="secret-2", **{"previous-token": "secret-1"})
    await stored(url, early.access())
    secret.put_all(token="secret-2", **{"previous-token": "secret-1"})
    await stored(url, secret.access(token="secret-1"))
    await stored(url, early.access())


async def test_certificate_and_ca_are_replaced_while_both_run(
    url: str, secret: CatalogueSecret, probes: int
) -> None:
    sink = HttpSink(f"{url}/events", secret.access())
    await sink.accept(event("a"))
    secret.authority = trustme.CA()
    secret.put_all()
    await becomes(partial(refusal, url, secret.access()), lambda sentence: not sentence)
    await sink.accept(event("b"))
    await readiness(probes, lambda text: text == "ready\n")
    await sink.close()


async def test_a_secret_that_comes_later_is_waited_for(
    secret: CatalogueSecret, probes: int
) -> None:
    secret.folder.mkdir()
    async with catalogue(secret, probes) as url:
        reasons = await readiness(probes, lambda text: "token" in text)
        assert "certificate: Missing key tls.crt in catalogue Secret core-catalogue" in reasons or (
            "certificate: Missing catalogue Secret core-catalogue: create it." in reasons
        )
        assert "token: Missing catalogue Secret core-catalogue: create it." in reasons
        for failure in await failures(url, PeerAccess(token="secret-1")):
            assert "which may have no certificate" in failure.comment
        secret.put_all()
        await readiness(probes, lambda text: text == "ready\n")
        await stored(url, secret.access())


async def test_a_key_that_does_not_fit_leaves_the_last_certificate_in_use(
    url: str, secret: CatalogueSecret, probes: int, lines: io.StringIO
) -> None:
    keys = certificate_keys(secret.authority)
    other = certificate_keys(secret.authority)["tls.key"]
    secret.put({**keys, "tls.key": other, "token": "secret-1"})
    line = "The new certificate can't be used: the last one stays in use."
    await becomes(partial(asyncio.to_thread, lines.getvalue), lambda log: line in log)
    await stored(url, secret.access())
    assert "PRIVATE KEY" not in lines.getvalue()


async def test_many_requests_share_a_connection(url: str, secret: CatalogueSecret) -> None:
    sink = HttpSink(f"{url}/events", secret.access(), connections=2)
    await asyncio.gather(*(sink.accept(event(f"o{n}", instance=f"3.{n}")) for n in range(40)))
    assert 1 <= len(sink._client._kept._idle) <= 2
    await sink.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "catalogue.example"])
async def test_events_are_not_served_to_a_network_without_tls(tmp_path: Path, host: str) -> None:
    settings = CatalogueSettings.load(
        database_url=f"sqlite:///{tmp_path}/catalogue.db", http_host=host, http_port=0
    )
    with pytest.raises(ConfigurationMistake, match="DIMSE_CATALOGUE_CERTIFICATE_PATH is not set"):
        async with running(settings):
            pass


async def test_without_tls_the_token_is_required_on_this_machine(tmp_path: Path) -> None:
    settings = CatalogueSettings.load(
        database_url=f"sqlite:///{tmp_path}/catalogue.db",
        http_host="127.0.0.1",
        http_port=0,
        token="secret-1",
    )
    async with running(settings) as port:
        url = f"http://127.0.0.1:{port}"
        await readiness(port, lambda text: text == "ready\n")
        await stored(url, PeerAccess(token="secret-1"))
        for failure in await failures(url, PeerAccess()):
            assert "requires a token: set DIMSE_CATALOGUE_TOKEN" in failure.comment


async def test_an_operator_may_say_that_something_else_encrypts(tmp_path: Path) -> None:
    settings = CatalogueSettings.load(
        database_url=f"sqlite:///{tmp_path}/catalogue.db",
        http_host="0.0.0.0",
        http_port=0,
        insecure=True,
    )
    async with running(settings) as port:
        await readiness(port, lambda text: text == "ready\n")
        await stored(f"http://127.0.0.1:{port}", PeerAccess())


def tls(secret: CatalogueSecret) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(secret.folder / "ca.crt"))

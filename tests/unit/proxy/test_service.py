import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import pytest

from dimse_ingestion.failures import Unavailable
from dimse_ingestion.outbox import recovery
from dimse_ingestion.outbox.records import Damage, Record, scan
from dimse_ingestion.proxy.service import ProxyDependencies, RunningProxy, open_proxy
from dimse_ingestion.proxy.space import SpaceDependencies
from dimse_ingestion.settings import ConfigurationMistake, ProxySettings
from dimse_ingestion.upper_layer.services import Acceptance, Rejection, RejectResult, Services
from tests.unit.outbox.data_sets import add, opened
from tests.unit.proxy.fakes import Association, FakeRequester, association_request, proxy_settings


class FakeListener:
    """Do not listen; record the services."""

    def __init__(self) -> None:
        self.services: Services | None = None
        self._closed = False
        self.error: OSError | None = None
        self.drain = 0.0
        self.tls: list[ssl.SSLContext | None] = []
        self.let_go = asyncio.Event()
        self.let_go.set()

    def is_closed(self) -> bool:
        return self._closed

    def serving(self, services: Services) -> "FakeListener":
        self.services = services
        return self

    def replace_tls(self, tls: ssl.SSLContext | None) -> None:
        self.tls.append(tls)

    async def start(self, host: str, port: int) -> tuple[str, int]:
        if self.error is not None:
            raise self.error
        return host, port

    async def stop(self, drain: float) -> None:
        self.drain = drain
        await asyncio.wait_for(self.let_go.wait(), 60)
        self._closed = True

    def adopt(self, plain: socket.socket, closed: Callable[[], None]) -> None:
        raise AssertionError("A single process accepts its own connections.")

    async def associate(self, association_id: str) -> Acceptance | Rejection:
        assert self.services is not None
        return await self.services.associate(association_request(association_id=association_id))

    def end(self, association_id: str) -> None:
        assert self.services is not None
        self.services.association_ended(
            Association(association_request(association_id=association_id)), "released"
        )


@pytest.fixture
def listener() -> FakeListener:
    return FakeListener()


@pytest.fixture
def requester() -> FakeRequester:
    return FakeRequester()


@pytest.fixture
def settings(tmp_path: Path) -> ProxySettings:
    return local(tmp_path)


def local(directory: Path, **changed: object) -> ProxySettings:
    own = {"spool_directory": directory, "http_host": "127.0.0.1", "http_port": 0}
    return proxy_settings(**(own | changed))


def wires(listener: FakeListener, requester: FakeRequester, problem: str = "") -> ProxyDependencies:
    connection = SpaceDependencies(requester, transport_problem=lambda: problem)
    return ProxyDependencies(listener.serving, lambda _: nullcontext(connection))


async def test_a_proxy_is_ready_after_an_echo_to_bucket_and_catalogue(
    settings: ProxySettings, listener: FakeListener, requester: FakeRequester
) -> None:
    async with open_proxy(settings, wires(listener, requester)) as proxy:
        await asyncio.wait_for(proxy.path.wait_until_open(), 60)
        assert await proxy.health.problems() == {}
        assert proxy.address == ("0.0.0.0", 11112)
        assert isinstance(await listener.associate("a1"), Acceptance)
        listener.end("a1")
    assert listener.is_closed()


async def test_readiness_lists_what_is_wrong(
    settings: ProxySettings, listener: FakeListener, requester: FakeRequester
) -> None:
    requester.echo_result = Unavailable("No ingestion service listens")
    async with open_proxy(settings, wires(listener, requester)) as proxy:
        await proxy.path.probe()
        assert await proxy.health.problems() == {"path": "No ingestion service listens"}
    async with open_proxy(settings, wires(listener, requester, "NATS refused the token")) as proxy:
        assert await proxy.health.problems() == {"nats": "NATS refused the token"}


async def test_a_drain_refuses_new_associations_and_waits_for_the_open_ones(
    settings: ProxySettings, listener: FakeListener, requester: FakeRequester
) -> None:
    stopping, proxy_running = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def run() -> None:
        async with open_proxy(settings, wires(listener, requester)) as proxy:
            proxy_running.set_result(proxy)
            await stopping.wait()

    running = asyncio.create_task(run())
    proxy: RunningProxy = await proxy_running
    await listener.associate("a1")
    listener.let_go.clear()
    stopping.set()
    await asyncio.sleep(0)
    refused = await listener.associate("a2")
    assert isinstance(refused, Rejection)
    assert refused.result is RejectResult.TRANSIENT
    assert "draining" in await proxy.health.problems()
    assert not listener.is_closed()
    assert not running.done()
    listener.end("a1")
    listener.let_go.set()
    await asyncio.wait_for(running, 60)
    assert listener.is_closed()
    assert listener.drain == settings.drain_timeout


async def test_a_port_in_use_is_a_configuration_mistake(
    settings: ProxySettings, listener: FakeListener, requester: FakeRequester
) -> None:
    listener.error = OSError(98, "Address already in use")
    with pytest.raises(ConfigurationMistake, match=r"DIMSE_PORT: 0\.0\.0\.0:11112 .* in use"):
        async with open_proxy(settings, wires(listener, requester)):
            pass


async def test_an_http_port_in_use_is_a_configuration_mistake(
    tmp_path: Path, listener: FakeListener, requester: FakeRequester
) -> None:
    async with open_proxy(local(tmp_path), wires(listener, requester)) as proxy:
        second = local(tmp_path, http_port=proxy.http_port)
        with pytest.raises(ConfigurationMistake, match=r"DIMSE_HTTP_PORT: .* in use"):
            async with open_proxy(second, wires(FakeListener(), requester)):
                pass


async def until_spool(proxy: RunningProxy, problem: str) -> None:
    async with asyncio.timeout(60):
        while (await proxy.health.problems()).get("spool", "") != problem:  # noqa: ASYNC110 - no event says it
            await asyncio.sleep(0.005)


async def test_probes_answer_and_associations_are_transiently_rejected_during_a_recovery(
    tmp_path: Path,
    listener: FakeListener,
    requester: FakeRequester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = local(tmp_path, acknowledge="spooled")
    async with opened(settings.outbox_directory(1)) as outbox:
        await add(outbox, 1)
    go_on = threading.Event()

    def slow(content: bytes, salt: int) -> Iterator[Record | Damage]:
        assert go_on.wait(60)
        return scan(content, salt)

    monkeypatch.setattr(recovery, "scan", slow)
    async with open_proxy(settings, wires(listener, requester)) as proxy:
        reading = "The spool of an earlier run is being read: recovering 0 of 1 files."
        await until_spool(proxy, reading)
        refused = await listener.associate("a1")
        assert isinstance(refused, Rejection)
        assert (refused.result, refused.explanation) == (RejectResult.TRANSIENT, reading)
        go_on.set()
        await until_spool(proxy, "")
        assert isinstance(await listener.associate("a2"), Acceptance)


async def test_probes_answer_before_the_spaces_are_open(
    tmp_path: Path, listener: FakeListener, requester: FakeRequester
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings = local(tmp_path, http_port=free.getsockname()[1])
    answers: list[str] = []

    @asynccontextmanager
    async def connect(_: ProxySettings) -> AsyncIterator[SpaceDependencies]:
        for path in ("livez", "readyz"):
            reader, writer = await asyncio.open_connection("127.0.0.1", settings.http_port)
            writer.write(f"GET /{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            answers.append((await reader.read()).decode())
            writer.close()
        yield SpaceDependencies(requester, transport_problem=lambda: "")

    async with open_proxy(settings, ProxyDependencies(listener.serving, connect)):
        pass
    alive, ready = answers
    assert alive.startswith("HTTP/1.1 200")
    assert ready.startswith("HTTP/1.1 503")
    assert ready.endswith("not ready\nstart: The proxy is starting.\n")


async def test_a_spool_that_can_not_be_made_is_a_configuration_mistake(
    tmp_path: Path, listener: FakeListener, requester: FakeRequester
) -> None:
    (tmp_path / "file").touch()
    settings = local(tmp_path / "file" / "spool")
    with pytest.raises(ConfigurationMistake, match=r"DIMSE_SPOOL_DIRECTORY: .* is no folder: give"):
        async with open_proxy(settings, wires(listener, requester)):
            pass

"""The proxy on its real wires, down to the transport's other end, with DCMTK outside."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from dimse_ingestion.proxy.app import running
from dimse_ingestion.proxy.service import RunningProxy
from dimse_ingestion.settings import ProxySettings
from dimse_ingestion.transport.contract import ByteSink, InstanceSink, MatchSink
from dimse_ingestion.transport.nats.client import NatsClient
from dimse_ingestion.transport.nats.from_settings import nats_options
from dimse_ingestion.transport.protocol.messages import (
    CommitOpen,
    CommitResult,
    EchoRequest,
    EchoResult,
    FetchOpen,
    FetchResult,
    FindMatch,
    FindOpen,
    FindResult,
    RetrieveOpen,
    RetrieveResult,
    StoreOpen,
    StoreResult,
)
from dimse_ingestion.transport.protocol.subjects import Subjects, ingestion_permissions
from dimse_ingestion.transport.server.server import TransportServer
from harness import modalities
from harness.modalities import Peer
from harness.nats_server import NatsServer, nats_server

pytestmark = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())

MATCH = b"\x20\x00\x0d\x00\x04\x00\x00\x001.2\0"  # Study Instance UID, implicit little endian


@dataclass
class KeptInMemory:
    """The operations of an ingestion service without bucket or catalogue."""

    stored: list[tuple[StoreOpen, bytes]] = field(default_factory=list)
    matches: int = 3

    async def echo(self, request: EchoRequest) -> EchoResult:
        return EchoResult(status=0, replica="r1")

    async def already_stored(self, open_: StoreOpen) -> StoreResult | None:
        return None

    async def store(self, open_: StoreOpen, chunks: AsyncIterator[bytes]) -> StoreResult:
        content = b"".join([chunk async for chunk in chunks])
        self.stored.append((open_, content))
        return StoreResult(status=0, size=len(content))

    async def store_inline(self, open_: StoreOpen, chunks: AsyncIterator[bytes]) -> StoreResult:
        return await self.already_stored(open_) or await self.store(open_, chunks)

    async def find(self, open_: FindOpen, sink: MatchSink) -> FindResult:
        sent = 0
        while sent < self.matches and not sink.cancelled:
            await sink.send(FindMatch(status=0xFF00, identifier=MATCH))
            sent += 1
        return FindResult(status=0xFE00 if sink.cancelled else 0, matches=sent)

    async def commit(self, open_: CommitOpen) -> CommitResult:
        return CommitResult(status=0, reasons=(0,) * len(open_.references))

    async def retrieve(self, open_: RetrieveOpen, sink: InstanceSink) -> RetrieveResult:
        return RetrieveResult(status=0)

    async def fetch(self, open_: FetchOpen, sink: ByteSink) -> FetchResult:
        return FetchResult(status=0x0110)


@pytest.fixture
def operations() -> KeptInMemory:
    return KeptInMemory()


@pytest.fixture
async def proxy(tmp_path: Path, operations: KeptInMemory) -> AsyncIterator[RunningProxy]:
    with nats_server(tmp_path / "nats") as server:
        settings = local(tmp_path, server)
        async with replica(settings, operations), running(settings) as proxy:
            await asyncio.wait_for(proxy.path.wait_until_open(), 20)
            yield proxy


def local(directory: Path, server: NatsServer) -> ProxySettings:
    return ProxySettings(
        nats_url=server.url,
        host="127.0.0.1",
        port=0,
        http_host="127.0.0.1",
        http_port=0,
        spool_directory=directory / "spool",
        drain_timeout=5.0,
    )


@asynccontextmanager
async def replica(settings: ProxySettings, operations: KeptInMemory) -> AsyncIterator[None]:
    root = settings.nats_subject_root
    link = NatsClient(nats_options(settings, "ingestion", ingestion_permissions(root)))
    responder = TransportServer(link, Subjects(root), "r1", operations)
    await link.start()
    await responder.start()
    try:
        yield
    finally:
        await responder.close()
        await link.close()


async def test_the_proxy_is_ready_and_an_echo_reaches_bucket_and_catalogue(
    proxy: RunningProxy,
) -> None:
    assert dict(await proxy.health.problems()) == {}
    assert (await modalities.echoscu(Peer(*proxy.address))).status == 0


@pytest.mark.parametrize("name", ["CT_small.dcm", "examples_rgb_color.dcm"])
async def test_a_file_arrives_as_it_was_announced(
    proxy: RunningProxy, operations: KeptInMemory, name: str
) -> None:
    file = str(get_testdata_file(name, download=False))
    assert (await modalities.storescu(Peer(*proxy.address), file)).status == 0
    ((open_, content),) = operations.stored
    assert (open_.size, open_.sha256) == (len(content), hashlib.sha256(content).hexdigest())


async def test_matches_come_back_and_a_cancel_ends_them(
    proxy: RunningProxy, operations: KeptInMemory
) -> None:
    keys = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID")
    ended = await modalities.findscu(Peer(*proxy.address), *keys)
    assert ended.output.count("(Pending)") == 3, ended.output
    operations.matches = 1_000_000
    ended = await modalities.findscu(Peer(*proxy.address), *keys, options=("-S", "--cancel", "5"))
    assert "Cancel" in ended.output


async def test_a_drain_lets_a_store_under_way_finish(
    tmp_path: Path, operations: KeptInMemory
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    class Slow(KeptInMemory):
        async def store(self, open_: StoreOpen, chunks: AsyncIterator[bytes]) -> StoreResult:
            reached.set()
            await go_on.wait()
            return await super().store(open_, chunks)

    slow = Slow()
    file = str(get_testdata_file("CT_small.dcm", download=False))
    with nats_server(tmp_path / "nats") as server:
        settings = local(tmp_path, server)
        async with replica(settings, slow):
            async with running(settings) as proxy:
                sending = asyncio.create_task(modalities.storescu(Peer(*proxy.address), file))
                await asyncio.wait_for(reached.wait(), 20)
                asyncio.get_running_loop().call_later(0.3, go_on.set)
            ended = await sending
    assert ended.status == 0, ended.output
    assert len(slow.stored) == 1

"""The rate limit on a real nats-server: rates are compared with each other, no times."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.client.client import CarrierClient
from dimse_ingestion.transport.protocol.subjects import Subjects
from dimse_ingestion.transport.server.server import TransportServer
from harness.nats_server import NatsServer, nats_server
from tests.nats_clients import connected_client
from tests.unit.transport.client_server import (
    BytesSource,
    FakeOperations,
    echo_request,
    store_open,
)

ROOT = "TEST.DIMSE"
MIB = 1024 * 1024
SLOW, FAST = MIB, 8 * MIB


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as running:
        yield running


@dataclass
class Space:
    """A client whose rate a test changes, and its replica."""

    client: CarrierClient
    replica: FakeOperations
    rates: list[float | None]
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1000)))

    async def send(self, contents: list[bytes]) -> float:
        """Store all at once; return the seconds."""
        started = time.monotonic()
        results = await asyncio.gather(*(self._store(content) for content in contents))
        assert results == [Status.SUCCESS] * len(contents)
        return time.monotonic() - started

    async def _store(self, content: bytes) -> int:
        open_ = store_open(content, f"op{next(self.numbers)}")
        return (await self.client.store(open_, BytesSource(content), deadline=60)).status


@asynccontextmanager
async def space(server: NatsServer) -> AsyncIterator[Space]:
    replica, rates = FakeOperations(), list[float | None]()
    async with connected_client(server.url) as theirs, connected_client(server.url) as ours:
        serving = TransportServer(theirs, Subjects(ROOT), "r1", replica)
        client = CarrierClient(ours, Subjects(ROOT), "p1", rate=lambda: rates[-1])
        await serving.start()
        await client.start()
        yield Space(client, replica, rates)
        await client.close()
        await serving.close()


async def test_time_follows_the_rate(server: NatsServer) -> None:
    """Long and short data sets, each in the way it travels, one and several at once."""
    contents = [bytes([1]) * (2 * MIB), *(bytes([each]) * (MIB // 4) for each in range(2, 10))]
    size = sum(map(len, contents))
    async with space(server) as both:
        both.rates.append(None)
        await both.send([b"a first one"])
        took: dict[float, float] = {}
        for rate in (SLOW, FAST):
            both.rates.append(rate)
            took[rate] = await both.send(contents)
            # never faster than the limit; a tenth of a second and one piece may be saved up
            assert took[rate] * rate >= size - 0.1 * rate - MIB
        assert took[SLOW] / took[FAST] > 2  # 8, and less where the machine is the limit
        both.rates.append(None)
        assert took[SLOW] / await both.send(contents) > 2
        assert sorted(both.replica.stored) == sorted([b"a first one", *contents * 3])


async def test_an_echo_is_not_held_up(server: NatsServer) -> None:
    async with space(server) as both:
        both.rates.append(SLOW)
        storing = asyncio.create_task(both.send([bytes(4 * MIB)]))
        echoes = 0
        while not storing.done():
            assert (await both.client.echo(echo_request(f"e{echoes}"))).status == Status.SUCCESS
            echoes += 1
        await storing
        assert echoes > 5  # it would be one behind the data set

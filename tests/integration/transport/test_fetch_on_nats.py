"""Retrieve and fetch on a real nats-server: losses of the replica, of the server and of both."""

import asyncio
import hashlib
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from dimse_ingestion.transport.client.client import CarrierClient
from dimse_ingestion.transport.contract import FetchStream
from dimse_ingestion.transport.protocol.fetch import WINDOW
from dimse_ingestion.transport.protocol.messages import FetchObject, FetchOpen
from harness.nats_server import NatsServer, nats_server
from tests.integration.transport.test_transport_on_nats import (
    MIB,
    Generated,
    Replicas,
    requester,
    responder,
)
from tests.nats_clients import eventually
from tests.unit.transport.client_server import (
    FakeOperations,
    fetch_open,
    instances,
    patterned_bytes,
    retrieve_open,
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as running:
        yield running


@pytest.fixture
def replicas(server: NatsServer, tmp_path: Path) -> Iterator[Replicas]:
    (tmp_path / "bucket").mkdir()
    running = Replicas(server, tmp_path / "bucket")
    yield running
    running.end()


def put(replicas: Replicas, source: Generated) -> None:
    """Write the object that the replicas send."""
    with (replicas.folder / source.sha256).open("wb") as file:
        for offset in range(0, source.size, MIB):
            file.write(source.read(offset, min(MIB, source.size - offset)))


async def digest_of(asking: CarrierClient, source: Generated, operation_id: str = "f1") -> str:
    """Fetch a data set and return the digest of what was delivered."""
    digest, size = hashlib.sha256(), 0
    open_ = fetch_open(b"", operation_id, size=source.size, sha256=source.sha256)
    stream = asking.fetch(open_, stored=True)
    try:
        async for piece in stream:
            digest.update(piece)
            size += len(piece)
    finally:
        await stream.close()
    assert size == source.size
    return digest.hexdigest()


def offsets(replicas: Replicas) -> list[int]:
    """Return from which byte on the replicas sent the end of a data set."""
    return [int(each.name.split(".")[0]) for each in replicas.folder.glob("*.sent")]


@pytest.mark.parametrize("size", [0, 1000, 524_288, 5_000_001])
async def test_a_data_set_arrives_unchanged(
    server: NatsServer, replicas: Replicas, size: int
) -> None:
    await replicas.start()
    source = Generated(size)
    put(replicas, source)
    async with requester(server) as asking:
        result, listed = await asking.retrieve(retrieve_open())
        assert (result.status, [each.sha256 for each in listed]) == (0, [source.sha256])
        assert await digest_of(asking, source) == source.sha256


async def test_many_instances_are_listed(server: NatsServer) -> None:
    operations = FakeOperations(instances=instances(20_000))
    async with responder(server, operations), requester(server) as asking:
        result, listed = await asking.retrieve(retrieve_open())
        assert (result.status, listed) == (0, operations.instances)


async def test_a_replica_that_is_killed_is_replaced_from_the_byte_that_is_missing(
    server: NatsServer, replicas: Replicas
) -> None:
    source = Generated(24 * MIB)
    put(replicas, source)
    first = await replicas.start(pause=0.05)
    async with requester(server) as asking:
        open_ = fetch_open(b"", size=source.size, sha256=source.sha256)
        stream = asking.fetch(open_, stored=True)
        digest, size = hashlib.sha256(), 0
        async for piece in stream:
            digest.update(piece)
            size += len(piece)
            if first.poll() is None and size > 8 * MIB:
                await replicas.start()
                first.send_signal(signal.SIGKILL)
                first.wait()
        await stream.close()
    assert (size, digest.hexdigest()) == (source.size, source.sha256)
    (offset,) = offsets(replicas)
    assert 8 * MIB < offset < source.size


async def test_a_restart_of_the_server_costs_no_byte(
    server: NatsServer, replicas: Replicas
) -> None:
    source = Generated(24 * MIB)
    put(replicas, source)
    await replicas.start(pause=0.02)
    async with requester(server) as asking:
        fetching = asyncio.create_task(digest_of(asking, source))
        await asyncio.sleep(0)
        process = psutil.Process(replicas.running[0].pid)
        await eventually(lambda: process.io_counters().read_chars > 6 * MIB)
        server.restart()
        assert await fetching == source.sha256


async def test_memory_is_bounded_by_the_window_on_both_sides(
    server: NatsServer, replicas: Replicas
) -> None:
    source = Generated(256 * MIB)
    put(replicas, source)
    replica = psutil.Process((await replicas.start()).pid)
    own = psutil.Process()
    before = own.memory_info().rss, replica.memory_info().rss
    async with requester(server) as asking:
        started = time.monotonic()
        assert await digest_of(asking, source) == source.sha256
        seconds = time.monotonic() - started
    grown = own.memory_info().rss - before[0], replica.memory_info().rss - before[1]
    assert max(grown) < 15 * WINDOW, f"grew by {grown} bytes in {seconds:.1f} s"


async def test_several_fetches_at_once_arrive_unchanged(server: NatsServer) -> None:
    content = patterned_bytes(700_001)
    async with (
        responder(server, FakeOperations(data_set=content, piece=2**18)),
        requester(server) as asking,
    ):
        streams = [
            asking.fetch(fetch_open(content, f"f{number}"), stored=True) for number in range(16)
        ]
        for stream in streams:
            assert b"".join([piece async for piece in stream]) == content
            await stream.close()


# batches


def batch_of(sources: list[Generated]) -> FetchOpen:
    first, *rest = sources
    more = tuple(FetchObject("the key", each.size, each.sha256) for each in rest)
    return fetch_open(b"", "b1", size=first.size, sha256=first.sha256, more=more)


async def digests_of(streams: Sequence[FetchStream]) -> list[str]:
    """Take the data sets of a batch; return their digests."""
    digests = []
    for stream in streams:
        await stream.wait_until_buffered()
        digests.append(hashlib.sha256(stream.take_whole() or b"").hexdigest())
        await stream.close()
    return digests


def generated(replicas: Replicas, *sizes: int) -> list[Generated]:
    sources = [Generated(size) for size in sizes]
    for each in sources:
        put(replicas, each)
    return sources


async def test_batches_at_once_arrive_unchanged(server: NatsServer, replicas: Replicas) -> None:
    await replicas.start()
    sources = generated(replicas, 1000, 524_288, 1, 1_044_480, 700_001, 300_000)
    async with requester(server) as asking:
        batches = [asking.fetch_batch(batch_of(sources)) for _ in range(4)]
        for streams in batches:
            assert await digests_of(streams) == [each.sha256 for each in sources]


async def test_a_replica_that_is_killed_in_the_middle_of_a_batch_is_replaced(
    server: NatsServer, replicas: Replicas
) -> None:
    sources = generated(replicas, *range(600_000, 606_000, 1000))
    first = await replicas.start(pause=0.1)
    async with requester(server) as asking:
        streams = asking.fetch_batch(batch_of(sources))
        got = await digests_of(streams[:2])
        first.send_signal(signal.SIGSTOP)
        await replicas.start()
        first.send_signal(signal.SIGKILL)
        first.wait()
        got += await digests_of(streams[2:])
    assert got == [each.sha256 for each in sources]
    assert [each.name for each in replicas.folder.glob("*.sent")] == ["0.r1.sent"]


async def test_a_restart_of_the_server_loses_no_data_set_of_a_batch(
    server: NatsServer, replicas: Replicas
) -> None:
    sources = generated(replicas, *range(600_000, 606_000, 1000))
    await replicas.start(pause=0.05)
    async with requester(server) as asking:
        streams = asking.fetch_batch(batch_of(sources))
        got = await digests_of(streams[:2])
        server.restart()
        got += await digests_of(streams[2:])
    assert got == [each.sha256 for each in sources]

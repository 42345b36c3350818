"""Transport v1 on a real nats-server, with replicas in processes of their own that are killed."""

import asyncio
import hashlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.client.client import CarrierClient
from dimse_ingestion.transport.nats.client import NatsClient
from dimse_ingestion.transport.protocol.codec import OpenEcho, encode
from dimse_ingestion.transport.protocol.messages import EchoRequest, Origin, StoreOpen, StoreResult
from dimse_ingestion.transport.protocol.subjects import (
    Permissions,
    Subjects,
    ingestion_permissions,
    proxy_permissions,
)
from dimse_ingestion.transport.protocol.timeouts import Timeouts
from dimse_ingestion.transport.server.flow_limits import FlowLimits
from dimse_ingestion.transport.server.server import TransportServer
from harness.nats_server import NatsServer, nats_server
from tests.nats_clients import connected_client, eventually
from tests.unit.transport.client_server import (
    BytesSource,
    FakeOperations,
    find_open,
    numbered,
    store_open,
)

ROOT = "TEST.DIMSE"
MIB = 1024 * 1024
COMPRESSED = pytest.mark.parametrize("compresses", [False, True], ids=["as it is", "compressed"])
ORIGIN = Origin(calling_ae_title="CT1", called_ae_title="DICOM-INGEST")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as running:
        yield running


class Generated:
    """A `Source` of any size that uses no memory: each MiB begins with its number."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.read_to = 0
        digest = hashlib.sha256()
        for offset in range(0, size, MIB):
            digest.update(self.read(offset, min(MIB, size - offset)))
        self.sha256 = digest.hexdigest()
        self.read_to = 0

    def read(self, offset: int, length: int) -> bytes:
        self.read_to = max(self.read_to, offset + length)
        first, inside = divmod(offset, MIB)
        last = (offset + length - 1) // MIB
        if first == last:
            return self._block(first)[inside : inside + length]
        whole = b"".join(self._block(number) for number in range(first, last + 1))
        return whole[inside : inside + length]

    def _block(self, number: int) -> bytes:
        return number.to_bytes(8, "big") + bytes(MIB - 8)

    def store_open(self, operation_id: str = "op1") -> StoreOpen:
        return store_open(b"", operation_id, size=self.size, sha256=self.sha256)


@dataclass
class Replicas:
    """Replicas in processes of their own, and the folder that they store to."""

    server: NatsServer
    folder: Path
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    async def start(self, pause: float = 0.0) -> subprocess.Popen[str]:
        """Start another replica and wait until it serves; `pause` is in seconds for each chunk."""
        return await asyncio.to_thread(self._start, pause)

    def _start(self, pause: float) -> subprocess.Popen[str]:
        name = f"r{len(self.running)}"
        arguments = [self.server.url, ROOT, name, str(self.folder), str(pause)]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.replica", *arguments], stdout=subprocess.PIPE, text=True
        )
        self.running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        return process

    def parts(self) -> dict[int, int]:
        """Return the bytes that each replica has of incomplete data sets."""
        return {
            int(part.name.split(".")[1][1:]): part.stat().st_size
            for part in self.folder.glob("*.part")
        }

    async def wait_for(self, size: int) -> None:
        """Wait until the replicas have more than `size` bytes of incomplete data sets."""
        await eventually(lambda: sum(self.parts().values()) > size)

    def has(self, source: Generated) -> bool:
        return (self.folder / source.sha256).exists()

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def replicas(server: NatsServer, tmp_path: Path) -> Iterator[Replicas]:
    (tmp_path / "bucket").mkdir()
    pair = Replicas(server, tmp_path / "bucket")
    yield pair
    pair.end()


@asynccontextmanager
async def requester(
    server: NatsServer,
    timeouts: Timeouts | None = None,
    proxy: str = "p1",
    *,
    compresses: bool = False,
) -> AsyncIterator[CarrierClient]:
    required_permissions = proxy_permissions(ROOT, proxy)
    async with connected_client(server.url, required_permissions=required_permissions) as client:
        pair = CarrierClient(client, Subjects(ROOT), proxy, timeouts, compresses=lambda: compresses)
        await pair.start()
        yield pair
        await pair.close()


@asynccontextmanager
async def responder(
    server: NatsServer, operations: FakeOperations, limits: FlowLimits | None = None
) -> AsyncIterator[tuple[TransportServer, NatsClient]]:
    async with connected_client(
        server.url, required_permissions=ingestion_permissions(ROOT)
    ) as client:
        pair = TransportServer(
            client, Subjects(ROOT), operations.replica, operations, limits=limits
        )
        await pair.start()
        yield pair, client
        await pair.close()


async def carried(asking: CarrierClient, source: Generated, operation_id: str) -> StoreResult:
    return await asking.store(source.store_open(operation_id), source, deadline=50)


@pytest.mark.parametrize("size", [0, 1000, 500_000, 524_288, 5_000_001])
async def test_a_data_set_arrives_unchanged(
    server: NatsServer, replicas: Replicas, size: int
) -> None:
    await replicas.start()
    source = Generated(size)
    async with requester(server) as asking:
        assert (await carried(asking, source, "op1")).key == source.sha256
    assert replicas.has(source)


@pytest.mark.parametrize("maximum_payload", [64 * 1024, 512 * 1024, 8 * MIB])
async def test_a_chunk_fits_into_the_server_maximum_payload(
    tmp_path: Path, maximum_payload: int
) -> None:
    configuration = {"max_payload": maximum_payload}
    operations = FakeOperations()
    with nats_server(tmp_path / "other", configuration) as server:
        async with responder(server, operations) as (_, client), requester(server) as asking:
            source = Generated(3 * MIB + 7)
            assert (await carried(asking, source, "op1")).status == Status.SUCCESS
            assert client.generation == 1
    assert hashlib.sha256(operations.stored[0]).hexdigest() == source.sha256


def _as_configured(grants: Permissions) -> dict[str, list[str]]:
    return {"publish": list(grants.publish), "subscribe": list(grants.subscribe)}


async def test_each_end_needs_no_more_than_its_permissions(tmp_path: Path) -> None:
    grants = {"proxy": proxy_permissions(ROOT, "p1"), "ingestion": ingestion_permissions(ROOT)}
    users = [
        {"user": name, "password": "pw", "permissions": _as_configured(each)}
        for name, each in grants.items()
    ]
    operations = FakeOperations(matches=numbered(1000))
    with nats_server(tmp_path / "other", {"authorization": {"users": users}}) as server:
        async with (
            connected_client(
                server.url, credential=lambda: {"user": "ingestion", "password": "pw"}
            ) as theirs,
            connected_client(
                server.url, credential=lambda: {"user": "proxy", "password": "pw"}
            ) as ours,
        ):
            serving = TransportServer(theirs, Subjects(ROOT), "r1", operations)
            asking = CarrierClient(ours, Subjects(ROOT), "p1")
            await serving.start()
            await asking.start()
            source = Generated(3 * MIB)
            assert (await carried(asking, source, "op1")).status == Status.SUCCESS
            finding = asking.find(find_open())
            assert [match async for match in finding] == numbered(1000)
            assert (ours.denials, theirs.denials) == ((), ())
            await asking.close()
            await serving.close()


@pytest.mark.parametrize(
    "reply", [f"{ROOT}.v1.svc.store", f"{ROOT}._INBOX.p1.>", "elsewhere", f"{ROOT}._INBOX.p1"]
)
async def test_a_forged_reply_makes_no_replica_unready(tmp_path: Path, reply: str) -> None:
    grants = {"ingestion": ingestion_permissions(ROOT), "evil": proxy_permissions(ROOT, "evil")}
    users = [
        {"user": name, "password": "pw", "permissions": _as_configured(each)}
        for name, each in grants.items()
    ]
    headers, body = encode(OpenEcho(request=EchoRequest(operation_id="e1", origin=ORIGIN)))
    with nats_server(tmp_path / "other", {"authorization": {"users": users}}) as server:
        async with (
            connected_client(
                server.url, credential=lambda: {"user": "ingestion", "password": "pw"}
            ) as theirs,
            connected_client(
                server.url, credential=lambda: {"user": "evil", "password": "pw"}
            ) as evil,
        ):
            serving = TransportServer(theirs, Subjects(ROOT), "r1", FakeOperations())
            asking = CarrierClient(evil, Subjects(ROOT), "evil")
            await serving.start()
            await asking.start()
            for subject in ("v1.svc.echo", "v1.in.r1.s1"):
                for each in (headers, {}, {"Dimse-Op": "PROBE"}):
                    evil.publish(f"{ROOT}.{subject}", body, reply=reply, headers=each)
            echo = EchoRequest(operation_id="e2", origin=ORIGIN)
            assert (await asking.echo(echo)).status == Status.SUCCESS
            assert (theirs.problem, theirs.denials) == ("", ())
            await asking.close()
            await serving.close()


async def test_a_store_survives_a_restart_of_nats(server: NatsServer, replicas: Replicas) -> None:
    await replicas.start(pause=0.01)
    source = Generated(60 * MIB)
    async with requester(server) as asking:
        storing = asyncio.create_task(carried(asking, source, "op1"))
        for share in (4, 2):
            await replicas.wait_for(source.size // share)
            server.kill()
            await asyncio.sleep(0.3)  # what is measured: a server away for a while
            server.start()
        assert (await storing).status == Status.SUCCESS
    assert replicas.has(source)


@COMPRESSED
async def test_a_store_survives_the_death_of_its_replica(
    server: NatsServer, replicas: Replicas, compresses: bool
) -> None:
    for _ in range(2):
        await replicas.start(pause=0.01)
    source = Generated(40 * MIB)
    async with requester(server, compresses=compresses) as asking:
        storing = asyncio.create_task(carried(asking, source, "op1"))
        await eventually(lambda: sum(replicas.parts().values()) > source.size // 3)
        (at_work,) = replicas.parts()
        replicas.running[at_work].kill()
        assert (await storing).status == Status.SUCCESS
        assert set(replicas.parts()) == {at_work}
    assert replicas.has(source)


async def test_a_store_survives_a_hanging_nats(server: NatsServer, replicas: Replicas) -> None:
    await replicas.start(pause=0.01)
    source = Generated(40 * MIB)
    async with requester(server) as asking:
        storing = asyncio.create_task(carried(asking, source, "op1"))
        await eventually(lambda: sum(replicas.parts().values()) > source.size // 3)
        server.pause()
        await asyncio.sleep(4)  # what is measured: a server that hangs for a while
        server.resume()
        assert (await storing).status == Status.SUCCESS
    assert replicas.has(source)


@COMPRESSED
async def test_a_slow_bucket_bounds_memory_at_both_ends(
    server: NatsServer, replicas: Replicas, compresses: bool
) -> None:
    process = await replicas.start(pause=0.02)
    source = Generated(100 * MIB)
    here, there = psutil.Process(), psutil.Process(process.pid)
    before = here.memory_info().rss, there.memory_info().rss
    most = [0, 0]
    async with requester(server, compresses=compresses) as asking:
        storing = asyncio.create_task(carried(asking, source, "op1"))
        while not storing.done():
            now = here.memory_info().rss, there.memory_info().rss
            most = [max(pair) for pair in zip(most, now, strict=True)]
            # a complete object has no part, and its result may still be on its way
            written = sum(replicas.parts().values()) or replicas.has(source) * source.size
            # the window grows where the machine is busy, as it does over a distance
            assert source.read_to - written <= FlowLimits().largest_window + 2 * MIB
            await asyncio.sleep(0.02)
        assert (await storing).status == Status.SUCCESS
    assert most[0] - before[0] < 40 * MIB
    assert most[1] - before[1] < 40 * MIB


async def test_a_rolling_update_under_load_loses_nothing(
    server: NatsServer, replicas: Replicas
) -> None:
    await replicas.start(pause=0.005)
    await replicas.start(pause=0.005)
    sources = [Generated(200_000 + number * 1000 + (number % 3) * MIB) for number in range(60)]
    async with requester(server) as asking:
        turn = asyncio.Semaphore(8)

        async def one(number: int) -> StoreResult:
            async with turn:
                return await carried(asking, sources[number], f"op{number}")

        storing = asyncio.gather(*(one(number) for number in range(len(sources))))
        for old in range(3):
            await replicas.start(pause=0.005)
            replicas.running[old].send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(replicas.running[old].wait, 30) == 0
        assert {each.status for each in await storing} == {Status.SUCCESS}
    assert all(replicas.has(source) for source in sources)
    assert replicas.parts() == {}


async def test_an_operation_opened_twice_is_performed_once(server: NatsServer) -> None:
    operations = FakeOperations(step_seconds=0.02)
    content = bytes(3 * MIB)
    async with responder(server, operations), requester(server) as asking:
        storing = [
            asking.store(store_open(content), BytesSource(content), deadline=50),
            asking.store(store_open(content), BytesSource(content), deadline=50),
        ]
        done, left = await asyncio.wait(
            [asyncio.create_task(each) for each in storing], return_when=asyncio.FIRST_COMPLETED
        )
        assert done.pop().result().status == Status.SUCCESS
        for each in left:
            each.cancel()
    assert operations.store_calls == 1


async def test_a_store_waits_for_the_first_replica(server: NatsServer, replicas: Replicas) -> None:
    source = Generated(2 * MIB)
    async with requester(server, Timeouts(open_budget=1.0)) as asking:
        assert (await carried(asking, source, "op1")).status == Status.OUT_OF_RESOURCES
    async with requester(server) as asking:
        storing = asyncio.create_task(carried(asking, source, "op1"))
        await replicas.start()
        assert (await storing).status == Status.SUCCESS


async def test_two_proxies_share_one_subject_root(server: NatsServer, replicas: Replicas) -> None:
    await replicas.start()
    one, other = Generated(5 * MIB), Generated(6 * MIB)
    async with requester(server, proxy="p1") as first, requester(server, proxy="p2") as second:
        results = await asyncio.gather(carried(first, one, "a"), carried(second, other, "b"))
    assert [each.key for each in results] == [one.sha256, other.sha256]


async def test_a_query_is_cancelled_between_matches(server: NatsServer) -> None:
    operations = FakeOperations(endless=True)
    async with responder(server, operations) as (serving, _), requester(server) as asking:
        finding = asking.find(find_open())
        count = 0
        async for _ in finding:
            count += 1
            if count == 1000:
                finding.cancel()
        assert (count, finding.result.status) == (1000, Status.CANCEL)
        await eventually(lambda: (operations.cancelled, serving.sessions), (1, 0))


async def test_a_query_over_a_broken_connection_has_every_match_once(server: NatsServer) -> None:
    operations = FakeOperations(matches=numbered(3000, size=1000), step_seconds=0.0005)
    async with responder(server, operations), requester(server) as asking:
        finding = asking.find(find_open())
        got = []
        async for match in finding:
            got.append(match)
            if len(got) == 1000:
                server.restart()
        assert finding.result.status == Status.SUCCESS
        assert got == numbered(3000, size=1000)


async def test_an_echo_is_answered_by_a_replica(server: NatsServer, replicas: Replicas) -> None:
    await replicas.start()
    async with requester(server) as asking:
        answer = await asking.echo(EchoRequest(operation_id="e", origin=ORIGIN))
    assert (answer.status, answer.replica) == (Status.SUCCESS, "r0")

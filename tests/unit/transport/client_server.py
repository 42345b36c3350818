"""A client and servers on one in-memory bus, with operations that record their calls."""

import asyncio
import hashlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure
from dimse_ingestion.transport.carrier import Delivery
from dimse_ingestion.transport.client.client import CarrierClient
from dimse_ingestion.transport.client.rate_limit import Rate, unlimited
from dimse_ingestion.transport.contract import ByteSink, InstanceSink, MatchSink, Operations
from dimse_ingestion.transport.memory import Bus, MemoryCarrier, MemorySubscription
from dimse_ingestion.transport.protocol.codec import OPERATION
from dimse_ingestion.transport.protocol.fetch_batch import objects_of
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
    Origin,
    Reference,
    RetrieveInstance,
    RetrieveOpen,
    RetrieveResult,
    StoreOpen,
    StoreResult,
)
from dimse_ingestion.transport.protocol.subjects import (
    Subjects,
    ingestion_permissions,
    last_token,
    proxy_permissions,
)
from dimse_ingestion.transport.protocol.timeouts import Timeouts
from dimse_ingestion.transport.server.flow_limits import FlowLimits
from dimse_ingestion.transport.server.server import TransportServer

ROOT = "hospital.DIMSE"
ORIGIN = Origin(calling_ae_title="CT1", called_ae_title="DICOM-INGEST", association_id="a1")
KIB = 1024
SMALL_PAYLOAD = 12 * KIB
"""Leaves chunks of 8 KiB, so that short data sets need many chunks."""


class BytesSource:
    """A `Source` in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]


def patterned_bytes(size: int) -> bytes:
    """Return bytes in which a wrong order is detected."""
    counted = b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))
    return counted[:size]


def store_open(content: bytes, operation_id: str = "op1", **overrides: object) -> StoreOpen:
    fields: dict[str, object] = {
        "operation_id": operation_id,
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
        "sop_instance_uid": "1.2.3",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "origin": ORIGIN,
    }
    return StoreOpen(**(fields | overrides))  # type: ignore[arg-type] # by name


def find_open(operation_id: str = "find1", identifier: bytes = b"identifier") -> FindOpen:
    return FindOpen(
        operation_id=operation_id,
        sop_class_uid="1.2.840.10008.5.1.4.1.2.2.1",
        transfer_syntax_uid="1.2.840.10008.1.2",
        identifier=identifier,
        origin=ORIGIN,
    )


def retrieve_open(operation_id: str = "retrieve1", identifier: bytes = b"id") -> RetrieveOpen:
    return RetrieveOpen(
        operation_id=operation_id,
        sop_class_uid="1.2.840.10008.5.1.4.1.2.2.3",
        transfer_syntax_uid="1.2.840.10008.1.2",
        identifier=identifier,
        origin=ORIGIN,
    )


def fetch_open(content: bytes, operation_id: str = "fetch1", **overrides: object) -> FetchOpen:
    fields: dict[str, object] = {
        "operation_id": operation_id,
        "key": "the key",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "origin": ORIGIN,
    }
    return FetchOpen(**(fields | overrides))  # type: ignore[arg-type] # by name


def instances(count: int) -> list[RetrieveInstance]:
    return [
        RetrieveInstance(
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            sop_instance_uid=f"1.2.3.{number}",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            key=f"instances/{number}",
            size=number,
            sha256=hashlib.sha256(number.to_bytes(4)).hexdigest(),
        )
        for number in range(count)
    ]


def echo_request(operation_id: str = "echo1") -> EchoRequest:
    return EchoRequest(operation_id=operation_id, origin=ORIGIN)


def commit_open(operation_id: str = "commit1", count: int = 3) -> CommitOpen:
    references = tuple(
        Reference("1.2.840.10008.5.1.4.1.1.2", f"1.2.3.{number}") for number in range(count)
    )
    return CommitOpen(operation_id=operation_id, references=references, origin=ORIGIN)


@dataclass
class FakeOperations:
    """`Operations` that record their calls, and are slow or fail as configured."""

    replica: str = "r1"
    step_seconds: float = 0.0
    """Seconds for each chunk, match, or echo."""
    finish_seconds: float = 0.0
    """Seconds between the last chunk and the result."""
    failures: list[Exception] = field(default_factory=list)
    """Raised by the first calls, one each."""
    known_results: dict[str, StoreResult] = field(default_factory=dict)
    lookup_seconds: float = 0.0
    """Seconds of the check for a stored digest."""
    matches: list[FindMatch] = field(default_factory=list)
    first_match_seconds: float = 0.0
    """Seconds before the first match."""
    instances: list[RetrieveInstance] = field(default_factory=list)
    data_set: bytes = b""
    """What every fetch sends whose key is not in `data_sets`."""
    data_sets: dict[str, bytes | Failure] = field(default_factory=dict)
    """What the fetch of a key sends, or how it fails."""
    knows_batches: bool = True
    """Whether `more` of a fetch is read, unlike in former releases."""
    piece: int = 8 * KIB
    """Bytes that a fetch sends at once."""
    endless: bool = False
    reads_nothing: bool = False

    current_data: bytearray = field(default_factory=bytearray)
    """The data set being read, the last one if there are several."""
    concurrent: int = 0
    max_concurrent: int = 0
    stored: list[bytes] = field(default_factory=list)
    store_calls: int = 0
    store_failures: list[Failure] = field(default_factory=list)
    find_opens: list[FindOpen] = field(default_factory=list)
    commit_opens: list[CommitOpen] = field(default_factory=list)
    cancelled: int = 0
    matches_sent: int = 0
    fetch_opens: list[FetchOpen] = field(default_factory=list)
    bytes_sent: int = 0

    async def echo(self, request: EchoRequest) -> EchoResult:
        await asyncio.sleep(self.step_seconds)
        self._fail()
        return EchoResult(status=0, replica=self.replica)

    async def already_stored(self, open_: StoreOpen) -> StoreResult | None:
        await asyncio.sleep(self.lookup_seconds)
        return self.known_results.get(open_.sha256)

    async def store(self, open_: StoreOpen, chunks: AsyncIterator[bytes]) -> StoreResult:
        self.store_calls += 1
        self._fail()
        self.concurrent += 1
        self.max_concurrent = max(self.concurrent, self.max_concurrent)
        try:
            return await self._stored(open_, chunks)
        except Failure as failure:
            self.store_failures.append(failure)
            raise
        finally:
            self.concurrent -= 1

    async def store_inline(self, open_: StoreOpen, chunks: AsyncIterator[bytes]) -> StoreResult:
        return await self.already_stored(open_) or await self.store(open_, chunks)

    async def _stored(self, open_: StoreOpen, chunks: AsyncIterator[bytes]) -> StoreResult:
        self.current_data = received = bytearray()
        if not self.reads_nothing:
            async for chunk in chunks:
                received += chunk
                await asyncio.sleep(self.step_seconds)
        await asyncio.sleep(self.finish_seconds)
        self.stored.append(bytes(received))
        return StoreResult(status=0, key=open_.sha256, size=len(received), sha256=open_.sha256)

    async def find(self, open_: FindOpen, sink: MatchSink) -> FindResult:
        self.find_opens.append(open_)
        self._fail()
        sent = 0
        await asyncio.sleep(self.first_match_seconds)
        for match in _endless() if self.endless else self.matches:
            if sink.cancelled:
                break
            await sink.send(match)
            sent += 1
            self.matches_sent = sent
            await asyncio.sleep(self.step_seconds)
        if sink.cancelled:
            self.cancelled += 1
            return FindResult(status=Status.CANCEL, matches=sent)
        return FindResult(status=0, matches=sent)

    async def commit(self, open_: CommitOpen) -> CommitResult:
        await asyncio.sleep(self.finish_seconds)
        self._fail()
        self.commit_opens.append(open_)
        return CommitResult(status=0, reasons=(0,) * len(open_.references))

    async def retrieve(self, open_: RetrieveOpen, sink: InstanceSink) -> RetrieveResult:
        self._fail()
        for instance in self.instances:
            await sink.send(instance)
            await asyncio.sleep(self.step_seconds)
        return RetrieveResult(status=0, instances=len(self.instances))

    async def fetch(self, open_: FetchOpen, sink: ByteSink) -> FetchResult:
        self.fetch_opens.append(open_)
        self._fail()
        if open_.more and self.knows_batches:
            return await self._fetch_batch(open_, sink)
        content = self._data_set(open_.key)
        await self._send_content(content, open_.offset, sink)
        return FetchResult(
            status=0,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            objects=int(self.knows_batches),
        )

    async def _fetch_batch(self, open_: FetchOpen, sink: ByteSink) -> FetchResult:
        size = sent = 0
        for each in objects_of(open_):
            try:
                content = self._data_set(each.key)
            except Failure:
                if not sent:
                    raise
                break
            await self._send_content(content, 0, sink)
            size, sent = size + len(content), sent + 1
        return FetchResult(status=0, size=size, objects=sent)

    async def _send_content(self, content: bytes, offset: int, sink: ByteSink) -> None:
        for start in range(offset, len(content), self.piece):
            if sink.cancelled:
                self.cancelled += 1
                break
            await sink.send(content[start : start + self.piece])
            self.bytes_sent = start + self.piece
            await asyncio.sleep(self.step_seconds)

    def _data_set(self, key: str) -> bytes:
        content = self.data_sets.get(key, self.data_set)
        if isinstance(content, Failure):
            raise content
        return content

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


def _endless() -> Iterator[FindMatch]:
    return itertools.repeat(FindMatch(status=Status.PENDING, identifier=bytes(500)))


def numbered(count: int, size: int = 100) -> list[FindMatch]:
    return [
        FindMatch(status=Status.PENDING, identifier=number.to_bytes(4, "big") + bytes(size))
        for number in range(count)
    ]


class CountingBus(Bus):
    """A bus that counts the published messages of each kind, and may alter them."""

    def __init__(self, maximum_payload: int) -> None:
        super().__init__(maximum_payload)
        self.kinds: Counter[str] = Counter()
        self.octets: Counter[str] = Counter()
        self.alter: Callable[[Delivery], Delivery] = lambda message: message
        """Returns what is delivered in place of a message."""
        self.members: dict[str, Iterator[int]] = {}
        """By service, the members of its queue group that get the next opens; then each in turn."""

    def route(self, sender: MemoryCarrier, message: Delivery) -> None:
        message = self.alter(message)
        self.kinds[message.headers.get(OPERATION, "")] += 1
        self.octets[message.headers.get(OPERATION, "")] += len(message.body)
        super().route(sender, message)

    def choose_member(self, subject: str, members: list[MemorySubscription]) -> MemorySubscription:
        chosen = next(self.members.get(last_token(subject), iter(())), None)
        return super().choose_member(subject, members) if chosen is None else members[chosen]


@dataclass
class ClientServerPair:
    """A client and its servers on one bus; more of both can be added."""

    bus: CountingBus
    timeouts: Timeouts
    limits: FlowLimits
    rate: Rate = unlimited
    compresses: bool = False
    requester: CarrierClient = field(init=False)
    proxy: MemoryCarrier = field(init=False)
    responders: list[TransportServer] = field(default_factory=list)
    replicas: list[MemoryCarrier] = field(default_factory=list)

    async def add_proxy(self, name: str) -> tuple[CarrierClient, MemoryCarrier]:
        carrier = self.bus.carrier(proxy_permissions(ROOT, name))
        requester = CarrierClient(
            carrier,
            Subjects(ROOT),
            name,
            self.timeouts,
            rate=self.rate,
            compresses=lambda: self.compresses,
        )
        await requester.start()
        return requester, carrier

    async def add_replica(self, operations: Operations, name: str = "r1") -> TransportServer:
        carrier = self.bus.carrier(ingestion_permissions(ROOT))
        replica = f"{name}-{len(self.replicas)}"
        responder = TransportServer(
            carrier, Subjects(ROOT), replica, operations, timeouts=self.timeouts, limits=self.limits
        )
        await responder.start()
        self.replicas.append(carrier)
        self.responders.append(responder)
        return responder

    def kill(self, index: int) -> None:
        """Disconnect a replica for good; nothing it sends is delivered any more."""
        self.replicas[index].cut()
        self.replicas[index].subscriptions.clear()

    def hang(self, index: int) -> None:
        """Make a replica ignore and send nothing, while the server keeps its subscriptions."""
        for subscription in self.replicas[index].subscriptions:
            subscription.take = lambda _: None
        self.replicas[index].publish = lambda *_, **__: None  # type: ignore[method-assign] # sends nothing

    async def store(
        self, content: bytes, operation_id: str = "op1", *, deadline: float | None = None
    ) -> StoreResult:
        return await self.requester.store(
            store_open(content, operation_id),
            BytesSource(content),
            deadline=deadline or self.timeouts.deadline,
        )

    def denied_subjects(self) -> list[str]:
        return [each for carrier in self.bus.carriers for each in carrier.denied]


@asynccontextmanager
async def client_server_pair(
    *operations: FakeOperations,
    timeouts: Timeouts | None = None,
    limits: FlowLimits | None = None,
    maximum_payload: int = SMALL_PAYLOAD,
    rate: Rate = unlimited,
    compresses: bool = False,
) -> AsyncIterator[ClientServerPair]:
    """Start a proxy and a replica for each of `operations`, with their users' permissions."""
    bus = CountingBus(maximum_payload=maximum_payload)
    limits = limits or FlowLimits(window=64 * KIB, min_window=16 * KIB)
    pair = ClientServerPair(bus, timeouts or Timeouts(), limits, rate, compresses)
    pair.requester, pair.proxy = await pair.add_proxy("p1")
    for each in operations:
        await pair.add_replica(each, each.replica)
    try:
        yield pair
    finally:
        for responder in pair.responders:
            await responder.close()
        await pair.requester.close()
    assert pair.denied_subjects() == []


async def wait_until(condition: Callable[[], object], *, within: float = 60.0) -> None:
    """Wait, in virtual time, until something holds."""
    clock = asyncio.get_running_loop().time
    end = clock() + within
    while not condition():
        assert clock() < end, f"did not come to hold within {within} s"
        await asyncio.sleep(0.01)

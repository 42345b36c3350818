import asyncio
import hashlib
import io
import json
import logging as stdlib_logging
from collections.abc import AsyncGenerator, Iterator

import msgspec
import pytest
import structlog
from msgspec.structs import replace
from prometheus_client import REGISTRY

from dimse_ingestion.dicom import encoder, uids
from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.native_conversion import NativeConverter
from dimse_ingestion.dicom.response_status import retrieve_status
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.events.contract import InstanceOrigin
from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.ingestion.dispatch import Dispatch
from dimse_ingestion.ingestion.retrieve_dispatch import RetrieveDispatch
from dimse_ingestion.observability import logging
from dimse_ingestion.operations.commitment import CommitmentCheck
from dimse_ingestion.operations.echo import BackendHealthCheck
from dimse_ingestion.operations.fetch import DataSetReader
from dimse_ingestion.operations.find import Finder
from dimse_ingestion.operations.instance_list import InstanceLister
from dimse_ingestion.queries.contract import Located, Query
from dimse_ingestion.queries.memory import MemoryQueryClient
from dimse_ingestion.storage.contract import StoredObject
from dimse_ingestion.storage.memory import MemoryBucket
from dimse_ingestion.transport.protocol.fetch_batch import objects_of
from dimse_ingestion.transport.protocol.messages import (
    EchoRequest,
    FetchObject,
    FetchOpen,
    FindMatch,
    FindOpen,
    Origin,
    RetrieveInstance,
    RetrieveOpen,
    StoreOpen,
)
from tests.unit.operations.instances import (
    CT,
    DOWN,
    ELEMENTS,
    EXPLICIT,
    IMPLICIT,
    OPERATION,
    SOP_INSTANCE,
    Space,
    announced,
    chunks,
    data_set,
    key_of,
    object_of,
    space,
)
from tests.unit.transport.client_server import KIB, BytesSource, client_server_pair

ORIGIN = Origin(calling_ae_title="CT1", called_ae_title="DICOM-INGEST")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[io.StringIO]:
    """Yield the log output from level debug on."""
    root = stdlib_logging.getLogger()
    handlers, level = list(root.handlers), root.level
    out = io.StringIO()
    logging.configure("ingestion", "debug", stream=out)
    caplog.set_level("WARNING", "asyncio")
    yield out
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def dispatch(storage: Space, queries: MemoryQueryClient | None = None) -> Dispatch:
    client = queries or MemoryQueryClient()
    health_check = BackendHealthCheck(storage.bucket.check, storage.sink.check, client.check)
    return Dispatch(
        "replica-1",
        storage.storer,
        Finder(client, 100),
        RetrieveDispatch(InstanceLister(client), DataSetReader(storage.bucket)),
        health_check,
        CommitmentCheck(storage.bucket, client),
    )


def store_open(content: bytes, operation_id: str = OPERATION) -> StoreOpen:
    instance = announced(content)
    return StoreOpen(
        operation_id=operation_id,
        sop_class_uid=CT,
        sop_instance_uid=SOP_INSTANCE,
        transfer_syntax_uid=EXPLICIT,
        size=instance.size,
        sha256=instance.sha256,
        origin=ORIGIN,
    )


def find_open(level: str = "STUDY") -> FindOpen:
    started = [element(0x00080052, "CS", level), element(0x00100010, "PN", "D*")]
    return FindOpen(
        operation_id=OPERATION,
        sop_class_uid=uids.STUDY_ROOT_FIND,
        transfer_syntax_uid=EXPLICIT,
        identifier=encoder.encode(started, EXPLICIT),
        origin=ORIGIN,
    )


class RecordingSink:
    """An `MatchSink` that is cancelled after so many matches."""

    def __init__(self, cancel_after: int = 1000) -> None:
        self.matches: list[FindMatch] = []
        self.cancelled = cancel_after == 0
        self._cancel_after = cancel_after

    async def send(self, match: FindMatch) -> None:
        self.matches.append(match)
        self.cancelled = len(self.matches) >= self._cancel_after


class SilentClient(MemoryQueryClient):
    """A catalogue that gives one match and then nothing, not even an end."""

    def __init__(self) -> None:
        super().__init__()
        self.started = asyncio.Event()
        self.closed = False

    async def matches(self, query: Query) -> AsyncGenerator[list[Element], None]:
        try:
            yield list(ELEMENTS.values())
            self.started.set()
            await asyncio.Event().wait()
        finally:
            self.closed = True


def studies(count: int) -> MemoryQueryClient:
    return MemoryQueryClient(
        [*(ELEMENTS | {0x0020000D: element(0x0020000D, "UI", f"1.2.{number}")}).values()]
        for number in range(count)
    )


async def test_the_result_of_a_store_has_key_size_digest_and_event() -> None:
    storage, content = space(), data_set()
    result = await dispatch(storage).store(store_open(content), chunks(content))
    assert (result.status, result.duplicate) == (Status.SUCCESS, False)
    assert result.key in storage.bucket.objects
    assert (result.size, result.sha256) == (len(content), announced(content).sha256)
    assert [result.event] == storage.events


async def test_the_event_has_who_sent_the_instance() -> None:
    storage, content = space(), data_set()
    sender = replace(
        ORIGIN,
        calling_ae_title="CT\x07" + "1" * 80,
        peer_address="10.1.2.3",
        proxy_id="ward7",
        received_at="2026-01-02T03:04:05.678+00:00",
    )
    await dispatch(storage).store(replace(store_open(content), origin=sender), chunks(content))
    (event,) = storage.sink.accepted
    assert event.data.origin == InstanceOrigin(
        calling_ae_title="CT?" + "1" * 61,
        called_ae_title="DICOM-INGEST",
        proxy_id="ward7",
        peer_address="10.1.2.3",
        received_at="2026-01-02T03:04:05.678+00:00",
    )


async def test_an_existing_instance_is_a_duplicate_and_a_new_one_is_none() -> None:
    storage, content = space(), data_set()
    operations = dispatch(storage)
    assert await operations.already_stored(store_open(content)) is None
    await operations.store(store_open(content), chunks(content))
    result = await operations.already_stored(store_open(content))
    assert result is not None
    assert (result.duplicate, result.key) == (True, key_of(announced(content)))


class HeadCountingBucket(MemoryBucket):
    """A bucket that counts the HEADs."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 0

    async def head(self, key: str) -> StoredObject | None:
        self.heads += 1
        return await super().head(key)


@pytest.mark.parametrize("size", [1000, 100 * KIB], ids=["inline", "in a session"])
async def test_a_new_store_and_a_repeated_one_each_cost_one_head(size: int) -> None:
    bucket = HeadCountingBucket()
    storage, content = space(bucket), data_set(pixels=bytes(size))
    async with client_server_pair() as pair:
        await pair.add_replica(dispatch(storage))
        for heads, (operation_id, duplicate) in enumerate([("op1", False), ("op2", True)], 1):
            result = await pair.requester.store(
                store_open(content, operation_id), BytesSource(content), deadline=60
            )
            assert (result.status, result.duplicate) == (Status.SUCCESS, duplicate)
            assert bucket.heads == heads
    assert bucket.objects == {key_of(announced(content)): object_of(announced(content), content)}
    assert len(storage.events) == 1


async def test_a_failure_is_counted_logged_once_and_raised(lines: io.StringIO) -> None:
    storage, content = space(), data_set()
    storage.sink.refusing = DOWN
    before = failures("store", "A700")
    with pytest.raises(Unavailable) as raised:
        await dispatch(storage).store(store_open(content), chunks(content))
    assert raised.value is DOWN
    assert failures("store", "A700") == before + 1
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert (line["level"], line["reason"], line["sop_instance_uid"]) == (
        "warning",
        "It is down.",
        SOP_INSTANCE,
    )


def failures(service: str, status: str) -> float:
    labels = {"service": service, "status": status}
    return REGISTRY.get_sample_value("dimse_ingestion_failures_total", labels) or 0.0


async def test_no_log_line_names_the_patient(lines: io.StringIO) -> None:
    storage, content = space(), data_set()
    operations = dispatch(storage, MemoryQueryClient([list(ELEMENTS.values())]))
    await operations.store(store_open(content), chunks(content))
    await operations.find(find_open(), RecordingSink())
    broken = data_set(element(0x0020000E, "UI", "Doe^Jane"))
    with pytest.raises(DimseFailure):
        await operations.store(store_open(broken), chunks(broken))
    with pytest.raises(DimseFailure):
        await operations.find(find_open(level="DOE"), RecordingSink())
    logged = lines.getvalue()
    assert "Instance stored" in logged
    assert "Query answered" in logged
    for secret in ("Doe", "DOE", "Jane", "4711", "D*"):
        assert secret not in logged


async def test_matches_are_sent_and_success_counts_them() -> None:
    sink = RecordingSink()
    result = await dispatch(space(), studies(3)).find(find_open(), sink)
    assert (result.status, result.matches) == (Status.SUCCESS, 3)
    assert [match.status for match in sink.matches] == [Status.PENDING] * 3


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_cancelled_query_ends_between_matches(after: int) -> None:
    sink = RecordingSink(cancel_after=after)
    result = await dispatch(space(), studies(3)).find(find_open(), sink)
    assert (result.status, result.matches) == (Status.CANCEL, after)
    assert len(sink.matches) == after


async def test_a_cancelled_query_ends_although_the_catalogue_is_silent() -> None:
    catalogue, sink = SilentClient(), RecordingSink()
    finding = asyncio.create_task(dispatch(space(), catalogue).find(find_open(), sink))
    await asyncio.wait_for(catalogue.started.wait(), 60)
    sink.cancelled = True
    result = await asyncio.wait_for(finding, 60)
    assert (result.status, result.matches, catalogue.closed) == (Status.CANCEL, 1, True)


async def test_the_failure_of_a_catalogue_that_is_down_is_raised() -> None:
    catalogue = MemoryQueryClient()
    catalogue.refusing = DOWN
    with pytest.raises(Unavailable) as raised:
        await dispatch(space(), catalogue).find(find_open(), RecordingSink())
    assert raised.value is DOWN


async def test_an_echo_returns_the_replica_and_success() -> None:
    result = await dispatch(space()).echo(EchoRequest(operation_id=OPERATION, origin=ORIGIN))
    assert (result.status, result.replica, result.comment) == (Status.SUCCESS, "replica-1", "")
    assert result.version


async def test_an_echo_returns_the_error_of_an_unhealthy_backend() -> None:
    storage = space()
    storage.sink.refusing = DOWN
    result = await dispatch(storage).echo(EchoRequest(operation_id=OPERATION, origin=ORIGIN))
    assert (result.status, result.comment) == (Status.OUT_OF_RESOURCES, "It is down.")
    assert (result.bucket, result.event_sink, result.catalogue) == ("", "It is down.", "")


# C-MOVE and C-GET


class InstanceRecorder:
    """An `InstanceSink` and `ByteSink` that keep what they get."""

    def __init__(self, cancel_after: int = -1) -> None:
        self.instances: list[RetrieveInstance] = []
        self.pieces: list[bytes] = []
        self.cancelled = False
        self._cancel_after = cancel_after

    @property
    def content(self) -> bytes:
        return b"".join(self.pieces)

    async def send(self, sent: RetrieveInstance | bytes | memoryview) -> None:
        if isinstance(sent, RetrieveInstance):
            self.instances.append(sent)
        else:
            self.pieces.append(bytes(sent))
            self.cancelled = len(self.pieces) == self._cancel_after


def retrieve_open(maximum: int = 10, **keys: str) -> RetrieveOpen:
    elements = [element(0x00080052, "CS", "STUDY"), element(0x0020000D, "UI", keys["study"])]
    return RetrieveOpen(
        operation_id=OPERATION,
        sop_class_uid=uids.STUDY_ROOT_GET,
        transfer_syntax_uid=EXPLICIT,
        identifier=encoder.encode(elements, EXPLICIT),
        origin=ORIGIN,
        maximum=maximum,
    )


def fetch_open(instance: RetrieveInstance, **changed: object) -> FetchOpen:
    fields: dict[str, object] = {
        "operation_id": OPERATION,
        "key": instance.key,
        "size": instance.size,
        "sha256": instance.sha256,
        "transfer_syntax_uid": instance.transfer_syntax_uid,
        "origin": ORIGIN,
    }
    return FetchOpen(**(fields | changed))  # type: ignore[arg-type] # by name


async def stored_study(count: int = 1) -> tuple[Dispatch, Space, MemoryQueryClient, bytes]:
    """Return a service whose study 1.2.3.1 has so many instances, and the last data set."""
    storage, queries = space(), MemoryQueryClient()
    content = b""
    for number in range(count):
        uid = element(0x00080018, "UI", f"{SOP_INSTANCE}.{number}")
        content = data_set(uid)
        instance = announced(content, sop_instance=uid.value)
        await storage.storer.store(OPERATION, instance, chunks(content))
        queries.add(
            Located(
                elements=list((ELEMENTS | {uid.tag: uid}).values()),
                transfer_syntax_uid=EXPLICIT,
                bucket_name=storage.bucket.name,
                object_name=key_of(instance),
                size=instance.size,
                header_size=len(object_of(instance, content)) - len(content),
                sha256=instance.sha256,
            )
        )
    return dispatch(storage, queries), storage, queries, content


async def test_the_instances_of_a_study_are_listed_and_fetched() -> None:
    service, _, _, content = await stored_study(3)
    sink = InstanceRecorder()
    result = await service.retrieve(retrieve_open(study="1.2.3.1"), sink)
    assert (result.status, result.instances, len(sink.instances)) == (Status.SUCCESS, 3, 3)
    last = sink.instances[-1]
    assert (last.sop_class_uid, last.sop_instance_uid) == (CT, f"{SOP_INSTANCE}.2")
    for offset in (0, 10):
        bytes_ = InstanceRecorder()
        fetched = await service.fetch(fetch_open(last, offset=offset), bytes_)
        assert (fetched.status, fetched.size, fetched.sha256) == (0, len(content), last.sha256)
        assert bytes_.content == content[offset:]


async def test_a_uid_list_is_read_whatever_its_length() -> None:
    """Implicit VR has 32 bits for the length of a value (PS3.5 7.1.3)."""
    service, *_ = await stored_study(3)
    others = [f"1.2.840.99999.{number}" for number in range(20_000)]
    wanted = f"{SOP_INSTANCE}.1"
    elements = [
        element(0x00080018, "UI", "\\".join([*others, wanted])),
        element(0x00080052, "CS", "IMAGE"),
        element(0x0020000D, "UI", "1.2.3.1"),
    ]
    open_ = msgspec.structs.replace(
        retrieve_open(study="1.2.3.1"),
        transfer_syntax_uid=uids.IMPLICIT_VR_LITTLE_ENDIAN,
        identifier=encoder.encode(elements, uids.IMPLICIT_VR_LITTLE_ENDIAN),
        relational=True,
    )
    sink = InstanceRecorder()
    result = await service.retrieve(open_, sink)
    assert (result.status, result.instances) == (Status.SUCCESS, 1)
    assert [each.sop_instance_uid for each in sink.instances] == [wanted]


async def test_a_study_that_is_not_there_has_no_instances() -> None:
    service, *_ = await stored_study()
    sink = InstanceRecorder()
    result = await service.retrieve(retrieve_open(study="9.9"), sink)
    assert (result.status, result.instances, sink.instances) == (Status.SUCCESS, 0, [])


async def test_more_instances_than_the_proxy_takes_are_a701() -> None:
    service, *_ = await stored_study(3)
    with pytest.raises(Failure) as raised:
        await service.retrieve(retrieve_open(2, study="1.2.3.1"), InstanceRecorder())
    assert retrieve_status(raised.value) == Status.UNABLE_TO_COUNT_MATCHES


async def test_a_catalogue_that_is_down_is_a701() -> None:
    service, _, queries, _ = await stored_study()
    queries.refusing = DOWN
    with pytest.raises(Unavailable) as raised:
        await service.retrieve(retrieve_open(study="1.2.3.1"), InstanceRecorder())
    assert retrieve_status(raised.value) == Status.UNABLE_TO_COUNT_MATCHES


async def test_an_identifier_that_is_no_data_set_is_c001() -> None:
    service, *_ = await stored_study()
    open_ = msgspec.structs.replace(retrieve_open(study="1"), identifier=b"\xff\xff\xff")
    with pytest.raises(DimseFailure) as raised:
        await service.retrieve(open_, InstanceRecorder())
    assert raised.value.status == Status.UNABLE_TO_PROCESS


async def test_a_key_of_another_object_and_another_transfer_syntax_are_not_read() -> None:
    service, *_ = await stored_study()
    sink = InstanceRecorder()
    await service.retrieve(retrieve_open(study="1.2.3.1"), sink)
    (listed,) = sink.instances
    for changed in ({"key": "check/1"}, {"sha256": "0" * 64}, {"transfer_syntax_uid": "1.2"}):
        bytes_ = InstanceRecorder()
        with pytest.raises(DimseFailure):
            await service.fetch(fetch_open(listed, **changed), bytes_)
        assert bytes_.content == b""


async def batch_of(service: Dispatch, **changed: object) -> FetchOpen:
    """Return the open of all instances of the study as one batch."""
    sink = InstanceRecorder()
    await service.retrieve(retrieve_open(study="1.2.3.1"), sink)
    first, *rest = sink.instances
    more = tuple(FetchObject(each.key, each.size, each.sha256) for each in rest)
    return fetch_open(first, **({"more": more} | changed))


async def test_a_batch_is_sent_in_order_and_counted() -> None:
    service, *_ = await stored_study(5)
    open_, sink = await batch_of(service), InstanceRecorder()
    result = await service.fetch(open_, sink)
    assert (result.status, result.objects, result.size) == (0, 5, len(sink.content))
    assert [hashlib.sha256(each).hexdigest() for each in sink.pieces] == [
        each.sha256 for each in objects_of(open_)
    ]


async def test_a_single_data_set_is_counted_so_that_the_service_is_known_to_be_new() -> None:
    service, *_ = await stored_study(2)
    for changed in ({"more": ()}, {"transfer_syntax_uid": IMPLICIT}):
        result = await service.fetch(await batch_of(service, **changed), InstanceRecorder())
        assert result.objects == 1


@pytest.mark.parametrize("failing", [1, 2, 4])
async def test_a_batch_ends_before_an_object_that_fails(failing: int) -> None:
    service, storage, *_ = await stored_study(5)
    open_, sink = await batch_of(service), InstanceRecorder()
    await storage.bucket.delete(objects_of(open_)[failing].key)
    result = await service.fetch(open_, sink)
    assert (result.status, result.objects, len(sink.pieces)) == (0, failing, failing)
    assert result.size == sum(each.size for each in objects_of(open_)[:failing])


async def test_a_batch_whose_first_object_fails_has_its_failure() -> None:
    service, storage, *_ = await stored_study(3)
    open_, sink = await batch_of(service), InstanceRecorder()
    await storage.bucket.delete(open_.key)
    with pytest.raises(DimseFailure, match="not in the bucket"):
        await service.fetch(open_, sink)
    assert sink.pieces == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_key_of_another_object_within_a_batch_is_not_read() -> None:
    service, *_ = await stored_study(3)
    (second, third) = (await batch_of(service)).more
    for key in ("check/1", "../../etc/passwd", third.key):
        forged = FetchObject(key, second.size, second.sha256)
        sink = InstanceRecorder()
        result = await service.fetch(await batch_of(service, more=(forged, third)), sink)
        assert (result.objects, len(sink.pieces)) == (1, 1)


async def test_a_cancelled_batch_sends_nothing_more_and_leaves_no_read_behind() -> None:
    service, *_ = await stored_study(5)
    sink = InstanceRecorder(cancel_after=2)
    await service.fetch(await batch_of(service), sink)
    assert len(sink.pieces) == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_objects_of_a_batch_are_read_at_the_same_time() -> None:
    service, storage, *_ = await stored_study(5)
    open_, sink = await batch_of(service), InstanceRecorder()
    all_reads, get_range = asyncio.Barrier(5), storage.bucket.get_range

    async def wait_for_all(key: str, offset: int, length: int) -> bytes:
        await all_reads.wait()
        return await get_range(key, offset, length)

    storage.bucket.get_range = wait_for_all  # type: ignore[method-assign] # a slow bucket
    async with asyncio.timeout(10):
        assert (await service.fetch(open_, sink)).objects == 5


@pytest.mark.parametrize("offset", [0, 40])
async def test_a_data_set_is_sent_in_another_native_transfer_syntax(offset: int) -> None:
    service, _, _, content = await stored_study()
    sink = InstanceRecorder()
    await service.retrieve(retrieve_open(study="1.2.3.1"), sink)
    open_ = fetch_open(sink.instances[0], transfer_syntax_uid=IMPLICIT, offset=offset)
    bytes_ = InstanceRecorder()
    result = await service.fetch(open_, bytes_)
    converter = NativeConverter(EXPLICIT, IMPLICIT)
    expected = converter.feed(content) + converter.finish()
    assert bytes_.content == expected[offset:]
    assert (result.status, result.size) == (Status.SUCCESS, len(expected))
    assert result.sha256 == hashlib.sha256(expected).hexdigest()

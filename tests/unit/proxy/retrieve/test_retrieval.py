"""Sub-operations of a retrieve with a receiver and a transport in memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pytest
from pydicom.filereader import read_dataset
from structlog.testing import capture_logs

from dimse_ingestion.dicom import encoder, uids
from dimse_ingestion.dicom.elements import by_tag, element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.scanner import scan
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Invalid, Unavailable
from dimse_ingestion.proxy.identifier import IdentifierBuffer
from dimse_ingestion.proxy.request_log import RequestRecord
from dimse_ingestion.proxy.retrieve.prefetch import (
    Planned,
    PrefetchBudget,
    prefetched,
)
from dimse_ingestion.proxy.retrieve.retrieval import MAXIMUM_CONVERTED, Retrieval, chosen_syntax
from dimse_ingestion.proxy.retrieve.sender import DataSet, NotBegun
from dimse_ingestion.proxy.retrieve.service import RetrieveService
from dimse_ingestion.proxy.retrieve.sub_operations import SubOperations
from dimse_ingestion.settings.peers import Peer
from dimse_ingestion.transport.contract import FetchStream
from dimse_ingestion.transport.protocol.fetch import LEAST_WINDOW, WINDOW
from dimse_ingestion.transport.protocol.fetch_batch import OBJECTS_PER_BATCH
from dimse_ingestion.transport.protocol.messages import (
    FetchOpen,
    Origin,
    RetrieveInstance,
    RetrieveOpen,
    RetrieveResult,
)
from dimse_ingestion.upper_layer.services import (
    Command,
    CommandField,
    PresentationContext,
    SubOperationCounts,
)
from tests.unit.proxy.fakes import (
    CT,
    EXPLICIT,
    Association,
    FakeFetch,
    FakeMessage,
    FakeRequester,
    association_request,
    proxy_settings,
)

ORIGIN = Origin(calling_ae_title="WS1", called_ae_title="DICOM-INGEST")
JPEG = "1.2.840.10008.1.2.4.50"
IDENTIFIER = encoder.encode([element(0x00080052, "CS", "STUDY")], uids.IMPLICIT_VR_LITTLE_ENDIAN)


def instance(number: int, syntax: str = EXPLICIT, size: int = 2500) -> RetrieveInstance:
    return RetrieveInstance(
        sop_class_uid=CT,
        sop_instance_uid=f"1.2.{number}",
        transfer_syntax_uid=syntax,
        key=f"k{number}",
        size=size,
        sha256="0" * 64,
    )


def requester(count: int) -> FakeRequester:
    return FakeRequester(
        instances=[instance(number) for number in range(count)],
        contents={f"k{number}": bytes([number]) * 2500 for number in range(count)},
    )


async def whole(data_set: DataSet) -> bytes:
    content = data_set.content()
    if isinstance(content, bytes):
        return content
    return b"".join([chunk async for chunk in content])


@dataclass
class Receiver:
    """A `SubOperationSender` that answers with the statuses given, by SOP instance UID."""

    statuses: dict[str, int | Exception] = field(default_factory=dict)
    syntaxes: Sequence[str] = (EXPLICIT,)
    is_separate: bool = False
    seconds: float = 0.0
    failure: Exception | None = None
    received: dict[str, bytes] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)
    closed: int = 0
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, instances: Sequence[RetrieveInstance]) -> Sequence[RetrieveInstance]:
        if self.failure:
            raise self.failure
        return instances

    def transfer_syntaxes(self, instance: RetrieveInstance) -> Sequence[str]:
        return self.syntaxes

    def refusal(self, instance: RetrieveInstance) -> str:
        return "Propose it"

    async def store(
        self, instance: RetrieveInstance, transfer_syntax_uid: str, data_set: DataSet
    ) -> int:
        self.began.set()
        content = await whole(data_set)
        await asyncio.sleep(self.seconds)
        self.received[instance.sop_instance_uid] = content
        self.used.append(transfer_syntax_uid)
        status = self.statuses.get(instance.sop_instance_uid, 0)
        if isinstance(status, Exception):
            raise status
        return status

    async def close(self) -> None:
        self.closed += 1


def get_message(calling: str = "WS1", sop_class: str = uids.STUDY_ROOT_GET) -> FakeMessage:
    context = PresentationContext(1, sop_class, uids.IMPLICIT_VR_LITTLE_ENDIAN)
    data_set = IdentifierBuffer(1000)
    data_set.write(IDENTIFIER)
    association = Association(association_request(calling_ae_title=calling))
    command = Command(CommandField.C_GET_RQ, 7, sop_class)
    return FakeMessage(context, command, data_set, association)


async def run(
    client: FakeRequester, receiver: Receiver, message: FakeMessage, interval: float = 1e9
) -> tuple[Status, SubOperations]:
    retrieval = Retrieval("get", client, receiver, message, ORIGIN, interval, "", PrefetchBudget())
    status, _ = await retrieval.run(client.instances)
    assert all(stream.closed for stream in client.streams)
    return status, retrieval.sub_operations


@pytest.mark.parametrize("is_whole", [True, False])
async def test_every_instance_is_sent_and_counted(is_whole: bool) -> None:
    client, receiver, message = requester(20), Receiver(), get_message()
    client.delivers_whole = is_whole
    status, ended = await run(client, receiver, message)
    assert (status, ended.completed, ended.remaining) == (Status.SUCCESS, 20, 0)
    expected = {f"1.2.{number}": client.contents[f"k{number}"] for number in range(20)}
    assert receiver.received == expected
    assert message.statuses == [Status.PENDING]
    assert message.counts == [SubOperationCounts(0, 0, 0, 20)]
    assert receiver.closed == 1


async def test_nothing_found_has_zero_counts_and_no_pending_response() -> None:
    message = get_message()
    status, ended = await run(requester(0), Receiver(), message)
    assert (status, ended.final_counts) == (Status.SUCCESS, SubOperationCounts(0, 0, 0))
    assert message.responses == []


@pytest.mark.parametrize(
    ("statuses", "final", "counts"),
    [
        ({0: 0x0000, 1: 0xB000}, 0xB000, (1, 0, 1)),
        ({0: 0xB006, 1: 0xB007}, 0xB000, (0, 0, 2)),
        ({0: 0x0111, 1: 0x0000}, 0xB000, (1, 0, 1)),
        ({0: 0xA700, 1: 0x0000}, 0xB000, (1, 1, 0)),
        ({0: 0xA700, 1: 0xC000}, 0xA702, (0, 2, 0)),
        ({0: 0xFF00, 1: 0x0122}, 0xA702, (0, 2, 0)),
    ],
)
async def test_the_final_status_follows_from_those_of_the_sub_operations(
    statuses: dict[int, int], final: int, counts: tuple[int, int, int]
) -> None:
    receiver = Receiver({f"1.2.{number}": status for number, status in statuses.items()})
    status, ended = await run(requester(2), receiver, get_message())
    assert (status, ended.final_counts) == (final, SubOperationCounts(*counts))


async def test_an_object_that_is_missing_fails_alone_before_anything_of_it_is_sent() -> None:
    client = requester(3)
    client.contents["k1"] = DimseFailure(Status.PROCESSING_FAILURE, "The object is missing")
    receiver = Receiver()
    status, ended = await run(client, receiver, get_message())
    assert (status, ended.failed_uids) == (Status.SUB_OPERATIONS_WITH_FAILURES, ["1.2.1"])
    assert list(receiver.received) == ["1.2.0", "1.2.2"]


async def test_a_data_set_that_breaks_off_is_not_received_as_a_whole_one() -> None:
    client = requester(2)
    client.broken["k0"] = DimseFailure(Status.PROCESSING_FAILURE, "damaged")
    receiver = Receiver()
    _, ended = await run(client, receiver, get_message())
    assert (ended.failed_uids, list(receiver.received)) == (["1.2.0"], ["1.2.1"])


@pytest.mark.parametrize("number", [0, 2])
async def test_each_object_that_is_damaged_is_named_in_the_log(number: int) -> None:
    client = requester(4)
    damaged = DimseFailure(Status.PROCESSING_FAILURE, "It is damaged")
    client.contents[f"k{number}"] = damaged
    client.broken["k3"] = damaged
    with capture_logs() as lines:
        await run(client, Receiver(), get_message())
    objects = [each for each in lines if "key" in each]
    assert [(each["sop_instance_uid"], each["key"]) for each in objects] == [
        (f"1.2.{number}", f"k{number}"),
        ("1.2.3", "k3"),
    ]
    assert {(each["log_level"], each["reason"]) for each in objects} == {
        ("warning", "It is damaged")
    }


async def test_reasons_are_logged_with_an_example_and_without_each_object() -> None:
    client = requester(4)
    client.contents["k1"] = Unavailable("The bucket is slow")
    receiver = Receiver({"1.2.2": 0xA700, "1.2.3": 0xA700})
    with capture_logs() as lines:
        await run(client, receiver, get_message())
    logged = [
        (each["reason"], each["instances"], each["example_sop_instance_uid"]) for each in lines
    ]
    assert logged == [
        ("The receiver answered A700H", 2, "1.2.2"),
        ("The bucket is slow", 1, "1.2.1"),
    ]


async def test_a_receiver_that_is_not_reached_fails_every_instance() -> None:
    receiver = Receiver(failure=Unavailable("It is not there"))
    status, ended = await run(requester(3), receiver, get_message())
    assert status == Status.UNABLE_TO_PERFORM_SUB_OPERATIONS
    assert ended.failed_uids == ["1.2.0", "1.2.1", "1.2.2"]
    assert receiver.closed == 1


async def test_a_cancel_lets_the_store_under_way_end_and_begins_no_other() -> None:
    message = get_message()
    message.cancel_after = 4
    receiver = Receiver()
    status, ended = await run(requester(50), receiver, message, interval=0.0)
    assert status == Status.CANCEL
    assert ended.counts == SubOperationCounts(3, 0, 0, 47)
    assert len(receiver.received) == 3


async def test_a_cancel_gives_a_data_set_up_that_is_still_fetched() -> None:
    class Decoding(FakeFetch):
        async def wait_until_buffered(self) -> None:
            message.cancelled.set()
            await asyncio.Event().wait()

    message, receiver, streams = get_message(), Receiver(), []

    class Requester(FakeRequester):
        def fetch(self, open_: FetchOpen, *, stored: bool, window: int = WINDOW) -> FakeFetch:
            streams.append(Decoding(b""))
            return streams[-1]

    client = Requester(instances=requester(3).instances)
    async with asyncio.timeout(10):
        status, ended = await run(client, receiver, message)
    assert status == Status.CANCEL
    assert ended.counts == SubOperationCounts(0, 0, 0, 3)
    assert receiver.received == {}
    assert all(each.closed for each in streams)


async def test_a_sub_operation_that_a_cancel_kept_from_beginning_remains() -> None:
    message = get_message()

    class Cancelling(Receiver):
        async def store(self, *given: Any) -> int:
            message.cancelled.set()
            return await super().store(*given)

    status, ended = await run(requester(3), Cancelling({"1.2.0": NotBegun()}), message)
    assert (status, ended.counts) == (Status.CANCEL, SubOperationCounts(0, 0, 0, 3))


async def test_a_get_whose_association_is_aborted_here_was_not_cancelled() -> None:
    message, association = get_message(), Association()
    message.association = association

    class Aborting(Receiver):
        async def store(self, *given: Any) -> int:
            association.abort("A data set can't be sent to its end: damaged")
            message.cancelled.set()  # as the end of the association does
            raise Invalid("damaged")

    for count in (1, 3):
        client = requester(count)
        retrieval = Retrieval("get", client, Aborting(), message, ORIGIN, 1e9, "", PrefetchBudget())
        status, comment = await retrieval.run(client.instances)
        assert status == Status.UNABLE_TO_PERFORM_SUB_OPERATIONS
        assert comment == (
            "The association of the requestor was aborted here. "
            "A data set can't be sent to its end: damaged"
        )


async def test_pending_responses_come_at_most_each_interval() -> None:
    message = get_message()
    await run(requester(10), Receiver(), message, interval=0.0)
    assert message.statuses == [Status.PENDING] * 10
    assert [each.remaining for each in message.counts if each] == list(range(10, 0, -1))


@pytest.mark.parametrize("is_separate", [True, False])
async def test_only_over_another_association_a_long_store_is_reported(is_separate: bool) -> None:
    message = get_message()
    receiver = Receiver(seconds=0.2, is_separate=is_separate)
    await run(requester(1), receiver, message, interval=0.02)
    assert (len(message.responses) > 3) is is_separate


async def test_pending_responses_come_while_an_association_is_awaited() -> None:
    client, message, is_told = requester(3), get_message(), asyncio.Event()

    class Busy(Receiver):
        async def open(self, instances: Sequence[RetrieveInstance]) -> Sequence[RetrieveInstance]:
            await is_told.wait()
            raise Unavailable("It does not answer")

    class Telling(FakeMessage):
        async def respond(self, *given: Any, **named: Any) -> None:
            await super().respond(*given, **named)
            if len(self.responses) == 3:
                is_told.set()

    message = Telling(message.context, message.command, message.data_set, message.association)
    async with asyncio.timeout(60):
        status, _ = await run(client, Busy(is_separate=True), message, interval=0.001)
    assert status == Status.UNABLE_TO_PERFORM_SUB_OPERATIONS
    assert set(message.counts) == {SubOperationCounts(0, 0, 0, 3)}


async def test_an_instance_without_an_accepted_transfer_syntax_fails() -> None:
    client = requester(2)
    client.instances[0] = instance(0, JPEG)
    receiver = Receiver(syntaxes=("1.2.840.10008.1.2.4.70", EXPLICIT))
    status, _ = await run(client, receiver, get_message())
    assert status == Status.SUCCESS
    assert receiver.used == [EXPLICIT, EXPLICIT]
    receiver = Receiver(syntaxes=("1.2.840.10008.1.2.4.70",))
    status, ended = await run(client, receiver, get_message())
    assert (status, ended.completed) == (Status.UNABLE_TO_PERFORM_SUB_OPERATIONS, 0)


def test_the_stored_transfer_syntax_comes_first_and_large_instances_are_sent_as_stored() -> None:
    implicit, big = uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_BIG_ENDIAN
    assert chosen_syntax(instance(0, JPEG), (EXPLICIT, JPEG)) == JPEG
    assert chosen_syntax(instance(0, JPEG), (implicit, EXPLICIT)) == EXPLICIT
    assert chosen_syntax(instance(0, EXPLICIT), (big, implicit)) == implicit
    assert chosen_syntax(instance(0, JPEG), (big,)) == ""
    large = instance(0, JPEG, MAXIMUM_CONVERTED + 1)
    assert chosen_syntax(large, (EXPLICIT,)) == ""
    assert chosen_syntax(large, (EXPLICIT, JPEG)) == JPEG


class Streams:
    """The streams that were opened, and the most that were open at once."""

    def __init__(self) -> None:
        self.opened: list[FakeFetch] = []
        self.most = 0
        self.windows: list[int] = []
        self.batches: list[list[int]] = []

    def open(self, _: Planned, window: int) -> FetchStream:
        self.windows.append(window)
        return self._stream()

    def open_batch(self, batch: Sequence[Planned]) -> Sequence[FetchStream]:
        self.batches.append([each.instance.size for each in batch])
        return [self._stream() for _ in batch]

    def _stream(self) -> FetchStream:
        self.opened.append(FakeFetch(b"x"))
        self.most = max(self.most, self.open_now)
        return self.opened[-1]

    @property
    def open_now(self) -> int:
        return sum(not stream.closed for stream in self.opened)


BUDGET = 12 * 2**20


def planned(count: int, size: int) -> list[Planned]:
    return [Planned(instance(number, size=size), EXPLICIT) for number in range(count)]


@pytest.mark.parametrize(
    ("size", "most"),
    [(BUDGET // 4, 1 + 3), (BUDGET // 4 - 64 * 1024, 1 + 4), (100 * WINDOW, 1 + 3), (100, 1 + 64)],
)
async def test_data_sets_are_fetched_ahead_within_the_budget(size: int, most: int) -> None:
    streams, shared = Streams(), PrefetchBudget(BUDGET)
    async for _ in prefetched(planned(70, size), streams, shared):
        await asyncio.sleep(0)
    assert (streams.most, streams.open_now, len(streams.opened)) == (most, 0, 70)
    assert set(streams.windows) == {WINDOW}
    assert shared.take(BUDGET)


async def test_retrieves_share_the_budget_and_each_has_its_current_data_set() -> None:
    all_streams, shared = [Streams() for _ in range(10)], PrefetchBudget(BUDGET)
    runs = [prefetched(planned(5, 2 * WINDOW), each, shared) for each in all_streams]
    for run in runs:
        await anext(run)
        await asyncio.sleep(0)
    assert [each.open_now for each in all_streams] == [4, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    assert [each.windows[0] for each in all_streams] == [WINDOW] * 4 + [LEAST_WINDOW] * 6
    for run in runs[:9]:
        await run.aclose()
    assert sum(each.open_now for each in all_streams) == 1
    await anext(runs[9])
    await asyncio.sleep(0)
    assert all_streams[9].open_now == 4
    await runs[9].aclose()
    assert shared.take(BUDGET)


CT_SIZE = 525_000


async def test_short_data_sets_are_requested_in_batches_after_the_first() -> None:
    streams, shared = Streams(), PrefetchBudget(BUDGET)
    async for _ in prefetched(planned(29, CT_SIZE), streams, shared):
        await asyncio.sleep(0)
    assert [len(each) for each in streams.batches] == [7, 7, 7, 7]
    assert len(streams.windows) == 1
    assert (streams.most, len(streams.opened), streams.open_now) == (1 + 23, 29, 0)
    assert shared.take(BUDGET)


async def test_the_smallest_data_sets_are_requested_in_whole_batches() -> None:
    streams = Streams()
    async for _ in prefetched(planned(101, 100), streams, PrefetchBudget(BUDGET)):
        await asyncio.sleep(0)
    assert [len(each) for each in streams.batches] == [OBJECTS_PER_BATCH] * 6 + [4]
    assert len(streams.windows) == 1


async def test_long_and_converted_data_sets_are_in_no_batch() -> None:
    streams = Streams()
    plan = planned(3, 1000) + planned(1, 2 * WINDOW) + planned(3, 2000)
    plan += [Planned(instance(9, JPEG), EXPLICIT), *planned(2, 3000)]
    async for _ in prefetched(plan, streams, PrefetchBudget(BUDGET)):
        await asyncio.sleep(0)
    assert streams.batches == [[1000] * 2, [2000] * 3, [3000] * 2]
    assert len(streams.windows) == 3


async def test_a_batch_waits_for_its_memory_while_others_are_ahead() -> None:
    streams, shared = Streams(), PrefetchBudget(10 * CT_SIZE + 64 * 1024)
    running = prefetched(planned(22, CT_SIZE), streams, shared)
    opened = []
    for _ in range(9):
        await anext(running)
        await asyncio.sleep(0)
        opened.append(len(streams.opened))
    assert opened == [8, 8, 8, 8, 15, 15, 15, 15, 15]
    await running.aclose()
    assert streams.open_now == 0


async def test_a_retrieve_with_nothing_ahead_takes_what_memory_there_is() -> None:
    streams, shared = Streams(), PrefetchBudget(3 * CT_SIZE + 64 * 1024)
    async for _ in prefetched(planned(8, CT_SIZE), streams, shared):
        await asyncio.sleep(0)
    assert [len(each) for each in streams.batches] == [3, 3]
    assert streams.most == 1 + 3
    streams, shared = Streams(), PrefetchBudget(0)
    async for _ in prefetched(planned(8, CT_SIZE), streams, shared):
        await asyncio.sleep(0)
    assert (streams.batches, streams.most) == ([], 1)


async def test_a_cancel_in_the_middle_of_a_batch_closes_the_rest_of_it() -> None:
    message, receiver, client = get_message(), Receiver(), requester(20)
    client.delivers_whole = True
    message.cancel_after = 5
    status, ended = await run(client, receiver, message, interval=0.0)
    assert (status, ended.completed, ended.remaining) == (Status.CANCEL, 4, 16)
    assert len(client.fetches[1].more) == OBJECTS_PER_BATCH - 1
    assert len(client.streams) > 5


# the failed list


def test_the_failed_list_is_an_identifier_in_the_transfer_syntax_of_the_context() -> None:
    ended = SubOperations(3)
    ended.add("1.2", None)
    ended.add("1.3", 0)
    ended.add("1.4", 0xA700)
    for syntax in (uids.IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT):
        content = ended.failed_list(syntax)
        assert content
        assert by_tag(scan(content, syntax))[0x00080058].value == "1.2\\1.4"
    assert SubOperations(1).failed_list(EXPLICIT) is None


def test_a_list_that_is_too_long_for_an_explicit_vr_is_cut_between_uids() -> None:
    ended = SubOperations(5000)
    all_uids = [f"1.2.826.0.1.3680043.8.498.{10**30 + number}" for number in range(5000)]
    for uid in all_uids:
        ended.add(uid, None)
    for syntax, is_whole in ((uids.IMPLICIT_VR_LITTLE_ENDIAN, True), (EXPLICIT, False)):
        content = ended.failed_list(syntax)
        assert content
        is_implicit = syntax == uids.IMPLICIT_VR_LITTLE_ENDIAN
        names = list(read_dataset(BytesIO(content), is_implicit, True).FailedSOPInstanceUIDList)
        assert names == all_uids[: len(names)]
        assert (len(names) == 5000) is is_whole
        assert len(names) > 1000


# the request


def record() -> RequestRecord:
    return RequestRecord("get", "op1")


def service(client: FakeRequester, **changed: object) -> RetrieveService:
    settings = {
        "retrieve_enabled": True,
        "peers": (Peer(ae_title="WS1", may=frozenset({"get"})),),
    } | changed
    return RetrieveService(proxy_settings(**settings), client)


async def performed(
    client: FakeRequester, message: FakeMessage, receiver: Receiver, **changed: object
) -> None:
    await service(client, **changed).perform(
        "get", message, record(), ORIGIN, uids.GET_CLASSES, lambda: receiver
    )


async def test_the_final_response_has_the_counts_and_the_failed_list() -> None:
    message, client = get_message(), requester(3)
    await performed(client, message, Receiver({"1.2.1": 0xA700}))
    status, comment, identifier = message.responses[-1]
    assert (status, comment) == (
        Status.SUB_OPERATIONS_WITH_FAILURES,
        "The receiver answered A700H",
    )
    assert message.counts[-1] == SubOperationCounts(2, 1, 0)
    assert identifier
    (open_,) = client.retrieves
    assert (open_.identifier, open_.maximum) == (IDENTIFIER, 65_535)


@pytest.mark.parametrize(
    ("calling", "changed", "sop_class", "status"),
    [
        ("OTHER", {}, uids.STUDY_ROOT_GET, Status.NOT_AUTHORIZED),
        ("WS1", {"retrieve_enabled": False}, uids.STUDY_ROOT_GET, Status.NOT_AUTHORIZED),
        ("WS1", {"peers": ()}, uids.STUDY_ROOT_GET, Status.NOT_AUTHORIZED),
        ("WS1", {}, uids.STUDY_ROOT_FIND, Status.SOP_CLASS_NOT_SUPPORTED),
    ],
)
async def test_a_request_without_the_right_reaches_no_service(
    calling: str, changed: dict[str, object], sop_class: str, status: Status
) -> None:
    client = requester(1)
    with pytest.raises(DimseFailure) as raised:
        await performed(client, get_message(calling, sop_class), Receiver(), **changed)
    assert raised.value.status is status
    assert client.retrieves == []


async def test_more_retrieves_than_allowed_are_refused() -> None:
    client = requester(1)
    retrieves = service(client, retrieve_maximum_operations=1)
    receiver, message = Receiver(seconds=10), get_message()

    def start(message: FakeMessage) -> "asyncio.Task[None]":
        return asyncio.create_task(
            retrieves.perform("get", message, record(), ORIGIN, uids.GET_CLASSES, lambda: receiver)
        )

    first = start(message)
    await receiver.began.wait()
    with pytest.raises(DimseFailure, match="Too many retrieves") as raised:
        await start(get_message())
    assert raised.value.status is Status.UNABLE_TO_PERFORM_SUB_OPERATIONS
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_a_cancel_ends_the_list_of_instances_and_frees_its_place() -> None:
    class Silent(FakeRequester):
        is_silent = True
        ended = False

        async def retrieve(
            self, open_: RetrieveOpen
        ) -> tuple[RetrieveResult, list[RetrieveInstance]]:
            if self.is_silent:
                message.cancelled.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    self.ended = True
            return await super().retrieve(open_)

    message, receiver, client = get_message(), Receiver(), Silent()
    retrieves = service(client, retrieve_maximum_operations=1)
    written = record()

    async def perform(message: FakeMessage) -> None:
        async with asyncio.timeout(10):
            await retrieves.perform(
                "get", message, written, ORIGIN, uids.GET_CLASSES, lambda: receiver
            )

    await perform(message)
    assert client.ended
    assert message.responses == [(Status.CANCEL, "", None)]
    assert message.counts == [SubOperationCounts(0, 0, 0, 0)]
    assert written.status is Status.CANCEL
    client.is_silent = False
    next_message = get_message()
    await perform(next_message)
    assert next_message.statuses == [Status.SUCCESS]


@pytest.mark.parametrize("number", [0xA701, 0xA702, 0xA900])
async def test_a_list_that_fails_ends_the_request_with_its_status(number: int) -> None:
    client = requester(1)
    client.retrieve_result = RetrieveResult(status=number, comment="It failed")
    with pytest.raises(DimseFailure, match="It failed") as raised:
        await performed(client, get_message(), Receiver())
    assert raised.value.status == number

import asyncio
import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status, known_status
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.proxy.acceptance import Admission
from dimse_ingestion.proxy.bridge import Bridge
from dimse_ingestion.spooling.spool import Limits, Spool
from dimse_ingestion.transport.protocol.messages import (
    EchoRequest,
    EchoResult,
    FindMatch,
    FindOpen,
    FindResult,
    StoreOpen,
    StoreResult,
)
from dimse_ingestion.upper_layer.services import (
    Acceptance,
    AssociationHandle,
    Command,
    CommandField,
    PresentationContext,
    Services,
)
from tests.unit.proxy.fakes import (
    CT,
    EXPLICIT,
    STUDY_ROOT,
    VERIFICATION,
    Association,
    FakeMessage,
    FakeRequester,
    association_request,
    proxy_settings,
)

DATA_SET = b"\x08\x00\x05\x00data set" * 1000


class House:
    """A bridge between fakes."""

    def __init__(self, directory: Path, **changed: object) -> None:
        settings = proxy_settings(**{"proxy_id": "ward7"} | changed)
        self.spool = Spool(directory, Limits(disk=8 * 2**20))
        self.spool.prepare()
        self.requester = FakeRequester()
        admission = Admission(
            settings,
            spool_problem=lambda: self.spool.problem,
        )
        self.bridge = Bridge(settings, admission, self.spool, self.requester)
        self.successes: list[str] = []
        self.bridge.record_success = self.successes.append

    async def answered(
        self,
        command: Command,
        abstract_syntax: str,
        data_set: bytes | None = None,
        association: AssociationHandle | None = None,
    ) -> FakeMessage:
        message = self.message(command, abstract_syntax, association)
        if data_set is not None:
            await self.send(message, data_set)
        await self.bridge.perform(message)
        return message

    def message(
        self, command: Command, abstract_syntax: str, association: AssociationHandle | None = None
    ) -> FakeMessage:
        context = PresentationContext(1, abstract_syntax, EXPLICIT)
        return FakeMessage(context, command, association=association or Association())

    async def send(self, message: FakeMessage, data_set: bytes) -> None:
        sink = self.bridge.open_data_set(message.association, message.context, message.command)
        for at in range(0, len(data_set), 100_000):
            if waiting := sink.write(data_set[at : at + 100_000]):
                await waiting
        message.data_set = sink


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.spool.close()
    assert (house.spool.memory_used, house.spool.disk_used) == (0, 0)


def store(**changed: object) -> Command:
    facts: dict[str, object] = {
        "command_field": CommandField.C_STORE_RQ,
        "message_id": 7,
        "affected_sop_class_uid": CT,
        "affected_sop_instance_uid": "1.2.3",
        "has_data_set": True,
    }
    return Command(**(facts | changed))  # type: ignore[arg-type] # by name


def find() -> Command:
    return Command(CommandField.C_FIND_RQ, 8, affected_sop_class_uid=STUDY_ROOT, has_data_set=True)


def echo() -> Command:
    return Command(CommandField.C_ECHO_RQ, 9, affected_sop_class_uid=VERIFICATION)


def matches(count: int) -> list[FindMatch]:
    return [FindMatch(status=0xFF00, identifier=b"%d" % n) for n in range(count)]


async def test_the_bridge_is_the_upper_layers_services(house: House) -> None:
    services: Services = house.bridge
    assert isinstance(await services.associate(association_request()), Acceptance)
    services.association_ended(Association(), "released")


async def test_a_c_store_is_carried_whole_and_answered_with_its_result(house: House) -> None:
    message = await house.answered(
        store(move_originator_ae_title="WS", move_originator_message_id=3), CT, DATA_SET
    )
    assert message.responses == [(Status.SUCCESS, "", None)]
    (open_,) = house.requester.opens
    assert isinstance(open_, StoreOpen)
    assert UUID(open_.operation_id).version == 7
    assert (open_.sop_class_uid, open_.sop_instance_uid) == (CT, "1.2.3")
    assert (open_.size, open_.sha256) == (len(DATA_SET), hashlib.sha256(DATA_SET).hexdigest())
    assert open_.transfer_syntax_uid == EXPLICIT
    assert (open_.move_originator_ae_title, open_.move_originator_message_id) == ("WS", 3)
    assert (open_.origin.calling_ae_title, open_.origin.message_id) == ("CT1", 7)
    assert (open_.origin.peer_address, open_.origin.association_id) == ("10.1.2.3", "a1")
    assert open_.origin.proxy_id == "ward7"
    assert datetime.fromisoformat(open_.origin.received_at).utcoffset() == timedelta(0)
    assert house.requester.carried == [DATA_SET]
    assert house.requester.deadlines == [50.0]
    assert house.successes == ["CT1"]


async def test_the_reason_of_a_failed_c_store_comes_back_short_and_in_ascii(house: House) -> None:
    house.requester.store_result = StoreResult(
        status=0xA700, comment="The bucket schläft: " + "x" * 80, transient=True
    )
    message = await house.answered(store(), CT, DATA_SET)
    ((status, comment, _),) = message.responses
    assert status is Status.OUT_OF_RESOURCES
    assert comment.startswith("The bucket schl?ft: x")
    assert len(comment) == 64
    assert not house.successes


@pytest.mark.parametrize(
    ("command", "abstract_syntax", "data_set", "status"),
    [
        (store(), CT, None, Status.CANNOT_UNDERSTAND),
        (store(), CT, b"", Status.CANNOT_UNDERSTAND),
        (store(affected_sop_class_uid="1.2"), CT, DATA_SET, Status.SOP_CLASS_NOT_SUPPORTED),
        (store(affected_sop_class_uid=""), CT, DATA_SET, Status.SOP_CLASS_NOT_SUPPORTED),
        (
            store(affected_sop_class_uid=STUDY_ROOT),
            STUDY_ROOT,
            DATA_SET,
            Status.SOP_CLASS_NOT_SUPPORTED,
        ),
        (store(affected_sop_instance_uid=""), CT, DATA_SET, Status.INVALID_SOP_INSTANCE),
        (store(affected_sop_instance_uid="../x"), CT, DATA_SET, Status.INVALID_SOP_INSTANCE),
        (store(affected_sop_instance_uid="1" * 65), CT, DATA_SET, Status.INVALID_SOP_INSTANCE),
        (find(), STUDY_ROOT, None, Status.DOES_NOT_MATCH_SOP_CLASS),
        (find(), CT, b"identifier", Status.SOP_CLASS_NOT_SUPPORTED),
        (Command(0x0021, 1), STUDY_ROOT, b"identifier", Status.SOP_CLASS_NOT_SUPPORTED),
        (Command(0x0140, 1), STUDY_ROOT, b"identifier", Status.UNRECOGNIZED_OPERATION),
        (Command(0x0130, 1), CT, None, Status.UNRECOGNIZED_OPERATION),
    ],
)
async def test_what_can_not_be_served_is_refused_here_with_a_reason(
    house: House, command: Command, abstract_syntax: str, data_set: bytes | None, status: Status
) -> None:
    message = await house.answered(command, abstract_syntax, data_set)
    assert message.statuses == [status]
    assert message.responses[0][1]
    assert house.requester.opens == []


async def test_a_data_set_that_does_not_fit_into_the_spool_is_a700(house: House) -> None:
    message = await house.answered(store(), CT, bytes(9 * 2**20))
    assert message.statuses == [Status.OUT_OF_RESOURCES]
    assert house.requester.opens == []


async def test_two_instances_of_one_uid_at_once_keep_their_own_bytes(house: House) -> None:
    first, second = b"1" * 1000, b"2" * 1000
    await asyncio.gather(house.answered(store(), CT, first), house.answered(store(), CT, second))
    assert sorted(house.requester.carried) == [first, second]
    assert len({open_.operation_id for open_ in house.requester.opens}) == 2


async def test_an_error_of_ours_leaves_nothing_in_the_spool(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> StoreResult:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(house.requester, "store", broken)
    with pytest.raises(RuntimeError):
        await house.answered(store(), CT, DATA_SET)


async def test_an_association_lost_while_storing_leaves_nothing_in_the_spool(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def forever(*_: object, **__: object) -> StoreResult:
        reached.set()
        await asyncio.Event().wait()
        return StoreResult(status=0)

    monkeypatch.setattr(house.requester, "store", forever)
    performing = asyncio.create_task(house.answered(store(), CT, DATA_SET))
    await reached.wait()
    performing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await performing


async def test_a_c_echo_goes_all_the_way(house: House) -> None:
    message = await house.answered(echo(), VERIFICATION)
    assert message.responses == [(Status.SUCCESS, "", None)]
    (request,) = house.requester.opens
    assert isinstance(request, EchoRequest)
    assert request.origin.calling_ae_title == "CT1"


async def test_a_c_echo_reports_the_failure_of_the_upstream(house: House) -> None:
    house.requester.echo_result = EchoResult(status=0x0110, bucket="Missing bucket Secret s3")
    message = await house.answered(echo(), VERIFICATION)
    assert message.responses == [(Status.PROCESSING_FAILURE, "Missing bucket Secret s3", None)]


async def test_a_c_echo_without_an_answer_fails(house: House) -> None:
    house.requester.echo_result = Unavailable("No ingestion service listens")
    message = await house.answered(echo(), VERIFICATION)
    assert message.responses == [(Status.OUT_OF_RESOURCES, "No ingestion service listens", None)]


async def test_matches_are_sent_one_by_one_and_then_the_end(house: House) -> None:
    house.requester.matches = [*matches(2), FindMatch(status=0xFF01, identifier=b"third")]
    message = await house.answered(find(), STUDY_ROOT, b"identifier")
    assert message.responses == [
        (Status.PENDING, "", b"0"),
        (Status.PENDING, "", b"1"),
        (Status.PENDING_WITHOUT_OPTIONAL_KEYS, "", b"third"),
        (Status.SUCCESS, "", None),
    ]
    (open_,) = house.requester.opens
    assert isinstance(open_, FindOpen)
    assert (open_.identifier, open_.sop_class_uid) == (b"identifier", STUDY_ROOT)
    assert not open_.relational


async def test_a_query_is_relational_only_when_negotiated(house: House) -> None:
    association = Association(association_request(extended={STUDY_ROOT: b"\x01"}))
    await house.answered(find(), STUDY_ROOT, b"identifier", association)
    (open_,) = house.requester.opens
    assert isinstance(open_, FindOpen)
    assert open_.relational


async def test_a_failed_query_has_its_reason_in_the_comment(house: House) -> None:
    house.requester.find_result = FindResult(status=0xA900, comment="PatientID is required")
    message = await house.answered(find(), STUDY_ROOT, b"identifier")
    assert message.responses == [(Status.DOES_NOT_MATCH_SOP_CLASS, "PatientID is required", None)]


async def test_a_cancel_between_matches_ends_with_fe00(house: House) -> None:
    house.requester.matches = matches(100)
    message = house.message(find(), STUDY_ROOT)
    message.cancel_after = 3
    await house.send(message, b"identifier")
    await house.bridge.perform(message)
    assert message.statuses == [Status.PENDING] * 3 + [Status.CANCEL]
    assert house.requester.findings[0].is_cancelled


async def test_a_cancel_while_no_match_comes_ends_with_fe00(house: House) -> None:
    house.requester.endless = True
    message = house.message(find(), STUDY_ROOT)
    await house.send(message, b"identifier")
    performing = asyncio.create_task(house.bridge.perform(message))
    await house.requester.find_requested.wait()
    message.cancelled.set()
    await asyncio.wait_for(performing, 60)
    assert message.statuses == [Status.CANCEL]


@pytest.mark.parametrize(("count", "last"), [(5, Status.SUCCESS), (6, Status.OUT_OF_RESOURCES)])
async def test_more_matches_than_the_most_end_with_a700(
    tmp_path: Path, count: int, last: Status
) -> None:
    house = House(tmp_path, maximum_matches=5)
    house.requester.matches = matches(count)
    message = await house.answered(find(), STUDY_ROOT, b"identifier")
    assert message.statuses == [Status.PENDING] * 5 + [last]
    assert house.requester.findings[0].given <= 6
    if last is Status.OUT_OF_RESOURCES:
        assert message.responses[-1][1] == "More than 5 matches: narrow the query"
    house.spool.close()


async def test_an_identifier_without_end_is_refused_with_bounded_memory(tmp_path: Path) -> None:
    house = House(tmp_path, maximum_identifier_length=1000)
    message = await house.answered(find(), STUDY_ROOT, bytes(1001))
    assert message.statuses == [Status.OUT_OF_RESOURCES]
    house.spool.close()


async def test_each_answer_is_counted(house: House) -> None:
    def counted() -> float:
        labels = {"service": "store", "status": "0000", "space": "DICOM-INGEST"}
        return REGISTRY.get_sample_value("dimse_proxy_operations_total", labels) or 0

    before = counted()
    await house.answered(store(), CT, DATA_SET)
    assert counted() == before + 1


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (0x0000, Status.SUCCESS),
        (0xA712, Status.OUT_OF_RESOURCES),
        (0xA701, Status.UNABLE_TO_COUNT_MATCHES),
        (0xC123, Status.CANNOT_UNDERSTAND),
        (0xFF00, Status.PENDING),
        (0x0001, Status.PROCESSING_FAILURE),
        (0x4242, Status.PROCESSING_FAILURE),
    ],
)
def test_a_status_without_a_name_is_never_success(number: int, status: Status) -> None:
    assert known_status(number) is status


def test_a_dimse_failure_keeps_its_status() -> None:
    assert known_status(DimseFailure(Status.NOT_AUTHORIZED, "").status) is Status.NOT_AUTHORIZED

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.outbox import dead_letters
from dimse_ingestion.outbox.outbox import Outbox
from dimse_ingestion.proxy.forwarder import Forwarder, ForwarderConnection
from dimse_ingestion.proxy.forwarding_pace import PaceLimits
from dimse_ingestion.proxy.spooled_client import SpooledClient
from dimse_ingestion.transport.contract import Source
from dimse_ingestion.transport.protocol.messages import (
    EchoRequest,
    FindOpen,
    Origin,
    StoreOpen,
    StoreResult,
)
from tests.unit.outbox.data_sets import MIB, Content, content, metadata, opened
from tests.unit.proxy.fakes import CT, EXPLICIT, STUDY_ROOT, FakeRequester

ORIGIN = Origin(calling_ae_title="CT1", called_ae_title="DICOM-INGEST", message_id=7)
UNAVAILABLE = StoreResult(status=Status.OUT_OF_RESOURCES, comment="No replica", transient=True)
REFUSED = StoreResult(status=Status.CANNOT_UNDERSTAND, comment="Not DICOM")
FAST = PaceLimits(4, first_pause=0.01, longest_pause=0.02, longest_pause_of_one=0.02)


class Service(FakeRequester):
    """Answer each C-STORE as `answer` decides; `arrived` are the operations that succeeded."""

    def __init__(self, answer: Callable[[StoreOpen], StoreResult] | None = None) -> None:
        super().__init__()
        self.answer = answer or (lambda _: StoreResult(status=0))
        self.arrived: dict[str, bytes] = {}
        self.attempts: list[str] = []
        self.at_once = self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def store(self, open_: StoreOpen, source: Source, *, deadline: float) -> StoreResult:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.attempts.append(open_.operation_id)
        self.deadlines.append(deadline)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
            result = self.answer(open_)
            if not result.status:
                self.opens.append(open_)
                self.arrived[open_.operation_id] = source.read(0, open_.size + 1)
            return result
        finally:
            self.at_once -= 1


def store_open(number: int, length: int = 300) -> StoreOpen:
    known = metadata(number, content(number, length))
    return StoreOpen(
        operation_id=known.operation_id,
        sop_class_uid=CT,
        sop_instance_uid=f"1.2.{number}",
        transfer_syntax_uid=EXPLICIT,
        size=known.size,
        sha256=known.sha256,
        origin=ORIGIN,
        move_originator_message_id=3,
    )


async def spool(outbox: Outbox, numbers: range, length: int = 300) -> None:
    client = SpooledClient(outbox, FakeRequester())
    for number in numbers:
        open_ = store_open(number, length)
        result = await client.store(open_, Content(content(number, length)), deadline=1.0)
        assert result.status == 0


@asynccontextmanager
async def forwarded(
    outbox: Outbox, service: Service, limits: PaceLimits = FAST, problem: str = ""
) -> AsyncIterator[Forwarder]:
    connection = ForwarderConnection(service, lambda: problem)
    forwarder = Forwarder(outbox, connection, deadline=50.0, limits=limits)
    running = asyncio.create_task(forwarder.run())
    try:
        yield forwarder
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110 - no event says it
            await asyncio.sleep(0.005)


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    async with opened(tmp_path) as outbox:
        yield outbox


async def test_what_was_spooled_arrives_as_it_was_with_its_request(outbox: Outbox) -> None:
    service = Service()
    await spool(outbox, range(3))
    await spool(outbox, range(3, 4), 2 * MIB)
    async with forwarded(outbox, service):
        await until(lambda: not len(outbox.queue))
    arrived = {each.operation_id: each for each in service.opens if isinstance(each, StoreOpen)}
    assert arrived == {f"0190-{n:06d}": store_open(n, 2 * MIB if n == 3 else 300) for n in range(4)}
    assert service.arrived["0190-000000"] == content(0)
    assert service.arrived["0190-000003"] == content(3, 2 * MIB)
    assert min(service.deadlines) == pytest.approx(50, abs=0.1)
    assert max(service.deadlines) == pytest.approx(58)


async def test_the_oldest_go_first_and_no_more_than_the_limit_at_once(outbox: Outbox) -> None:
    service = Service()
    service.gate.clear()
    await spool(outbox, range(10))
    outbox.last_added = float("-inf")
    async with forwarded(outbox, service):
        await until(lambda: service.at_once == 4)
        assert sorted(service.attempts) == [f"0190-{n:06d}" for n in range(4)]
        service.gate.set()
        await until(lambda: not len(outbox.queue))
    assert service.most_at_once == 4
    assert sorted(service.attempts) == [f"0190-{n:06d}" for n in range(10)]


async def test_while_data_sets_arrive_one_is_forwarded_at_a_time(outbox: Outbox) -> None:
    service = Service()
    await spool(outbox, range(10))
    outbox.last_added = float("inf")  # others arrive all the time
    async with forwarded(outbox, service):
        await until(lambda: not len(outbox.queue))
    assert len(service.arrived) == 10
    assert service.most_at_once == 1


async def test_a_spool_that_fills_gives_way_no_longer(tmp_path: Path) -> None:
    service = Service()
    service.gate.clear()
    async with opened(tmp_path, octets=4 * MIB) as outbox:  # a segment begins with 1 MiB
        await spool(outbox, range(10))
        outbox.last_added = float("inf")
        async with forwarded(outbox, service):
            await until(lambda: service.at_once == 4)
            service.gate.set()
            await until(lambda: not len(outbox.queue))


async def test_while_the_service_is_away_one_is_tried_and_nothing_is_lost(outbox: Outbox) -> None:
    results = [UNAVAILABLE] * 10
    service = Service(lambda _: results.pop() if results else StoreResult(status=0))
    await spool(outbox, range(8))
    async with forwarded(outbox, service) as forwarder:
        await until(lambda: len(service.attempts) > 6)
        assert forwarder.last_failure == "A700H No replica"
        await until(lambda: not len(outbox.queue))
        assert forwarder.last_failure == ""
    assert len(service.arrived) == 8


async def test_nothing_is_tried_without_a_connection_and_at_once_with_it(outbox: Outbox) -> None:
    service = Service()
    problems = ["NATS is not reached."]
    await spool(outbox, range(2))
    connection = ForwarderConnection(service, lambda: problems[0] if problems else "")
    forwarder = Forwarder(outbox, connection, 50.0, PaceLimits(first_pause=1000))
    running = asyncio.create_task(forwarder.run())
    await asyncio.sleep(0.05)
    assert service.attempts == []
    problems.clear()
    forwarder.on_connection_change(connected=True)
    await until(lambda: not len(outbox.queue))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("rate", "deadline"),
    [
        (None, 50 + 2 * MIB / (256 * 1024)),
        (64.0 * MIB, 50 + 2 * MIB / (256 * 1024)),
        (64.0 * 1024, 50 + 2 * MIB / (64 * 1024 / 4)),
    ],
)
async def test_a_deadline_has_time_for_a_rate_that_others_share(
    rate: float | None, deadline: float, outbox: Outbox
) -> None:
    service = Service()
    await spool(outbox, range(1), 2 * MIB)
    connection = ForwarderConnection(service, lambda: "", lambda: rate)
    running = asyncio.create_task(Forwarder(outbox, connection, 50.0, FAST).run())
    await until(lambda: not len(outbox.queue) and bool(service.arrived))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert service.deadlines == [deadline]


async def test_a_reconnect_ends_the_pauses_of_those_that_failed(outbox: Outbox) -> None:
    results = [UNAVAILABLE]
    service = Service(lambda _: results.pop() if results else StoreResult(status=0))
    await spool(outbox, range(1))
    async with forwarded(outbox, service, PaceLimits(first_pause=1000)) as forwarder:
        await until(lambda: forwarder.last_failure != "")
        forwarder.on_connection_change(connected=True)
        await until(lambda: not len(outbox.queue))


async def test_a_refused_data_set_is_a_dead_letter_and_the_others_go_on(outbox: Outbox) -> None:
    service = Service(
        lambda open_: REFUSED if open_.sop_instance_uid == "1.2.1" else StoreResult(status=0)
    )
    await spool(outbox, range(3))
    async with forwarded(outbox, service):
        await until(lambda: not len(outbox.queue))
        (dead,) = outbox.folders.dead()
        reason = dead_letters.read_reason(dead)
        assert (reason.status, reason.comment) == ("C000", "Not DICOM")
        service.answer = lambda _: StoreResult(status=0)
        dead_letters.retry(outbox.folders, dead)
        outbox.housekeeping.request()
        await until(lambda: len(service.arrived) == 3)
        await until(lambda: not len(outbox.queue))
    assert service.arrived["0190-000001"] == content(1)


@pytest.mark.parametrize("status", [Status.NOT_AUTHORIZED, Status.PROCESSING_FAILURE])
async def test_an_error_that_somebody_may_correct_is_tried_for_ever(
    outbox: Outbox, status: Status
) -> None:
    service = Service(lambda _: StoreResult(status=status))
    await spool(outbox, range(2))
    async with forwarded(outbox, service):
        await until(lambda: len(service.attempts) > 12)
        assert len(outbox.queue) == 2
        service.answer = lambda _: StoreResult(status=0)
        await until(lambda: not len(outbox.queue))
    assert outbox.folders.dead() == []


async def test_one_that_always_fails_does_not_hold_up_the_others(outbox: Outbox) -> None:
    service = Service(
        lambda open_: UNAVAILABLE if open_.sop_instance_uid == "1.2.0" else StoreResult(status=0)
    )
    await spool(outbox, range(50))
    async with forwarded(outbox, service):
        await until(lambda: len(service.arrived) == 49)
        assert len(outbox.queue) == 1


async def test_an_error_in_this_software_loses_nothing(outbox: Outbox) -> None:
    def broken(_: StoreOpen) -> StoreResult:
        raise RuntimeError

    service = Service(broken)
    await spool(outbox, range(2))
    async with forwarded(outbox, service) as forwarder:
        await until(lambda: len(service.attempts) > 3)
        assert forwarder.last_failure == "RuntimeError"
        service.answer = lambda _: StoreResult(status=0)
        await until(lambda: not len(outbox.queue))
    assert len(service.arrived) == 2


async def test_a_damaged_record_goes_to_the_quarantine_and_the_others_on(
    outbox: Outbox, tmp_path: Path
) -> None:
    service = Service()
    await spool(outbox, range(3))
    (segment,) = (tmp_path / "segments").glob("*.segment")
    second = outbox.queue.entries()[1]
    with segment.open("r+b") as damaged:
        damaged.seek(second.offset + second.length - 1)
        damaged.write(b"\x11")
    async with forwarded(outbox, service):
        await until(lambda: not len(outbox.queue))
    assert set(service.arrived) == {"0190-000000", "0190-000002"}
    assert len(outbox.folders.quarantined()) == 1


async def test_a_damaged_file_that_the_service_refuses_goes_to_the_quarantine(
    outbox: Outbox,
) -> None:
    service = Service(lambda _: REFUSED)
    await spool(outbox, range(1), 2 * MIB)
    (entry,) = outbox.queue.entries()
    assert isinstance(entry.place, Path)
    with entry.place.open("r+b") as damaged:
        damaged.write(b"\x11")
    async with forwarded(outbox, service):
        await until(lambda: not len(outbox.queue))
    assert len(outbox.folders.quarantined()) == 1
    assert not outbox.folders.dead()


@pytest.mark.parametrize("length", [300, 2 * MIB])
async def test_one_that_is_dropped_while_it_is_refused_is_no_dead_letter(
    outbox: Outbox, length: int
) -> None:
    service = Service(lambda _: REFUSED)
    service.gate.clear()
    await spool(outbox, range(1), length)
    async with forwarded(outbox, service) as forwarder:
        await until(lambda: service.at_once == 1)
        await outbox.drop(outbox.queue.entries()[0])
        service.gate.set()
        await until(lambda: not forwarder._running)
    assert not list(outbox.folders.dead_letters.iterdir())


async def test_cancelled_attempts_wait_again(tmp_path: Path) -> None:
    service = Service()
    service.gate.clear()
    async with opened(tmp_path) as outbox:
        await spool(outbox, range(3))
        async with forwarded(outbox, service):
            await until(lambda: service.at_once == 3)
        assert len(outbox.queue) == 3
        service.gate.set()
        async with forwarded(outbox, service):
            await until(lambda: not len(outbox.queue))


async def test_an_echo_says_whether_a_data_set_would_be_taken(tmp_path: Path) -> None:
    requester = FakeRequester()
    request = EchoRequest(operation_id="o", origin=ORIGIN)
    async with opened(tmp_path, octets=MIB) as outbox:
        client = SpooledClient(outbox, requester)
        assert (await client.echo(request)).status == 0
        await spool(outbox, range(1), 2 * MIB)
        result = await client.echo(request)
        assert result.status == Status.OUT_OF_RESOURCES
        assert "DIMSE_SPOOL_LIMIT" in result.comment
        with pytest.raises(Unavailable):
            await client.store(store_open(9), Content(content(9)), deadline=1.0)
    assert requester.opens == []


async def test_queries_go_through_to_the_service(outbox: Outbox) -> None:
    requester = FakeRequester()
    open_ = FindOpen(
        operation_id="o",
        sop_class_uid=STUDY_ROOT,
        transfer_syntax_uid=EXPLICIT,
        identifier=b"",
        origin=ORIGIN,
    )
    SpooledClient(outbox, requester).find(open_)
    assert requester.opens == [open_]

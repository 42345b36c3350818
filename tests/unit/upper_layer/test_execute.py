import asyncio

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.upper_layer.assembly import CompleteMessage
from dimse_ingestion.upper_layer.execute import Performer, Request
from dimse_ingestion.upper_layer.services import (
    AssociationRequest,
    Command,
    Message,
    PresentationContext,
)
from tests.recording_services import C_ECHO_RQ, MemorySink, RecordingServices
from tests.requestor_bytes import CT, EXPLICIT
from tests.silent_association import SilentAssociation

CONTEXT = PresentationContext(3, CT, EXPLICIT)


class Answers(SilentAssociation):
    """An association that records its responses."""

    request = AssociationRequest("id", "A", "B", "10.0.0.1", 1, "1.2", "N", {})

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes | None]] = []
        self.changes = 0

    def abort(self, explanation: str) -> None:
        raise AssertionError(explanation)

    async def respond(self, context_id: int, command: bytes, data_set: bytes | None) -> None:
        self.sent.append((context_id, data_set))

    def request_finished(self) -> None:
        self.changes += 1


def whole(message_id: int, data_set: MemorySink | None = None) -> CompleteMessage:
    return CompleteMessage(CONTEXT, Command(C_ECHO_RQ, message_id), data_set)


def made(services: RecordingServices) -> tuple[Performer, Answers]:
    answers = Answers()
    return Performer(services, answers, lambda work, _: asyncio.create_task(work)), answers


async def drain(performer: Performer) -> None:
    for _ in range(20):
        await asyncio.sleep(0)
    assert not performer.is_busy


async def test_requests_are_performed_in_order() -> None:
    services = RecordingServices()
    performer, answers = made(services)
    for number in range(3):
        performer.add(whole(number))
    assert (performer.is_busy, performer.queued) == (True, 2)  # the first is about to begin
    await drain(performer)
    assert [message.command.message_id for message in services.performed] == [0, 1, 2]
    assert answers.sent == [(3, None)] * 3
    assert answers.changes == 3


async def test_an_identifier_goes_with_its_response() -> None:
    async def find(message: Message) -> None:
        await message.respond(Status.PENDING, identifier=b"match")

    performer, answers = made(RecordingServices(find))
    performer.add(whole(1))
    await drain(performer)
    assert answers.sent == [(3, b"match")]


async def test_a_request_that_waits_can_be_cancelled() -> None:
    performer, _ = made(services := RecordingServices())
    performer.add(whole(1))
    performer.add(whole(2))
    performer.cancel(2)
    performer.cancel(7)
    await drain(performer)
    assert [message.cancelled.is_set() for message in services.performed] == [False, True]


async def test_at_the_end_what_waits_is_abandoned() -> None:
    performer, _ = made(services := RecordingServices())
    sink = MemorySink()
    performer.add(whole(1, sink))
    performer.end()
    await drain(performer)
    assert sink.abandoned
    assert services.performed == []


async def test_a_cancel_is_seen_whether_the_service_looked_before_it_or_looks_after_it() -> None:
    services = RecordingServices()
    performer, _ = made(services)
    for number in (1, 2):
        performer.add(whole(number))
    performer.cancel(1)
    performer.cancel(1)
    await drain(performer)
    first, second = services.performed
    assert (first.cancelled.is_set(), second.cancelled.is_set()) == (True, False)
    assert first.cancelled is first.cancelled
    request = Request(made(services)[1], whole(3))
    waiting = asyncio.create_task(request.cancelled.wait())
    await asyncio.sleep(0)
    request.cancel()
    assert await asyncio.wait_for(waiting, 10)

"""Both ends in memory: a requestor's bytes in, an acceptor's bytes out; no socket, no clock."""

import asyncio
import random
from collections.abc import Coroutine, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.upper_layer.association import Association
from dimse_ingestion.upper_layer.association_errors import AssociationLost
from dimse_ingestion.upper_layer.limits import UpperLayerLimits
from dimse_ingestion.upper_layer.pdata import Fragment, PduReader
from dimse_ingestion.upper_layer.pdus import PduType, decode_abort
from dimse_ingestion.upper_layer.services import (
    Acceptance,
    AssociationRequest,
    Command,
    CommandField,
    Message,
    Rejection,
    RejectReason,
    RejectResult,
)
from tests import acceptor_bytes
from tests import requestor_bytes as peer
from tests.recording_services import MemorySink, RecordingServices
from tests.unit.upper_layer.memory_connection import MemoryConnection

CONTEXTS = [(peer.CT, [peer.EXPLICIT]), (peer.STUDY_ROOT_FIND, [peer.IMPLICIT])]
HELLO = peer.associate_rq(CONTEXTS)
ECHO = peer.message(peer.command(0x0030, 7))
FIND_COMMAND = peer.command(0x0020, 5, AffectedSOPClassUID=peer.CT, CommandDataSetType=1)
FIND = peer.message(FIND_COMMAND, b"question")
PROVIDER, USER = 2, 0


class Acceptor:
    """One acceptor's end."""

    def __init__(self, services: RecordingServices | None = None) -> None:
        self.services = services or RecordingServices()
        self.wire = MemoryConnection()
        self.tasks: set[asyncio.Task[None]] = set()
        limits = UpperLayerLimits(maximum_pdu_length=16384, idle_timeout=300, dimse_timeout=60)
        self.association = Association(
            self.services, limits, self.wire, self.spawn, ("10.0.0.1", 4711)
        )
        self.association.connection_made()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = asyncio.create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def longest_silence(self) -> float | None:
        return self.association.longest_silence

    async def get(self, *pieces: bytes) -> "Acceptor":
        """Receive pieces, in a buffer that is used again, and let tasks run between them."""
        for piece in pieces:
            buffer = bytearray(piece)
            self.association.data_received(memoryview(buffer))
            buffer[:] = b"\xee" * len(buffer)
            await settled()
        return self

    async def established(self) -> "Acceptor":
        await self.get(HELLO)
        assert self.take_answers() == ["ASSOCIATE_AC"]
        return self

    def take_answers(self) -> list[str]:
        """Return what was sent since the last call: names of PDUs, statuses, causes of aborts."""
        answers: list[str] = []
        values = bytearray()
        for found in PduReader(2**17).feed(memoryview(bytes(self.wire.written))):
            if isinstance(found, Fragment):
                values += found.content
                if found.last:
                    answers.append(_status(bytes(values)) if found.is_command else "identifier")
                    values.clear()
            elif found.type is PduType.ABORT:
                abort = decode_abort(found.content)
                answers.append(f"ABORT {abort.source} {abort.reason}")
            elif found.type is PduType.ASSOCIATE_RJ:
                answers.append("ASSOCIATE_RJ " + " ".join(str(byte) for byte in found.content[1:]))
            elif found.type is not PduType.P_DATA_TF:
                answers.append(found.type.name)
        self.wire.written.clear()
        return answers


async def settled() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


def _status(command: bytes) -> str:
    at = command.index(b"\0\0\x00\x09\x02\0\0\0") + 8
    return f"{int.from_bytes(command[at : at + 2], 'little'):04X}"


# the whole sequence, however it is split

DATA_SET = random.Random(0).randbytes(40_001)  # an odd length
WALK = HELLO + ECHO + peer.store(DATA_SET, 8) + FIND + peer.release_rq()


async def walked(pieces: Iterable[bytes]) -> Acceptor:
    acceptor = Acceptor()
    await acceptor.get(*pieces)
    assert acceptor.take_answers() == ["ASSOCIATE_AC", "0000", "0000", "0000", "RELEASE_RP"]
    assert acceptor.services.stored == [DATA_SET]
    assert [message.command.message_id for message in acceptor.services.performed] == [7, 8, 5]
    assert acceptor.services.ends == ["released"]
    assert acceptor.wire.is_artim_running()
    acceptor.association.connection_lost()
    assert not acceptor.wire.is_artim_running()
    assert not acceptor.tasks
    return acceptor


async def test_an_association_in_its_pdus() -> None:
    await walked([HELLO, ECHO, peer.store(DATA_SET, 8), FIND, peer.release_rq()])


async def test_an_association_one_byte_at_a_time() -> None:
    short = DATA_SET[:501]
    acceptor = Acceptor()
    walk = HELLO + ECHO + peer.store(short, 8) + peer.release_rq()
    await acceptor.get(HELLO)
    for at in range(len(HELLO), len(walk)):
        acceptor.association.data_received(memoryview(walk[at : at + 1]))
        await asyncio.sleep(0)
    await settled()
    assert acceptor.take_answers() == ["ASSOCIATE_AC", "0000", "0000", "RELEASE_RP"]
    assert acceptor.services.stored == [short]


@given(st.lists(st.integers(len(HELLO), len(WALK)), max_size=12))
@settings(max_examples=40, deadline=None)
def test_an_association_however_it_is_split(at: list[int]) -> None:
    edges = sorted({0, len(HELLO), *at, len(WALK)})
    pieces = [WALK[start:end] for start, end in pairwise(edges)]
    asyncio.run(walked(pieces))


async def test_accepted_contexts_are_sent() -> None:
    acceptor = await Acceptor().get(HELLO)
    request = acceptor.association.request
    assert request is acceptor.services.requests[0]
    assert (request.peer_address, request.peer_port) == ("10.0.0.1", 4711)


# refusals


async def test_a_rejection_is_sent_and_nothing_ended() -> None:
    no = Rejection(RejectResult.PERMANENT, RejectReason.CALLED_AE_TITLE_NOT_RECOGNIZED, "typo")
    acceptor = await Acceptor(RecordingServices(decision=no)).get(HELLO)
    assert acceptor.take_answers() == ["ASSOCIATE_RJ 1 1 7"]
    assert acceptor.wire.is_artim_running()
    acceptor.association.connection_lost()
    assert acceptor.services.ends == []


async def test_another_protocol_version_is_rejected_without_asking() -> None:
    acceptor = await Acceptor().get(HELLO[:6] + b"\0\2" + HELLO[8:])
    assert acceptor.take_answers() == ["ASSOCIATE_RJ 1 2 2"]
    assert acceptor.services.requests == []


async def test_a_service_that_fails_to_decide_rejects_for_now() -> None:
    class Broken(RecordingServices):
        async def associate(self, request: AssociationRequest) -> Acceptance | Rejection:
            raise RuntimeError("broken")

    acceptor = await Acceptor(Broken()).get(HELLO)
    assert acceptor.take_answers() == ["ASSOCIATE_RJ 2 3 1"]


# what the peer must not send


@pytest.mark.parametrize(
    ("sent", "abort"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "ABORT 0 0"),
        (ECHO, "ABORT 0 0"),
        (peer.release_rq(), "ABORT 0 0"),
        (HELLO[:80] + b"\xff" * (len(HELLO) - 80), "ABORT 0 0"),
    ],
    ids=["http", "data", "release", "a proposal of garbage"],
)
async def test_before_an_association_anything_else_is_aborted_as_user(
    sent: bytes, abort: str
) -> None:
    acceptor = Acceptor()
    with capture_logs() as lines:
        await acceptor.get(sent)
    assert acceptor.take_answers() == [abort]
    assert len(lines) == 1
    assert acceptor.wire.is_artim_running()
    assert acceptor.services.ends == []


WRONG = {
    "no PDU": (b"\xffgarbage", 1),
    "another proposal": (HELLO, 2),
    "an acceptance": (b"\x02\0\0\0\0\4\0\0\0\0", 2),
    "a rejection": (b"\x03\0\0\0\0\4\0\0\0\0", 2),
    "a release response": (peer.release_rp(), 2),
    "a PDU longer than announced": (b"\x04\0" + (16385).to_bytes(4), 6),
    "a value longer than its PDU": (b"\x04\0\0\0\0\x08\0\0\0\xff\1\3\0\0", 6),
    "a context that was not accepted": (peer.message(peer.command(0x30), context_id=99), 6),
    "a data set first": (peer.p_data((1, peer.LAST, b"data")), 5),
    "a command within a data set": (peer.store(b"")[: -(6 + 6)] + ECHO, 5),
    "a command too large": (peer.message(bytes(70_000)), 6),
    "a command of garbage": (peer.p_data((1, peer.COMMAND | peer.LAST, b"garbage")), 6),
    "a response": (peer.message(peer.command(0x8001, MessageIDBeingRespondedTo=1)), 6),
}


@pytest.mark.parametrize(("sent", "reason"), WRONG.values(), ids=WRONG)
async def test_a_mistake_of_the_peer_aborts_its_association(sent: bytes, reason: int) -> None:
    acceptor = await Acceptor().established()
    with capture_logs() as lines:
        await acceptor.get(sent)
    assert acceptor.take_answers() == [f"ABORT {PROVIDER} {reason}"]
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("Association aborted.", "warning")
    ]
    assert lines[0]["reason"].endswith(".")
    assert acceptor.association.aborted == lines[0]["reason"]
    assert lines[0]["peer_address"] == "10.0.0.1"
    assert acceptor.services.ends == ["aborted"]
    assert acceptor.wire.is_artim_running()
    await acceptor.get(b"more", HELLO, peer.abort())
    assert acceptor.services.performed == []
    acceptor.association.artim_expired()
    assert acceptor.wire.is_closed()


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1", b"\x04\0\0\0\0\0", bytes(100)])
async def test_what_follows_a_peers_abort_is_passed_over(garbage: bytes) -> None:
    acceptor = await Acceptor().established()
    await acceptor.get(peer.abort() + garbage)
    await acceptor.get(garbage)
    assert acceptor.services.ends == ["aborted"]
    assert acceptor.wire.is_closed()


async def test_a_peer_that_sends_on_after_an_abort_is_cut() -> None:
    acceptor = await Acceptor().established()
    await acceptor.get(b"\x04\0\0\0\0\0")
    for _ in range(4):
        await acceptor.get(bytes(1024 * 1024))
    assert not acceptor.wire.is_closed()
    await acceptor.get(b"\0")
    assert acceptor.wire.is_closed()


async def test_data_before_the_answer_waits_for_it() -> None:
    acceptor = Acceptor()
    early = memoryview(HELLO + ECHO)
    taken = acceptor.association.data_received(early)
    assert (taken, acceptor.wire.is_reading()) == (len(HELLO), False)
    assert acceptor.association.data_received(early[taken:]) == 0
    await settled()
    assert acceptor.wire.is_reading()
    assert acceptor.association.data_received(early[taken:]) == len(ECHO)
    await settled()
    assert acceptor.take_answers()[0] == "ASSOCIATE_AC"
    assert len(acceptor.services.performed) == 1


async def test_what_else_comes_before_the_answer_does_not_wait() -> None:
    acceptor = Acceptor()
    acceptor.association.data_received(memoryview(HELLO + peer.abort()))
    await settled()
    assert acceptor.services.ends == ["aborted"]


@given(st.binary(min_size=1, max_size=300))
@settings(max_examples=60, deadline=None)
def test_garbage_leaves_nothing_behind(garbage: bytes) -> None:
    async def play() -> None:
        acceptor = await Acceptor().established()
        services = acceptor.services
        await acceptor.get(peer.p_data((1, 3, peer.store_command())), garbage)
        acceptor.association.connection_lost()
        await settled()
        assert len(services.ends) == 1
        assert all(sink.abandoned for sink in services.sinks if not services.performed)

    asyncio.run(play())


# ends


async def test_a_lost_connection_leaves_nothing_behind() -> None:
    acceptor = await Acceptor().established()
    await acceptor.get(peer.store(DATA_SET)[:20_000])
    acceptor.association.connection_lost()
    assert acceptor.services.ends == ["lost"]
    assert acceptor.services.sinks[0].abandoned
    assert acceptor.services.performed == []


async def test_an_abort_within_a_message() -> None:
    acceptor = await Acceptor().established()
    half_sent = peer.p_data((1, 3, peer.store_command())) + peer.p_data((1, 0, b"half"))
    await acceptor.get(half_sent, peer.abort())
    assert not acceptor.association.aborted
    assert acceptor.services.ends == ["aborted"]
    assert acceptor.services.sinks[0].abandoned
    assert acceptor.wire.is_closed()


async def test_a_service_may_abort() -> None:
    acceptor = await Acceptor().established()
    acceptor.association.abort("for a reason")
    acceptor.association.abort("and another one")
    assert acceptor.association.aborted == "for a reason"
    assert acceptor.take_answers() == [f"ABORT {USER} 0"]
    assert acceptor.services.ends == ["aborted"]
    acceptor.association.artim_expired()
    assert acceptor.wire.is_closed()


async def test_a_sink_that_breaks_ends_its_association_only() -> None:
    class Broken(RecordingServices):
        def open_data_set(self, *_: object) -> MemorySink:
            raise RuntimeError("broken")

    acceptor = await Acceptor(Broken()).established()
    await acceptor.get(peer.store(b"data"))
    assert acceptor.take_answers() == [f"ABORT {USER} 0"]
    assert acceptor.services.ends == ["aborted"]


async def test_a_peer_that_leaves_before_the_decision_is_counted_once() -> None:
    acceptor = Acceptor()
    acceptor.association.data_received(memoryview(HELLO))
    acceptor.association.connection_lost()
    await settled()
    assert acceptor.take_answers() == []
    assert acceptor.services.ends == ["lost"]


async def test_artim_closes_a_connection_without_a_proposal() -> None:
    acceptor = await Acceptor().get(HELLO[:50])
    assert acceptor.wire.is_artim_running()
    acceptor.association.artim_expired()
    assert acceptor.wire.is_closed()


async def test_a_release_within_a_message_ends_it() -> None:
    acceptor = await Acceptor().established()
    await acceptor.get(peer.p_data((1, 3, peer.store_command())), peer.release_rq())
    assert acceptor.take_answers() == ["RELEASE_RP"]
    await acceptor.get(peer.abort())
    assert acceptor.wire.is_closed()


async def test_no_abort_is_sent_before_a_proposal() -> None:
    acceptor = Acceptor()
    acceptor.association.abort("shutting down")
    assert acceptor.take_answers() == []
    assert acceptor.wire.is_closed()


async def test_a_connection_without_data_is_not_logged() -> None:
    with capture_logs() as lines:
        Acceptor().association.connection_lost()
    assert lines == []


# performing


class Waiting:
    """An `answer` that waits for a signal."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, message: Message) -> None:
        await self.go.wait()
        await message.respond(Status.SUCCESS)


async def test_requests_are_performed_one_after_another_and_pile_up_to_a_limit() -> None:
    answer = Waiting()
    acceptor = await Acceptor(RecordingServices(answer)).established()
    echoes = [peer.message(peer.command(0x30, number)) for number in range(1, 5)]
    await acceptor.get(*echoes[:2])
    assert acceptor.wire.is_reading()
    await acceptor.get(*echoes[2:])
    assert len(acceptor.services.performed) == 1
    assert not acceptor.wire.is_reading()
    answer.go.set()
    await settled()
    await settled()
    assert acceptor.wire.is_reading()
    assert acceptor.take_answers() == ["0000"] * 4


async def test_a_cancel_is_read_while_its_request_is_performed() -> None:
    async def find(message: Message) -> None:
        await message.respond(Status.PENDING, identifier=b"match")
        await message.cancelled.wait()
        await message.respond(Status.CANCEL)

    acceptor = await Acceptor(RecordingServices(find)).established()
    await acceptor.get(FIND, peer.message(peer.cancel_command(99)))
    assert acceptor.take_answers() == ["FF00", "identifier"]
    await acceptor.get(peer.message(peer.cancel_command(5)))
    assert acceptor.take_answers() == ["FE00"]


async def test_a_release_waits_for_the_request_being_performed() -> None:
    answer = Waiting()
    acceptor = await Acceptor(RecordingServices(answer)).established()
    await acceptor.get(ECHO, peer.release_rq())
    assert acceptor.take_answers() == []
    assert acceptor.services.performed[0].cancelled.is_set()
    answer.go.set()
    await settled()
    assert acceptor.take_answers() == ["0000", "RELEASE_RP"]
    assert acceptor.services.ends == ["released"]


@pytest.mark.parametrize("kind", [CommandField.C_GET_RQ, CommandField.C_MOVE_RQ])
async def test_reading_never_pauses_for_a_retrieve(kind: CommandField) -> None:
    """A cancel or the end would go unnoticed, and the responses to a C-GET's sub-operations."""
    answer = Waiting()
    acceptor = await Acceptor(RecordingServices(answer)).established()
    retrieve = peer.message(peer.command(kind, 1))
    echoes = [peer.message(peer.command(0x30, number)) for number in (2, 3)]
    await acceptor.get(retrieve + echoes[0])
    assert acceptor.wire.is_reading()
    with capture_logs() as lines:
        await acceptor.get(echoes[1])
    assert acceptor.take_answers() == ["ABORT 0 0"]
    assert acceptor.services.performed[0].cancelled.is_set()
    (aborted,) = [each for each in lines if each["event"] == "Association aborted."]
    assert "2 requests behind a C-MOVE or C-GET" in aborted["reason"]
    answer.go.set()
    await settled()


async def test_requests_that_come_before_a_retrieve_begins_count_as_behind_it() -> None:
    answer = Waiting()
    acceptor = await Acceptor(RecordingServices(answer)).established()
    retrieve = peer.message(peer.command(CommandField.C_GET_RQ, 2))
    echoes = [peer.message(peer.command(0x30, number)) for number in (1, 3, 4)]
    await acceptor.get(echoes[0], retrieve, echoes[1])
    assert not acceptor.wire.is_reading()
    acceptor.wire.resume_reading()
    await acceptor.get(echoes[2])  # was read with the one before
    assert acceptor.take_answers() == []
    answer.go.set()
    await settled()
    assert acceptor.take_answers() == ["0000", "ABORT 0 0"]


async def test_a_release_before_a_response_to_a_sub_operation_aborts() -> None:
    """The peer must not send a response after its A-RELEASE-RQ (PS3.8 9.2.1)."""
    failures: list[str] = []

    async def get(message: Message) -> None:
        command = Command(CommandField.C_STORE_RQ, 0, peer.CT, peer.INSTANCE)
        try:
            await message.association.invoke(message.association.contexts[1], command, b"image")
        except AssociationLost as lost:
            failures.append(str(lost))

    acceptor = await Acceptor(RecordingServices(get)).established()
    await acceptor.get(peer.message(peer.command(CommandField.C_GET_RQ, 1)))
    acceptor.wire.written.clear()
    await acceptor.get(peer.release_rq())
    assert acceptor.take_answers() == ["ABORT 0 0"]
    assert failures == ["The peer asked for release before it answered a C-STORE of its C-GET."]


async def test_after_the_end_responses_are_dropped_and_what_waits_is_abandoned() -> None:
    answer = Waiting()
    acceptor = await Acceptor(RecordingServices(answer)).established()
    await acceptor.get(ECHO, peer.store(b"data"))
    acceptor.association.connection_lost()
    assert acceptor.services.ends == ["lost"]
    assert acceptor.services.performed[0].cancelled.is_set()
    assert acceptor.services.sinks[0].abandoned
    answer.go.set()
    await settled()
    assert acceptor.take_answers() == []
    assert len(acceptor.services.performed) == 1


async def test_a_service_that_breaks_answers_processing_failure() -> None:
    async def broken(_: Message) -> None:
        raise RuntimeError("broken")

    acceptor = await Acceptor(RecordingServices(broken)).established()
    await acceptor.get(ECHO)
    assert acceptor.take_answers() == ["0110"]
    assert acceptor.services.ends == []


async def test_a_response_waits_for_a_peer_that_reads_slowly() -> None:
    sent = []

    async def find(message: Message) -> None:
        for number in range(3):
            await message.respond(Status.PENDING, identifier=b"match")
            sent.append(number)

    acceptor = await Acceptor(RecordingServices(find)).established()
    acceptor.wire.may_write.clear()
    await acceptor.get(FIND)
    assert sent == []
    acceptor.wire.may_write.set()
    await settled()
    assert sent == [0, 1, 2]


async def test_a_sink_may_stop_the_reading() -> None:
    gate = asyncio.Event()

    async def slow() -> None:
        await gate.wait()

    acceptor = await Acceptor(RecordingServices(slow=slow)).established()
    await acceptor.get(peer.store(DATA_SET))
    assert not acceptor.wire.is_reading()
    gate.set()
    await settled()
    assert acceptor.wire.is_reading()
    assert acceptor.services.stored == [DATA_SET]


# time


async def test_how_long_a_peer_may_be_silent() -> None:
    answer = Waiting()
    acceptor = Acceptor(RecordingServices(answer))
    assert acceptor.longest_silence() is None  # ARTIM runs
    await acceptor.get(HELLO)
    assert acceptor.longest_silence() == 300
    await acceptor.get(ECHO[:3])
    assert acceptor.longest_silence() == 60
    assert not acceptor.association.is_quiet
    await acceptor.get(ECHO[3:])
    assert acceptor.longest_silence() is None  # this side's turn
    answer.go.set()
    await settled()
    assert acceptor.longest_silence() == 300
    await acceptor.get(peer.p_data((1, 3, peer.store_command())))
    assert acceptor.longest_silence() == 60


async def test_a_service_sends_a_request_on_the_association_while_it_answers_one() -> None:
    statuses: list[int] = []

    async def answer(message: Message) -> None:
        command = Command(CommandField.C_STORE_RQ, 0, peer.CT, peer.INSTANCE)
        context = message.association.contexts[1]
        response = await message.association.invoke(context, command, b"an instance")
        statuses.append(response.status)
        await message.respond(Status.SUCCESS)

    acceptor = await Acceptor(RecordingServices(answer)).established()
    await acceptor.get(ECHO)
    acceptor.wire.written.clear()
    await acceptor.get(peer.message(acceptor_bytes.response(0x0001, 1, 0xB000)))
    assert statuses == [0xB000]
    assert acceptor.take_answers() == ["0000"]


async def test_a_response_that_nobody_waits_for_aborts() -> None:
    acceptor = await Acceptor().established()
    await acceptor.get(peer.message(acceptor_bytes.response(0x0001, 1)))
    assert acceptor.take_answers()[0].startswith("ABORT")

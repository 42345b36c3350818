"""The requestor's end in memory: an acceptor's bytes in, the requestor's bytes out."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from pynetdicom.dsutils import decode as their_decode
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SCP_SCU_RoleSelectionNegotiation,
)

from dimse_ingestion.failures import Invalid
from dimse_ingestion.upper_layer.associate_ac import ContextResult
from dimse_ingestion.upper_layer.associate_items import Roles
from dimse_ingestion.upper_layer.association_errors import (
    AssociationLost,
    AssociationRejected,
    PeerUnreachable,
)
from dimse_ingestion.upper_layer.limits import UpperLayerLimits
from dimse_ingestion.upper_layer.pdata import Fragment, PduReader
from dimse_ingestion.upper_layer.proposals import decode
from dimse_ingestion.upper_layer.requested_association import RequestedAssociation
from dimse_ingestion.upper_layer.requestor_negotiation import ProposedContext, propose
from tests import acceptor_bytes, requestor_bytes
from tests.requestor_bytes import CT, EXPLICIT, IMPLICIT, INSTANCE, VERIFICATION
from tests.unit.upper_layer.memory_connection import MemoryConnection

if TYPE_CHECKING:
    from dimse_ingestion.upper_layer.services import Response

COMMITMENT = "1.2.840.10008.1.20.1"
CONTEXTS = [
    ProposedContext(CT, (EXPLICIT, IMPLICIT)),
    ProposedContext(VERIFICATION, (IMPLICIT,)),
    ProposedContext(COMMITMENT, (IMPLICIT,)),
]
ACCEPTED = {1: (0, EXPLICIT), 3: (0, IMPLICIT), 5: (0, IMPLICIT)}
C_STORE, C_ECHO, N_EVENT_REPORT = 0x0001, 0x0030, 0x0100
PDV_HEADER = 6


class Requestor:
    """One requestor's end; `outstanding` requests at once are proposed."""

    def __init__(self, outstanding: int = 1, response_timeout: float = 60) -> None:
        self.wire = MemoryConnection()
        self.tasks: set[asyncio.Task[Any]] = set()
        proposal = propose(
            "ARCHIVE",
            "DICOM-INGEST",
            CONTEXTS,
            roles={COMMITMENT: Roles(scu=False, scp=True)},
            maximum_pdu_length=16384,
            outstanding=outstanding,
        )
        limits = UpperLayerLimits(maximum_pdu_length=16384, response_timeout=response_timeout)
        self.association = RequestedAssociation(
            proposal, limits, self.wire, self.start, ("10.0.0.1", 104)
        )
        self.association.connection_made()

    def start(self, work: Coroutine[Any, Any, Any], name: str = "") -> "asyncio.Task[Any]":
        task = asyncio.create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def get(self, *pieces: bytes) -> None:
        """Receive pieces, and let tasks run between them."""
        for piece in pieces:
            self.association.data_received(memoryview(bytearray(piece)))
            await settled()

    async def established(self, **answer: Any) -> "Requestor":
        self.wire.written.clear()
        await self.get(acceptor_bytes.associate_ac(ACCEPTED, **answer))
        await self.association.wait_established()
        return self

    def sent(self) -> list[Any]:
        """Return what was sent since the last call: names of PDUs, and fragments' contents."""
        found: list[Any] = []
        for item in PduReader(2**17).feed(memoryview(bytes(self.wire.written))):
            if isinstance(item, Fragment):
                found.append((item.is_command, item.last, bytes(item.content)))
            elif item.type.name != "P_DATA_TF":
                found.append(item.type.name)
        self.wire.written.clear()
        return found

    async def echo(self) -> "asyncio.Task[Response]":
        task = self.start(self.association.echo())
        await settled()
        return task

    async def store(self, source: Any, **more: Any) -> "asyncio.Task[Response]":
        context = self.association.context(CT)
        assert context is not None
        task = self.start(self.association.store(context, INSTANCE, source, **more))
        await settled()
        return task

    async def answer(
        self, command_field: int, message_id: int, status: int = 0, context_id: int = 1
    ) -> None:
        content = acceptor_bytes.response(command_field, message_id, status)
        await self.get(requestor_bytes.message(content, context_id=context_id))


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def command_of(fragments: list[Any]) -> Any:
    """Return the command set of what was sent, as pynetdicom reads it."""
    content = b"".join(each[2] for each in fragments if each[0] is True)
    return their_decode(BytesIO(content), True, True)


def data_of(fragments: list[Any]) -> bytes:
    return b"".join(each[2] for each in fragments if each[0] is False)


# negotiation


async def test_the_proposal_is_sent_first_and_is_whole() -> None:
    requestor = Requestor(outstanding=4)
    proposal = decode(bytes(requestor.wire.written)[6:])
    assert requestor.sent() == ["ASSOCIATE_RQ"]
    assert (proposal.called_ae_title, proposal.calling_ae_title) == ("ARCHIVE", "DICOM-INGEST")
    assert proposal.contexts == {
        1: (CT, (EXPLICIT, IMPLICIT)),
        3: (VERIFICATION, (IMPLICIT,)),
        5: (COMMITMENT, (IMPLICIT,)),
    }
    assert proposal.user.roles == {COMMITMENT: Roles(scu=False, scp=True)}
    assert proposal.user.asynchronous_operations == (4, 1)
    assert proposal.user.maximum_pdu_length == 16384
    assert proposal.user.implementation_class_uid
    assert proposal.user.implementation_version_name


async def test_accepted_contexts_are_those_of_the_answer() -> None:
    requestor = Requestor()
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = COMMITMENT, False, True
    answers = {1: (0, IMPLICIT), 3: (3, IMPLICIT), 5: (0, IMPLICIT)}
    await requestor.get(acceptor_bytes.associate_ac(answers, [role]))
    await requestor.association.wait_established()
    association = requestor.association
    assert association.is_established
    context = association.context(CT)
    assert context is not None
    assert context.transfer_syntax_uid == IMPLICIT
    assert association.context(CT, EXPLICIT) is None
    assert association.context(VERIFICATION) is None
    assert association.negotiated.refused == {
        VERIFICATION: ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
    }
    assert association.roles(COMMITMENT) == Roles(scu=False, scp=True)
    assert association.roles(CT) == Roles(scu=True, scp=False)


async def test_an_answer_that_was_not_proposed_is_no_context() -> None:
    requestor = Requestor()
    answers = {1: (0, "1.2.840.10008.1.2.4.70"), 3: (0, IMPLICIT), 7: (0, IMPLICIT)}
    await requestor.get(acceptor_bytes.associate_ac(answers))
    assert list(requestor.association.contexts) == [3]


async def test_a_rejection_has_its_reason_and_whether_to_try_again() -> None:
    requestor = Requestor()
    await requestor.get(acceptor_bytes.associate_rj(2, 3, 2))
    with pytest.raises(AssociationRejected, match="local limit exceeded") as caught:
        await requestor.association.wait_established()
    assert caught.value.transient
    assert requestor.wire.is_closed()


async def test_a_permanent_rejection_is_not_transient() -> None:
    requestor = Requestor()
    await requestor.get(acceptor_bytes.associate_rj(1, 1, 7))
    with pytest.raises(AssociationRejected, match="called AE title not recognized") as caught:
        await requestor.association.wait_established()
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.1 400 Bad Request", "none of DICOM's"),
        (b"\x02\0\xff\xff\xff\xff", "has length 4294967295"),
        (b"\x02\0\0\0\0\x04abcd", "can't be read: it is too short"),
        (acceptor_bytes.associate_ac(ACCEPTED, maximum_length=1), "too short for any message"),
        (requestor_bytes.associate_rq(), "ASSOCIATE_RQ is not expected now"),
        (requestor_bytes.release_rp(), "RELEASE_RP is not expected now"),
        (requestor_bytes.p_data((1, 3, b"x")), "P_DATA_TF is not expected now"),
    ],
)
async def test_an_answer_that_is_none_aborts(answer: bytes, sentence: str) -> None:
    requestor = Requestor()
    requestor.sent()
    await requestor.get(answer)
    with pytest.raises(PeerUnreachable, match=sentence):
        await requestor.association.wait_established()
    assert requestor.sent() == ["ABORT"]


async def test_a_connection_closed_without_an_answer() -> None:
    requestor = Requestor()
    requestor.association.connection_lost()
    with pytest.raises(PeerUnreachable, match="without an answer"):
        await requestor.association.wait_established()


async def test_an_abort_as_the_answer() -> None:
    requestor = Requestor()
    await requestor.get(requestor_bytes.abort())
    with pytest.raises(PeerUnreachable, match="A-ABORT by its user"):
        await requestor.association.wait_established()


# requests


async def test_an_echo_returns_its_status() -> None:
    requestor = await Requestor().established()
    echo = await requestor.echo()
    command = command_of(requestor.sent())
    assert (command.CommandField, command.MessageID) == (C_ECHO, 1)
    await requestor.answer(C_ECHO, 1, 0x0122, context_id=3)
    assert (await echo).status == 0x0122


async def test_a_data_set_is_sent_in_the_fragments_that_the_peer_takes() -> None:
    requestor = await Requestor().established(maximum_length=1000)
    content = bytes(range(256)) * 40
    store = await requestor.store(chunks(content[:10], content[10:7000], b"", content[7000:]))
    fragments = requestor.sent()
    assert data_of(fragments) == content
    assert max(len(each[2]) for each in fragments) + PDV_HEADER <= 1000
    assert all(len(each[2]) % 2 == 0 for each in fragments)
    assert [each[1] for each in fragments if not each[0]].count(True) == 1
    assert fragments[-1][1] is True
    assert command_of(fragments).AffectedSOPInstanceUID == INSTANCE
    await requestor.answer(C_STORE, 1)
    assert (await store).status == 0


async def test_the_last_fragment_is_held_until_the_source_has_ended() -> None:
    requestor = await Requestor().established()
    verified = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield b"a" * 40000
        await verified.wait()

    store = await requestor.store(source())
    before = requestor.sent()
    assert not any(each[1] for each in before if each[0] is False)
    assert len(data_of(before)) < 40000
    verified.set()
    await settled()
    after = requestor.sent()
    assert len(data_of(before)) + len(data_of(after)) == 40000
    assert after[-1][1] is True
    await requestor.answer(C_STORE, 1)
    assert (await store).status == 0


@pytest.mark.parametrize("length", [0, 16376, 16377, 40000])
async def test_a_source_that_raises_aborts_before_the_data_set_is_whole(length: int) -> None:
    requestor = await Requestor().established()

    async def source() -> AsyncIterator[bytes]:
        yield bytes(length)
        raise ValueError("the digest differs")

    store = await requestor.store(source())
    with pytest.raises(ValueError, match="the digest differs"):
        await store
    *fragments, last = requestor.sent()
    assert last == "ABORT"
    assert not any(each[1] for each in fragments if each[0] is False)
    assert not requestor.association.is_established


async def test_an_abort_says_why_the_data_set_failed() -> None:
    requestor = await Requestor().established()

    async def source() -> AsyncIterator[bytes]:
        yield bytes(1)
        raise Invalid("The data set does not have its digest")

    store = await requestor.store(source())
    with pytest.raises(Invalid):
        await store
    assert requestor.sent()[-1] == "ABORT"
    assert requestor.association.aborted == (
        "A data set can't be sent to its end: The data set does not have its digest"
    )


async def test_an_empty_data_set_is_one_last_fragment() -> None:
    requestor = await Requestor().established()
    await requestor.store(chunks())
    assert requestor.sent()[-1] == (False, True, b"")


async def test_a_peer_that_reads_slowly_holds_the_source_back() -> None:
    requestor = await Requestor().established()
    requestor.wire.may_write.clear()
    taken = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(5):
            taken += 1
            yield bytes(65536)

    await requestor.store(source())
    assert taken == 0
    requestor.wire.may_write.set()
    await settled()
    assert taken == 5


async def test_a_store_for_a_move_names_its_originator() -> None:
    requestor = await Requestor().established()
    await requestor.store(b"data", move_originator=("WS1", 21), priority=2)
    command = command_of(requestor.sent())
    assert command.MoveOriginatorApplicationEntityTitle == "WS1"
    assert (command.MoveOriginatorMessageID, command.Priority) == (21, 2)


async def test_an_event_report_is_sent_with_its_data_set() -> None:
    requestor = await Requestor().established()
    context = requestor.association.context(COMMITMENT)
    assert context is not None
    report = requestor.start(requestor.association.event_report(context, "1.2.3", 2, b"failed"))
    await settled()
    fragments = requestor.sent()
    command = command_of(fragments)
    assert (command.CommandField, command.EventTypeID) == (N_EVENT_REPORT, 2)
    assert (command.AffectedSOPClassUID, command.AffectedSOPInstanceUID) == (COMMITMENT, "1.2.3")
    assert data_of(fragments) == b"failed"
    await requestor.answer(N_EVENT_REPORT, 1, context_id=5)
    assert (await report).status == 0


async def test_one_request_waits_for_the_other_unless_more_are_negotiated() -> None:
    requestor = await Requestor(outstanding=3).established()
    first, second = await requestor.echo(), await requestor.echo()
    assert [each[0] for each in requestor.sent()] == [True]
    await requestor.answer(C_ECHO, 1, context_id=3)
    assert first.done()
    assert command_of(requestor.sent()).MessageID == 2
    await requestor.answer(C_ECHO, 2, context_id=3)
    assert (await second).message_id == 2


async def test_responses_are_routed_by_their_message_id() -> None:
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = 2
    requestor = await Requestor(outstanding=3).established(items=[window])
    tasks = [await requestor.echo() for _ in range(3)]
    assert len([each for each in requestor.sent() if each[1]]) == 2
    await requestor.answer(C_ECHO, 2, 0x0110, context_id=3)
    assert (await tasks[1]).status == 0x0110
    assert not tasks[0].done()
    await requestor.answer(C_ECHO, 3, context_id=3)
    await requestor.answer(C_ECHO, 1, 0x0122, context_id=3)
    assert [(await task).status for task in tasks] == [0x0122, 0x0110, 0]


async def test_a_response_before_the_data_set_is_whole_does_not_cut_it_off() -> None:
    requestor = await Requestor().established()
    more = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield b"a" * 20000
        await more.wait()
        yield b"b" * 20000

    store = await requestor.store(source())
    await requestor.answer(C_STORE, 1, 0xA700)
    assert not store.done()
    more.set()
    assert (await store).status == 0xA700
    assert len(data_of(requestor.sent())) == 40000


# the end


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ((C_ECHO, 2, 0, 3), "message 2, which waits for none"),
        ((C_STORE, 1, 0, 3), "kind 0001H in context 3 to message 1, which is of kind 0030H"),
        ((C_ECHO, 1, 0, 1), "in context 1 to message 1"),
    ],
)
async def test_a_response_that_fits_no_request_aborts(
    wrong: tuple[int, int, int, int], sentence: str
) -> None:
    requestor = await Requestor().established()
    echo = await requestor.echo()
    requestor.sent()
    await requestor.answer(*wrong)
    with pytest.raises(AssociationLost, match=sentence):
        await echo
    assert requestor.sent() == ["ABORT"]


async def test_a_second_response_aborts() -> None:
    requestor = await Requestor().established()
    echo = await requestor.echo()
    await requestor.answer(C_ECHO, 1, context_id=3)
    assert (await echo).status == 0
    requestor.sent()
    await requestor.answer(C_ECHO, 1, context_id=3)
    assert requestor.sent() == ["ABORT"]


async def test_a_request_of_the_peer_aborts() -> None:
    requestor = await Requestor().established()
    requestor.sent()
    await requestor.get(requestor_bytes.store(b"data"))
    assert requestor.sent() == ["ABORT"]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("abort", r"ARCHIVE aborted the association .*: its log may say why\."),
        ("lost", "ARCHIVE closed the connection, or it was lost"),
        ("release", "ARCHIVE released the association"),
    ],
)
async def test_the_end_of_the_association_fails_what_waits(end: str, reason: str) -> None:
    requestor = await Requestor().established()
    late = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield b"a"
        await late.wait()

    store = await requestor.store(source())
    if end == "lost":
        requestor.association.connection_lost()
    else:
        pdu = requestor_bytes.abort() if end == "abort" else requestor_bytes.release_rq()
        await requestor.get(pdu)
    await settled()
    with pytest.raises(AssociationLost, match=reason):
        await store
    with pytest.raises(AssociationLost, match=reason):
        await requestor.association.echo()


async def test_a_late_response_aborts() -> None:
    requestor = await Requestor(response_timeout=0.01).established()
    with pytest.raises(AssociationLost, match=r"ARCHIVE did not answer message 1 .* within 0.01 s"):
        await requestor.association.echo()
    assert requestor.sent()[-1] == "ABORT"


async def test_a_caller_that_is_cancelled_aborts() -> None:
    requestor = await Requestor().established()
    echo = await requestor.echo()
    echo.cancel()
    await settled()
    assert requestor.sent()[-1] == "ABORT"


async def test_a_release_is_answered_by_the_end_of_the_connection() -> None:
    requestor = await Requestor().established()
    release = requestor.start(requestor.association.release())
    await settled()
    assert requestor.sent() == ["RELEASE_RQ"]
    await requestor.get(requestor_bytes.release_rp())
    assert requestor.wire.is_closed()
    requestor.association.connection_lost()
    await release


async def test_both_sides_release_at_once() -> None:
    requestor = await Requestor().established()
    release = requestor.start(requestor.association.release())
    await settled()
    await requestor.get(requestor_bytes.release_rq())
    assert requestor.sent() == ["RELEASE_RQ", "RELEASE_RP"]
    await requestor.get(requestor_bytes.release_rp())
    assert requestor.wire.is_closed()
    requestor.association.connection_lost()
    await release


@pytest.mark.parametrize("length", [1, 2, 7, 100, 10_000])
async def test_the_result_does_not_depend_on_how_the_bytes_are_split(length: int) -> None:
    requestor = Requestor()
    content = acceptor_bytes.associate_ac(ACCEPTED)
    await requestor.get(*(content[at : at + length] for at in range(0, len(content), length)))
    await requestor.association.wait_established()
    store = await requestor.store(chunks(b"data"))
    content = requestor_bytes.message(acceptor_bytes.response(C_STORE, 1, 0xB000))
    await requestor.get(*(content[at : at + length] for at in range(0, len(content), length)))
    assert (await store).status == 0xB000
    release = requestor.start(requestor.association.release())
    await settled()
    content = requestor_bytes.release_rp()
    await requestor.get(*(content[at : at + length] for at in range(0, len(content), length)))
    assert requestor.wire.is_closed()
    requestor.association.connection_lost()
    await release

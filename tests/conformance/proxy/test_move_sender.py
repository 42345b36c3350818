"""C-STORE sub-operations of a C-MOVE at real destinations: DCMTK, pynetdicom, Orthanc."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pynetdicom import AE, AllStoragePresentationContexts, evt

from dimse_ingestion.failures import Failure, Invalid
from dimse_ingestion.proxy.peers import PeerAssociations
from dimse_ingestion.proxy.retrieve.move_sender import MoveSender
from dimse_ingestion.proxy.retrieve.sender import NotBegun
from dimse_ingestion.settings import Peer
from dimse_ingestion.transport.protocol.messages import RetrieveInstance
from dimse_ingestion.upper_layer.association_errors import (
    AssociationLost,
    AssociationRejected,
    PeerUnreachable,
)
from dimse_ingestion.upper_layer.services import Command, CommandField, PresentationContext
from harness import modalities
from harness.ports import free_port
from tests.requestor_bytes import CT, EXPLICIT, IMPLICIT
from tests.unit.proxy.fakes import Association, FakeMessage, association_request, proxy_settings

pytestmark = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())

MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
JPEG = "1.2.840.10008.1.2.4.70"
MR = "1.2.840.10008.5.1.4.1.1.4"
FILE = Path(str(get_testdata_file("CT_small.dcm")))


def data_set_of(path: Path) -> bytes:
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def received(folder: Path) -> list[bytes]:
    """Return the data sets of the files in a folder."""
    return [data_set_of(file) for file in folder.iterdir()]


CONTENT = data_set_of(FILE)
UID = str(dcmread(FILE, stop_before_pixels=True).SOPInstanceUID)


def instance(number: int = 0, sop_class: str = CT, syntax: str = EXPLICIT) -> RetrieveInstance:
    uid = f"{UID}.{number}" if number else UID
    return RetrieveInstance(
        sop_class_uid=sop_class,
        sop_instance_uid=uid,
        transfer_syntax_uid=syntax,
        key=f"key{number}",
        size=len(CONTENT),
        sha256="0" * 64,
    )


class DataSet:
    """A data set that counts how often it was read; `failure` comes at its end."""

    def __init__(self, content: bytes = CONTENT, failure: Failure | None = None) -> None:
        self.whole, self.failure, self.reads = content, failure, 0

    async def content(self) -> AsyncIterator[bytes]:
        self.reads += 1
        for start in range(0, len(self.whole), 4096):
            yield self.whole[start : start + 4096]
        if self.failure is not None:
            raise self.failure


def move_message() -> FakeMessage:
    command = Command(CommandField.C_STORE_RQ, 77, MOVE, priority=1)
    request = dataclasses.replace(association_request(), calling_ae_title="VIEWER")
    context = PresentationContext(1, MOVE, IMPLICIT)
    return FakeMessage(context, command, association=Association(request))


def sender(
    host: str,
    port: int,
    message: FakeMessage | None = None,
    reopened_after: Sequence[float] = (0.05, 0.1),
) -> MoveSender:
    peer = Peer(ae_title="WS1", host=host, port=port, maximum_associations=1)
    message = message or move_message()
    associations = PeerAssociations(proxy_settings(peers=[peer]))
    return MoveSender(associations, peer, message, reopened_after=reopened_after)


@asynccontextmanager
async def served(handler: Any, *contexts: tuple[str, Sequence[str]]) -> AsyncIterator[int]:
    """Run pynetdicom as the destination, and yield its port."""
    ae = AE("WS1")
    for sop_class, syntaxes in contexts or ((CT, [EXPLICIT]),):
        ae.add_supported_context(sop_class, list(syntaxes))
    handlers: list[Any] = [(evt.EVT_C_STORE, handler)]
    server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield server.socket.getsockname()[1]
    finally:
        await asyncio.to_thread(server.shutdown)


async def test_instances_arrive_as_they_are_stored(tmp_path: Path) -> None:
    with modalities.storescp(tmp_path, "--bit-preserving") as server:
        move = sender(server.host, server.port)
        (first,) = await move.open([instance()])
        assert EXPLICIT in move.transfer_syntaxes(first)
        assert await move.store(first, EXPLICIT, DataSet()) == 0
        assert await move.store(first, EXPLICIT, DataSet()) == 0
        await move.close()
    assert received(tmp_path) == [CONTENT]


async def test_originator_priority_and_titles_are_those_of_the_move() -> None:
    seen: list[Any] = []

    def store(event: Any) -> int:
        request = event.request
        seen.append((request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID))
        seen.append((request.Priority, event.assoc.requestor.ae_title))
        return 0xB007

    async with served(store) as port:
        move = sender("127.0.0.1", port)
        await move.open([instance()])
        assert await move.store(instance(), EXPLICIT, DataSet()) == 0xB007
        await move.close()
    assert seen == [("VIEWER", 77), (1, association_request().called_ae_title)]


async def test_the_stored_syntax_is_proposed_alone_and_a_native_one_beside() -> None:
    async with served(lambda _: 0, (CT, [JPEG, IMPLICIT]), (MR, [IMPLICIT])) as port:
        move = sender("127.0.0.1", port)
        instances = [instance(1, CT, JPEG), instance(2, MR, JPEG), instance(3, "1.2.3", JPEG)]
        ordered = await move.open(instances)
        assert list(ordered) == instances
        assert list(move.transfer_syntaxes(ordered[0])) == [JPEG, IMPLICIT]
        assert list(move.transfer_syntaxes(ordered[1])) == [IMPLICIT]
        assert list(move.transfer_syntaxes(ordered[2])) == []
        assert "let it accept that class" in move.refusal(ordered[2])
        assert f"refuses transfer syntax {JPEG}" in move.refusal(ordered[1])
        await move.close()


async def test_a_destination_without_a_transfer_syntax_is_told_which_were_offered() -> None:
    lossless = "1.2.840.10008.1.2.4.57"
    async with served(lambda _: 0, (CT, [lossless])) as port:
        move = sender("127.0.0.1", port)
        (first, second) = await move.open([instance(1, CT, JPEG), instance(2, MR, JPEG)])
        assert move.refusal(first) == (
            f"WS1 refuses the transfer syntaxes of SOP class {CT}: let it accept one of "
            f"{JPEG}, {EXPLICIT}, {IMPLICIT}"
        )
        assert move.refusal(second) == f"WS1 refuses SOP class {MR}: let it accept that class"
        await move.close()


async def test_more_classes_than_an_association_has_contexts_use_several_in_turn() -> None:
    classes = [str(each.abstract_syntax) for each in AllStoragePresentationContexts[:150]]
    stored: list[str] = []

    def store(event: Any) -> int:
        stored.append(str(event.request.AffectedSOPClassUID))
        return 0

    async with served(store, *((each, [EXPLICIT]) for each in classes[:120])) as port:
        move = sender("127.0.0.1", port)
        ordered = await move.open([instance(i, each) for i, each in enumerate(classes, 1)])
        for each in ordered:
            if each.sop_class_uid in classes[:120]:
                assert list(move.transfer_syntaxes(each)) == [EXPLICIT]
                assert await move.store(each, EXPLICIT, DataSet()) == 0
            else:
                assert not move.transfer_syntaxes(each)
        await move.close()
    assert stored == classes[:120]


async def test_a_destination_that_is_not_there_or_refuses(tmp_path: Path) -> None:
    with pytest.raises(PeerUnreachable):
        await sender("127.0.0.1", free_port()).open([instance()])
    with (
        modalities.storescp(tmp_path, "--refuse") as server,
        pytest.raises(AssociationRejected),
    ):
        await sender(server.host, server.port).open([instance()])


async def test_a_lost_association_is_opened_again_and_the_instance_sent_again() -> None:
    seen: list[str] = []

    def store(event: Any) -> int:
        seen.append(str(event.request.AffectedSOPInstanceUID)[-1])
        if len(seen) in (2, 3):
            event.assoc.abort()
        return 0

    async with served(store) as port:
        move = sender("127.0.0.1", port)
        ordered = await move.open([instance(number) for number in (1, 2, 3)])
        sets = [DataSet(), DataSet(), DataSet()]
        statuses = [
            await move.store(each, EXPLICIT, data) for each, data in zip(ordered, sets, strict=True)
        ]
        await move.close()
    assert statuses == [0, 0, 0]
    assert seen == ["1", "2", "2", "2", "3"]
    assert [each.reads for each in sets] == [1, 3, 1]


@pytest.mark.parametrize("option", ["--abort-after", "--abort-during"])
async def test_a_destination_that_always_aborts_is_given_up(option: str, tmp_path: Path) -> None:
    with modalities.storescp(tmp_path, option) as server:
        move = sender(server.host, server.port)
        await move.open([instance(number) for number in (1, 2, 3, 4)])
        sets = [DataSet() for _ in range(5)]
        for data_set in sets:
            with pytest.raises(AssociationLost):
                await move.store(instance(1), EXPLICIT, data_set)
        await move.close()
    assert [each.reads for each in sets] == [3, 3, 3, 0, 0]


async def test_a_destination_that_goes_away_fails_the_rest_at_once(tmp_path: Path) -> None:
    with modalities.storescp(tmp_path) as server:
        move = sender(server.host, server.port)
        await move.open([instance()])
        assert await move.store(instance(), EXPLICIT, DataSet()) == 0
    late = DataSet()
    with pytest.raises(PeerUnreachable):
        await move.store(instance(), EXPLICIT, DataSet())
    with pytest.raises(PeerUnreachable):
        await move.store(instance(), EXPLICIT, late)
    assert not late.reads
    await move.close()


async def test_a_data_set_that_fails_is_not_sent_again_and_not_whole(tmp_path: Path) -> None:
    with modalities.storescp(tmp_path, "--bit-preserving") as server:
        move = sender(server.host, server.port)
        await move.open([instance(1), instance()])
        wrong = DataSet(failure=Invalid("The data set does not have its digest"))
        with pytest.raises(Invalid):
            await move.store(instance(1), EXPLICIT, wrong)
        assert wrong.reads == 1
        assert await move.store(instance(), EXPLICIT, DataSet()) == 0
        await move.close()
    assert received(tmp_path) == [CONTENT]


def beside(move: MoveSender, message: FakeMessage) -> MoveSender:
    """Return another move to the same destination, which takes one association at once."""
    return MoveSender(move._associations, move._destination, message, reopened_after=(0.0, 0.0))


async def test_a_cancel_ends_the_wait_for_a_busy_destination() -> None:
    async with served(lambda _: 0) as port:
        first = sender("127.0.0.1", port)
        await first.open([instance()])
        second = beside(first, message := move_message())
        waiting = asyncio.create_task(second.open([instance()]))
        await asyncio.sleep(0)
        assert not waiting.done()
        message.cancelled.set()
        assert not await waiting
        await second.close()
        await first.close()


class Aborting:
    """A destination that aborts during each C-STORE, after `then` was called."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.then, self.stores = then, 0
        self._loop = asyncio.get_running_loop()

    def __call__(self, event: Any) -> int:
        self.stores += 1
        self._loop.call_soon_threadsafe(self.then)
        event.assoc.abort()
        return 0


async def test_after_a_cancel_a_lost_association_is_not_opened_again() -> None:
    message = move_message()
    destination = Aborting(message.cancelled.set)
    async with served(destination) as port, asyncio.timeout(60):
        move = sender("127.0.0.1", port, message, reopened_after=(3600.0, 3600.0))
        await move.open([instance()])
        with pytest.raises(AssociationLost):
            await move.store(instance(), EXPLICIT, DataSet())
        await move.close()
    assert destination.stores == 1


async def test_a_cancel_ends_the_wait_for_the_association_in_which_to_send_again() -> None:
    destination = Aborting()
    async with served(destination) as port, asyncio.timeout(60):
        move = beside(sender("127.0.0.1", port), message := move_message())
        await move.open([instance()])
        other = beside(move, move_message())
        opening = asyncio.create_task(other.open([instance()]))
        await asyncio.sleep(0)
        storing = asyncio.create_task(move.store(instance(), EXPLICIT, DataSet()))
        assert await opening
        assert not storing.done()
        message.cancelled.set()
        with pytest.raises(AssociationLost):
            await storing
        await move.close()
        await other.close()
    assert destination.stores == 1


async def test_after_a_cancel_an_instance_that_needs_another_association_remains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with served(lambda _: 0) as port:
        move = sender("127.0.0.1", port, message := move_message())
        await move.open([instance()])
        await move.close()
        message.cancelled.set()
        opened: list[Any] = []
        monkeypatch.setattr(move._associations, "open", lambda *given: opened.append(given))
        data_set = DataSet()
        with pytest.raises(NotBegun):
            await move.store(instance(), EXPLICIT, data_set)
        assert not data_set.reads
        assert not await move.open([instance()])
        assert opened == []
        await move.close()

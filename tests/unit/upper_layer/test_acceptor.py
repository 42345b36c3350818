"""Over real sockets on 127.0.0.1; the rules themselves are played in `test_association`."""

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.upper_layer.acceptor import Acceptor, listener
from dimse_ingestion.upper_layer.limits import UpperLayerLimits
from dimse_ingestion.upper_layer.services import Message
from tests import requestor_bytes as peer
from tests.recording_services import RecordingServices

ECHO = peer.message(peer.command(0x0030, 7))
FIND_COMMAND = peer.command(0x0020, 5, AffectedSOPClassUID=peer.CT, CommandDataSetType=1)
FIND = peer.message(FIND_COMMAND, b"question")
ACCEPT, P_DATA, RELEASE_RP, ABORT = 2, 4, 6, 7


@dataclass
class Requestor:
    """A connection that speaks whole PDUs."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def receive(self) -> tuple[int, bytes]:
        """Return type and content of the next PDU."""
        async with asyncio.timeout(10):
            header = await self.reader.readexactly(6)
            return header[0], await self.reader.readexactly(int.from_bytes(header[2:]))

    async def is_closed(self) -> bool:
        async with asyncio.timeout(10):
            try:
                return not await self.reader.read(1)
            except ConnectionError:
                return True

    async def associated(self) -> "Requestor":
        await self.send(peer.associate_rq())
        assert (await self.receive())[0] == ACCEPT
        return self

    async def echo(self) -> None:
        await self.send(ECHO)
        assert (await self.receive())[0] == P_DATA

    async def release(self) -> None:
        await self.send(peer.release_rq())
        assert (await self.receive())[0] == RELEASE_RP


@asynccontextmanager
async def connected(
    address: tuple[str, int], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Requestor]:
    name = "localhost" if tls else None
    reader, writer = await asyncio.open_connection(*address, ssl=tls, server_hostname=name)
    try:
        yield Requestor(reader, writer)
    finally:
        writer.transport.abort()


async def test_an_association_over_a_socket() -> None:
    services = RecordingServices()
    async with listener(services, "127.0.0.1", 0) as address, connected(address) as requestor:
        await requestor.associated()
        await requestor.echo()
        await requestor.send(peer.store(bytes(10**6)))
        assert (await requestor.receive())[0] == P_DATA
        await requestor.release()
    assert services.stored == [bytes(10**6)]
    assert services.ends == ["released"]
    assert services.requests[0].peer_address == "127.0.0.1"


async def test_connections_share_one_buffer_and_never_each_others_bytes() -> None:
    services = RecordingServices()
    async with listener(services, "127.0.0.1", 0) as address:

        async def store(number: int) -> None:
            async with connected(address) as requestor:
                await requestor.associated()
                content = peer.store(bytes([number]) * 300_001, longest=7001)
                for start in range(0, len(content), 5003):
                    await requestor.send(content[start : start + 5003])
                assert (await requestor.receive())[0] == P_DATA

        await asyncio.gather(*(store(number) for number in range(8)))
    assert sorted(services.stored) == [bytes([number]) * 300_001 for number in range(8)]


async def test_a_lost_connection_ends_the_association() -> None:
    services = RecordingServices()
    async with listener(services, "127.0.0.1", 0) as address:
        async with connected(address) as requestor:
            await requestor.associated()
            await requestor.send(peer.store(bytes(10**6))[:500_000])
            await services.eventually(lambda: bool(services.sinks))
        await services.eventually(lambda: services.ends == ["lost"])
        assert services.sinks[0].abandoned


async def test_one_connection_too_many_is_closed() -> None:
    limits = UpperLayerLimits(maximum_connections=1)
    async with listener(RecordingServices(), "127.0.0.1", 0, limits) as address:
        async with connected(address) as first:
            await first.associated()
            async with connected(address) as second:
                assert await second.is_closed()
            await first.echo()
        async with asyncio.timeout(10):
            while True:
                async with connected(address) as third:
                    await third.send(peer.associate_rq())
                    if not await third.is_closed():
                        break


@pytest.mark.parametrize("sent", [b"", peer.associate_rq()[:40]], ids=["nothing", "a part"])
async def test_a_proposal_that_does_not_come_in_time_closes(sent: bytes) -> None:
    limits = UpperLayerLimits(artim_timeout=0.1)
    async with (
        listener(RecordingServices(), "127.0.0.1", 0, limits) as address,
        connected(address) as requestor,
    ):
        await requestor.send(sent)
        assert await requestor.is_closed()


@pytest.mark.parametrize(
    ("limits", "sent"),
    [
        (UpperLayerLimits(idle_timeout=0.2), b""),
        (UpperLayerLimits(dimse_timeout=0.2), ECHO[:20]),
        (UpperLayerLimits(dimse_timeout=0.2), peer.p_data((1, 3, peer.store_command()))),
    ],
    ids=["idle", "within a PDU", "within a message"],
)
async def test_a_silent_peer_is_aborted(limits: UpperLayerLimits, sent: bytes) -> None:
    services = RecordingServices()
    async with (
        listener(services, "127.0.0.1", 0, limits) as address,
        connected(address) as requestor,
    ):
        await requestor.associated()
        await requestor.send(sent)
        assert await requestor.receive() == (ABORT, bytes(4))
    assert services.ends == ["aborted"]


async def test_a_peer_waiting_for_its_answer_is_not_silent() -> None:
    async def slowly(message: Message) -> None:
        await asyncio.sleep(2 * patience)  # what is measured: an answer that takes longer
        await message.respond(Status.SUCCESS)

    patience = 1.5  # so long a busy machine may need from the acceptance to the request
    limits = UpperLayerLimits(idle_timeout=patience, dimse_timeout=patience)
    async with (
        listener(RecordingServices(slowly), "127.0.0.1", 0, limits) as address,
        connected(address) as requestor,
    ):
        await requestor.associated()
        await requestor.echo()


async def test_a_peer_that_reads_nothing_is_aborted() -> None:
    async def flood(message: Message) -> None:
        while not message.cancelled.is_set():
            await message.respond(Status.PENDING, identifier=bytes(100_000))

    services = RecordingServices(flood)
    limits = UpperLayerLimits(write_timeout=0.2)
    async with (
        listener(services, "127.0.0.1", 0, limits) as address,
        connected(address) as requestor,
    ):
        await requestor.associated()
        requestor.writer.transport.pause_reading()  # type: ignore[attr-defined] # it is a WriteTransport to typeshed
        await requestor.send(FIND)
        await services.eventually(lambda: services.ends == ["aborted"])


async def test_garbage_at_the_port_harms_nobody_else() -> None:
    services = RecordingServices()
    chance = random.Random(1)
    hello = peer.associate_rq()
    async with listener(services, "127.0.0.1", 0) as address, connected(address) as neighbour:
        await neighbour.associated()
        for length in (1, 5, 6, 74, 1000, 300_000):
            for prefix in (b"", hello[:60], hello, hello + peer.store(b"data")[:90]):
                async with connected(address) as stranger:
                    stranger.writer.write(prefix + chance.randbytes(length))
        await neighbour.echo()
        await neighbour.release()
        await services.eventually(lambda: len(services.ends) == len(services.requests))
    assert all(sink.abandoned for sink in services.sinks)


# the end


async def test_a_stop_waits_for_what_is_under_way_and_aborts_the_rest() -> None:
    go = asyncio.Event()

    async def answer(message: Message) -> None:
        await go.wait()
        await message.respond(Status.SUCCESS)

    services = RecordingServices(answer)
    acceptor = Acceptor(services)
    address = await acceptor.start("127.0.0.1", 0)
    async with connected(address) as busy, connected(address) as other:
        await busy.associated()
        await other.associated()
        await busy.send(ECHO)
        await services.eventually(lambda: bool(services.performed))
        stopping = asyncio.create_task(acceptor.stop(drain=0.5))
        go.set()
        assert (await busy.receive())[0] == P_DATA
        await busy.release()
        assert (await other.receive())[0] == ABORT
        await stopping
    assert sorted(services.ends) == ["aborted", "released"]
    with pytest.raises(OSError, match=r"Connect"):
        async with connected(address):
            pass


async def test_a_stop_cancels_what_does_not_end() -> None:
    cancelled = []

    async def answer(message: Message) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(message.command.message_id)

    services = RecordingServices(answer)
    async with listener(services, "127.0.0.1", 0) as address, connected(address) as requestor:
        await requestor.associated()
        await requestor.send(ECHO)
        await services.eventually(lambda: bool(services.performed))
    assert cancelled == [7]
    assert services.ends == ["aborted"]


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


async def test_an_association_over_tls(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    services = RecordingServices()
    async with (
        listener(services, "127.0.0.1", 0, tls=server_tls) as address,
        connected(address, client_tls) as requestor,
    ):
        await requestor.associated()
        await requestor.send(peer.store(bytes(10**6)))
        assert (await requestor.receive())[0] == P_DATA
        await requestor.release()
    assert services.stored == [bytes(10**6)]


async def test_a_failed_handshake_gives_its_place_back(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    limits = UpperLayerLimits(maximum_connections=1)
    async with listener(RecordingServices(), "127.0.0.1", 0, limits, server_tls) as address:
        async with connected(address) as plain:
            await plain.send(peer.associate_rq())
            assert await plain.is_closed()
        async with connected(address, client_tls) as requestor:
            await requestor.associated()
            await requestor.echo()


async def test_a_peer_without_a_required_certificate_is_refused(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path
) -> None:
    server_tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server_tls)
    services = RecordingServices()
    async with listener(services, "127.0.0.1", 0, tls=server_tls) as address:
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            async with connected(address, client_tls) as stranger:
                await stranger.associated()
        authority.issue_cert("modality").configure_cert(client_tls)
        async with connected(address, client_tls) as known:
            await known.associated()
    assert len(services.requests) == 1


@asynccontextmanager
async def adopting(
    acceptor: Acceptor, closed: asyncio.Queue[None]
) -> AsyncIterator[tuple[str, int]]:
    """Yield an address whose connections are accepted here and served by the acceptor."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)

        async def accept() -> None:
            while True:
                plain, _ = await loop.sock_accept(listening)
                acceptor.adopt(plain, lambda: closed.put_nowait(None))

        accepting = asyncio.create_task(accept())
        try:
            yield listening.getsockname()
        finally:
            accepting.cancel()
            await acceptor.stop()


async def test_a_connection_that_another_process_accepted_is_served_until_it_closes() -> None:
    services, closed = RecordingServices(), asyncio.Queue[None]()
    async with adopting(Acceptor(services), closed) as address:
        async with connected(address) as requestor:
            await requestor.associated()
            await requestor.send(peer.store(bytes(10**6)))
            assert (await requestor.receive())[0] == P_DATA
            assert closed.empty()
            await requestor.release()
        await asyncio.wait_for(closed.get(), 10)
    assert services.stored == [bytes(10**6)]
    assert services.requests[0].peer_address == "127.0.0.1"
    assert closed.empty()


async def test_an_adopted_connection_uses_tls_and_is_closed_when_its_handshake_fails(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    closed = asyncio.Queue[None]()
    async with adopting(Acceptor(RecordingServices(), tls=server_tls), closed) as address:
        async with connected(address) as plain:
            await plain.send(peer.associate_rq())
            assert await plain.is_closed()
        await asyncio.wait_for(closed.get(), 10)
        async with connected(address, client_tls) as secure:
            await secure.associated()
            await secure.echo()
        await asyncio.wait_for(closed.get(), 10)
    assert closed.empty()


async def test_an_adopted_connection_too_many_is_closed() -> None:
    closed = asyncio.Queue[None]()
    limits = UpperLayerLimits(maximum_connections=1)
    async with adopting(Acceptor(RecordingServices(), limits), closed) as address:
        async with connected(address) as first:
            await first.associated()
            async with connected(address) as second:
                assert await second.is_closed()
            await asyncio.wait_for(closed.get(), 10)
            await first.echo()
        await asyncio.wait_for(closed.get(), 10)

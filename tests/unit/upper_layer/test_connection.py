"""Bytes and time of one connection, on a transport in memory."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from dimse_ingestion.upper_layer.association import Association
from dimse_ingestion.upper_layer.connection import Connection
from dimse_ingestion.upper_layer.limits import UpperLayerLimits
from tests import requestor_bytes as peer
from tests.recording_services import RecordingServices

if TYPE_CHECKING:
    from dimse_ingestion.upper_layer.services import Services
    from dimse_ingestion.upper_layer.transport_connection import TransportConnection


class MemoryTransport(asyncio.Transport):
    """A transport that records its calls."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.1", 4711)})
        self.written = bytearray()
        self.closed = asyncio.Event()
        self._reading = True

    def is_reading(self) -> bool:
        """Return whether reading continues; asyncio has this under the same name."""
        return self._reading

    def write(self, data: Any) -> None:
        if self.closed.is_set():
            raise RuntimeError("the handler is closed")  # as uvloop does
        self.written += data

    def abort(self) -> None:
        self.closed.set()

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True


class Host:
    """An acceptor of one connection."""

    def __init__(self, *, accepts: bool = True) -> None:
        self.recorded = RecordingServices()
        self.services: Services = self.recorded
        self.limits = UpperLayerLimits(artim_timeout=0.05, write_timeout=0.05)
        self.buffer = memoryview(bytearray(64 * 1024))
        self.accepts = accepts
        self.gone: list[Connection] = []

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        return asyncio.create_task(work, name=name)

    def create_association(
        self, connection: "TransportConnection", peer: tuple[str, int]
    ) -> Association:
        return Association(self.services, self.limits, connection, self.spawn, peer)

    def add_connection(self, connection: Connection) -> bool:
        return self.accepts

    def remove_connection(self, connection: Connection) -> None:
        self.gone.append(connection)


@pytest.fixture
async def host() -> Host:
    return Host()


@pytest.fixture
async def transport() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
async def connection(host: Host, transport: MemoryTransport) -> AsyncIterator[Connection]:
    made = Connection(host)
    made.connection_made(transport)
    yield made
    if not host.gone:
        made.connection_lost(None)


def receive(connection: Connection, content: bytes) -> None:
    buffer = connection.get_buffer(-1)
    buffer[: len(content)] = content
    connection.buffer_updated(len(content))


async def established(connection: Connection) -> None:
    receive(connection, peer.associate_rq())
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_reads_into_its_hosts_buffer(host: Host, connection: Connection) -> None:
    assert connection.get_buffer(-1) is host.buffer
    await established(connection)
    assert host.recorded.requests[0].peer_address == "10.0.0.1"
    assert host.recorded.requests[0].peer_port == 4711


async def test_a_connection_that_the_acceptor_refuses_is_closed(transport: MemoryTransport) -> None:
    host = Host(accepts=False)
    made = Connection(host)
    made.connection_made(transport)
    assert transport.is_closing()
    made.connection_lost(None)
    assert host.gone == [made]


async def test_artim_closes(transport: MemoryTransport, connection: Connection) -> None:
    async with asyncio.timeout(60):
        await transport.closed.wait()
    assert not transport.written
    assert connection.silent_for() > 0


async def test_bytes_for_a_closed_connection_are_dropped(
    transport: MemoryTransport, connection: Connection
) -> None:
    connection.close()
    connection.write(b"late")
    connection.write_pieces([b"later", b"still"])
    assert transport.written == b""


@pytest.mark.parametrize(("tls", "writes"), [(None, [b"ab", b"cd"]), (object(), [b"abcd"])])
async def test_pieces_are_joined_only_over_tls(tls: object | None, writes: list[bytes]) -> None:
    class Recording(MemoryTransport):
        def write(self, data: Any) -> None:
            written.append(data)

        def writelines(self, list_of_data: Any) -> None:
            written.extend(list_of_data)

        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return tls if name == "ssl_object" else super().get_extra_info(name, default)

    written: list[bytes] = []
    made = Connection(Host())
    made.connection_made(Recording())
    made.write_pieces([b"ab", memoryview(b"cd")])
    assert written == writes
    made.connection_lost(None)


async def test_a_writer_waits_until_it_may_write(connection: Connection) -> None:
    await established(connection)
    connection.pause_writing()
    waiting = asyncio.create_task(connection.drain())
    await asyncio.sleep(0)
    assert not waiting.done()
    connection.resume_writing()
    await waiting


async def test_a_peer_that_reads_nothing_is_given_up(
    host: Host, transport: MemoryTransport, connection: Connection
) -> None:
    await established(connection)
    connection.pause_writing()
    async with asyncio.timeout(60):
        await transport.closed.wait()
    assert host.recorded.ends == ["aborted"]


async def test_a_lost_connection_frees_its_writer_and_its_timers(
    host: Host, connection: Connection
) -> None:
    await established(connection)
    connection.pause_writing()
    waiting = asyncio.create_task(connection.drain())
    connection.connection_lost(None)
    await waiting
    assert host.recorded.ends == ["lost"]
    assert host.gone == [connection]


async def test_reading_pauses_and_goes_on_unless_it_is_closing(
    transport: MemoryTransport, connection: Connection
) -> None:
    connection.pause_reading()
    assert not transport.is_reading()
    connection.resume_reading()
    assert transport.is_reading()
    transport.abort()
    connection.pause_reading()
    assert transport.is_reading()


TINY = b"\0\0\0\x03\x01\0x"  # a presentation data value of one byte


async def test_a_flood_of_tiny_values_is_taken_in_turns_and_in_order(
    host: Host, transport: MemoryTransport, connection: Connection
) -> None:
    await established(connection)
    values = 5000
    receive(connection, peer.p_data((1, 3, peer.store_command())))
    receive(connection, b"\x04\0" + (values * len(TINY)).to_bytes(4) + TINY * values)
    assert not transport.is_reading()
    (sink,) = host.recorded.sinks
    seen = [len(sink.content)]
    while len(sink.content) < values:
        host.buffer[:] = bytes(len(host.buffer))  # another connection reads into it
        await asyncio.sleep(0)
        seen.append(len(sink.content))
    assert bytes(sink.content) == b"x" * values
    assert max(after - before for before, after in pairwise(seen)) <= 64
    await asyncio.sleep(0)
    assert transport.is_reading()


async def test_what_was_read_already_waits_while_reading_is_paused(
    host: Host, transport: MemoryTransport, connection: Connection
) -> None:
    await established(connection)
    receive(connection, peer.p_data((1, 3, peer.store_command())))
    receive(connection, b"\x04\0" + (500 * len(TINY)).to_bytes(4) + TINY * 500)
    connection.pause_reading()
    taken = len(host.recorded.sinks[0].content)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(host.recorded.sinks[0].content) == taken < 500
    connection.resume_reading()
    assert not transport.is_reading()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(host.recorded.sinks[0].content) == 500
    assert transport.is_reading()


async def test_a_request_sent_with_the_proposal_is_performed(
    host: Host, transport: MemoryTransport, connection: Connection
) -> None:
    echo = peer.p_data((1, 3, peer.command(0x0030, AffectedSOPClassUID=peer.VERIFICATION)))
    receive(connection, peer.associate_rq() + echo)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(host.recorded.performed) == 1
    assert transport.is_reading()


async def test_a_lost_connection_drops_what_was_not_taken(
    host: Host, connection: Connection
) -> None:
    await established(connection)
    receive(connection, peer.p_data((1, 3, peer.store_command())))
    receive(connection, b"\x04\0" + (500 * len(TINY)).to_bytes(4) + TINY * 500)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    assert host.recorded.sinks[0].abandoned

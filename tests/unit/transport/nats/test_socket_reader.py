"""The reader that takes the place of nats-py's streams, on both event loops."""

import asyncio
from typing import Any

import pytest
import uvloop
from nats.aio.transport import TcpTransport

from dimse_ingestion.transport.nats.server_protocol import MalformedServerData, Parser
from dimse_ingestion.transport.nats.socket_reader import SocketReader, read_socket

LONG = bytes(range(256)) * 2000


class Recording:
    """Record every message."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.other = 0

    def on_message(self, number: int, subject: bytes, reply: bytes, body: bytes, _: Any) -> None:
        assert (number, subject, reply) == (7, b"A.b", b"")
        self.bodies.append(body)

    def on_error(self, text: str) -> None:
        self.other += bool(text)

    def on_ping(self) -> None:
        self.other += 1

    on_pong = on_ping

    def on_info(self, info: dict[str, Any]) -> None:
        self.other += len(info)


def message(body: bytes) -> bytes:
    return b"MSG A.b 7 %d\r\n%b\r\n" % (len(body), body)


def read(sent: bytes, before: int = 0) -> tuple[Recording, Exception | None]:
    """Read what a server sends until it ends; the streams have `before` bytes of it already."""
    return asyncio.run(_read(sent, before))


async def _read(sent: bytes, before: int) -> tuple[Recording, Exception | None]:
    switched = asyncio.Event()

    async def send(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent[:before])
        await switched.wait()
        writer.write(sent[before:])
        writer.close()

    recording = Recording()
    async with await asyncio.start_server(send, "127.0.0.1", 0) as server:
        transport = TcpTransport()  # type: ignore[no-untyped-call] # of nats-py
        stream, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        transport._io_reader, transport._io_writer = stream, writer
        while len(vars(stream)["_buffer"]) < before:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0)
        reader: SocketReader = read_socket(transport, Parser(recording))
        switched.set()
        async with asyncio.timeout(10):
            error = await reader.closed
            with pytest.raises(ConnectionResetError):
                await reader.wait_writable()
        writer.transport.abort()
    return recording, error


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], autouse=True)
def each_event_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.events, "_event_loop_policy", request.param())


@pytest.mark.parametrize("before", [0, 5, 9, 16, 100_000])
def test_messages_are_read_wherever_the_streams_have_ended(before: int) -> None:
    bodies = [b"one", LONG, b"", LONG, b"two"]
    sent = b"".join(map(message, bodies))
    recording, error = read(sent, before)
    assert recording.bodies == bodies
    assert error is None


def test_many_messages_in_one_read_are_all_passed_on() -> None:
    recording, error = read(message(b"") * 20_000)
    assert len(recording.bodies) == 20_000
    assert error is None


def test_what_no_server_sends_ends_the_reading() -> None:
    recording, error = read(message(b"one") + b"WHAT\r\n")
    assert recording.bodies == [b"one"]
    assert isinstance(error, MalformedServerData)
    assert str(error) == "it sent a line that is not of the NATS protocol"

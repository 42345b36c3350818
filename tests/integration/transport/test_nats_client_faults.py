"""The NATS client's reactions to failures of NATS, of the network and of nats-py."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from dimse_ingestion.transport.carrier import CarrierDown, Delivery
from harness.nats_server import NatsServer, nats_server
from harness.ports import free_port
from tests.nats_clients import QUICK, ReceivedMessages, connected_client, eventually, started_client


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as running:
        yield running


@pytest.fixture
def other(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "other") as running:
        yield running


async def test_a_killed_server_is_reported_at_once_and_reconnected_to(server: NatsServer) -> None:
    received, changes = ReceivedMessages(), list[bool]()
    async with connected_client(server.url) as client:
        await client.subscribe("a", received)
        client.on_change(changes.append)
        server.kill()
        await eventually(lambda: changes, [False])
        assert not client.connected
        assert "lost" in client.problem or "not reached" in client.problem
        with pytest.raises(CarrierDown):
            client.publish("a", b"x")
        server.start()
        await eventually(lambda: changes, [False, True])
        assert (client.connected, client.generation, client.problem) == (True, 2, "")
        client.publish("a", b"x")
        await eventually(lambda: received.bodies, [b"x"])


async def test_waiting_for_the_buffer_ends_when_the_connection_breaks(
    server: NatsServer,
) -> None:
    async with connected_client(server.url) as client:
        server.pause()
        for _ in range(40):
            client.publish("a", bytes(1_000_000))
        waiting = asyncio.create_task(client.wait_writable())
        await asyncio.sleep(0)
        server.kill()
        with pytest.raises(CarrierDown):
            await asyncio.wait_for(waiting, 60)


async def test_a_frozen_server_is_replaced_even_with_bytes_unsent(
    server: NatsServer, other: NatsServer
) -> None:
    async with connected_client([server.url, other.url], **QUICK) as client:
        first, second = (server, other) if _clients(server) else (other, server)
        first.pause()
        for _ in range(40):
            client.publish("a", bytes(1_000_000))
        await eventually(lambda: client.generation > 1)
        await eventually(lambda: (client.connected, _clients(second) > 0), (True, True))
        await eventually(lambda: _sockets_to(first), 0)
        first.resume()


async def test_a_frozen_server_is_reported_and_reconnected_to_when_it_resumes(
    server: NatsServer,
) -> None:
    async with connected_client(server.url, **QUICK) as client:
        server.pause()
        await eventually(lambda: client.connected, wanted=False)
        await eventually(lambda: client.problem, "did not answer in time")
        server.resume()
        await eventually(lambda: (client.connected, client.problem), (True, ""))


async def test_a_client_without_pings_is_not_connected(server: NatsServer) -> None:
    async with connected_client(server.url, **QUICK) as client:
        for task in asyncio.all_tasks():
            if task.get_name() == "nats keep alive":
                task.cancel()  # stops the pings
        await eventually(lambda: client.connected, wanted=False)
        assert "no answer to a ping" in client.problem


async def test_a_server_that_starts_late_is_reached(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    async with started_client(server.url) as client:
        await eventually(lambda: client.problem, "connection refused")
        server.start()
        try:
            await client.wait_connected(10)
            assert client.problem == ""
        finally:
            server.kill()


async def test_a_name_that_does_not_resolve_is_reported() -> None:
    async with started_client("nats://nowhere.invalid:4222") as client:
        await eventually(lambda: client.problem, "nowhere.invalid:4222 can't be found")


async def test_a_server_that_is_not_nats_is_reported() -> None:
    async def greets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")

    async with _listening(greets) as address, started_client(address) as client:
        await eventually(lambda: client.problem, "expecting INFO")


@pytest.mark.parametrize("pings", [None, 0, 1], ids=["no greeting", "no pong", "one pong"])
async def test_a_silent_server_delays_no_attempt(pings: int | None) -> None:
    tries = list[int]()

    async def falls_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(1)
        if pings is not None:
            await _greeted(reader, writer, pings, go_on=False)
        await reader.read()

    async with (
        _listening(falls_silent) as address,
        started_client(address, connect_timeout=0.2) as client,
    ):
        await eventually(lambda: len(tries) >= 3)
        assert "did not answer in time" in client.problem


@pytest.mark.parametrize("pings", [2, 3], ids=["while connecting", "when connected"])
async def test_an_error_of_the_server_leads_to_a_new_connection(pings: int) -> None:
    """Reconnect after any error; nats-py would give up for good."""
    connections = list[int]()

    async def ends_the_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        await _greeted(reader, writer, pings)
        if len(connections) == 1:
            writer.write(b"-ERR 'Something Unheard Of'\r\n")

    async with _listening(ends_the_first) as address, started_client(address) as client:
        await eventually(lambda: (len(connections), client.connected), (2, True))
        assert client.problem == ""


async def test_a_pong_that_nobody_awaits_keeps_the_connection(server: NatsServer) -> None:
    async with connected_client(server.url) as client:
        server.pause()
        waiting = asyncio.create_task(client.subscribe("a", ReceivedMessages()))
        await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        server.resume()
        received = ReceivedMessages()
        await client.subscribe("b", received)
        client.publish("b", b"x")
        await eventually(lambda: received.bodies, [b"x"])
        assert client.generation == 1


async def test_an_exception_in_a_callback_keeps_the_connection(server: NatsServer) -> None:
    received, changes = ReceivedMessages(), list[bool]()

    def fails(_: object) -> None:
        raise RuntimeError("a mistake of ours")

    def fails_then_takes(delivery: Delivery) -> None:
        received(delivery)
        fails(delivery)

    async with connected_client(server.url) as client:
        client.on_change(fails)
        client.on_change(changes.append)
        await client.subscribe("a", fails_then_takes)
        client.publish("a", b"1")
        client.publish("a", b"2")
        await eventually(lambda: received.bodies, [b"1", b"2"])
        server.restart()
        await eventually(lambda: changes, [False, True])
        client.publish("a", b"3")
        await eventually(lambda: received.bodies, [b"1", b"2", b"3"])


async def test_a_server_in_lame_duck_mode_is_left_before_it_stops(
    server: NatsServer, other: NatsServer
) -> None:
    timeout = {"lame_duck_duration": "60s", "lame_duck_grace_period": "50s"}
    for each in (server, other):
        each.configuration.update(timeout)
        each.restart()
    received = ReceivedMessages()
    async with connected_client([server.url, other.url]) as client:
        await client.subscribe("a", received)
        leaving = server if _clients(server) else other
        leaving.enter_lame_duck_mode()
        await eventually(lambda: (client.generation, client.connected), (2, True))
        client.publish("a", b"x")
        await eventually(lambda: received.bodies, [b"x"])


async def test_a_single_server_in_lame_duck_mode_is_used_until_it_stops(server: NatsServer) -> None:
    server.configuration |= {"lame_duck_duration": "60s", "lame_duck_grace_period": "50s"}
    server.restart()
    received = ReceivedMessages()
    async with connected_client(server.url) as client:
        await client.subscribe("a", received)
        server.enter_lame_duck_mode()
        await eventually(client._reconnect_needed.is_set)
        for _ in range(5):
            client.publish("a", b"x")
            await asyncio.sleep(0.1)
        assert (len(received.deliveries), client.generation, client.problem) == (5, 1, "")
        server.restart()
        await eventually(lambda: (client.generation, client.connected), (2, True))


async def test_attempts_to_connect_are_spread_out_in_time() -> None:
    tries = list[float]()

    async def turns_away(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(asyncio.get_running_loop().time())
        writer.close()

    async with _listening(turns_away) as address, started_client(address, max_backoff=0.8):
        await eventually(lambda: len(tries) >= 5)
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert pauses[3] >= 0.4
    assert pauses[0] >= 0.1


def _clients(server: NatsServer) -> int:
    """Return the number of connections of a server, from the sockets of its process."""
    assert server.process is not None
    connections = psutil.Process(server.process.pid).net_connections()
    return sum(each.status == psutil.CONN_ESTABLISHED for each in connections)


def _sockets_to(server: NatsServer) -> int:
    """Return the number of this process's connections to a server."""
    held = (each.raddr for each in psutil.Process().net_connections("tcp") if each.raddr)
    return sum(address.port == server.port for address in held)


async def _greeted(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pings: int, *, go_on: bool = True
) -> None:
    """Send INFO as NATS does, answer so many pings, and then all others or none."""
    writer.write(b'INFO {"server_id":"x","version":"2.15.1","headers":true,"max_payload":1000}\r\n')
    for _ in range(pings):
        while not (await reader.readline()).startswith(b"PING"):
            pass
        writer.write(b"PONG\r\n")
    if go_on:
        asyncio.get_running_loop().create_task(_answer_pings(reader, writer))


async def _answer_pings(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        if line.startswith(b"PING"):
            writer.write(b"PONG\r\n")


@asynccontextmanager
async def _listening(serve: Any) -> AsyncIterator[str]:
    """Run a server that is not NATS; yield its address."""
    port = free_port()
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield f"nats://127.0.0.1:{port}"
    finally:
        server.close()

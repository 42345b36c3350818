"""The NATS client on a real nats-server: messages, subscriptions, limits and closing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from dimse_ingestion.transport.carrier import CarrierDown
from dimse_ingestion.transport.nats.connection import MessageTooLarge
from harness.nats_server import NatsServer, nats_server
from tests.nats_clients import ReceivedMessages, connected_client, eventually, made, started_client

KIB = 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as running:
        yield running


async def test_subject_body_reply_and_headers_arrive_as_they_were_sent(server: NatsServer) -> None:
    received = ReceivedMessages()
    async with connected_client(server.url) as client:
        await client.subscribe("R.v1.>", received)
        headers = {"Dimse-Op": "data", "traceparent": "00-abc", "Grüße": "an alle"}
        client.publish("R.v1.in.a", b"\r\n\x00body", reply="R.inbox", headers=headers)
        client.publish("R.v1.in.b", b"")
        await eventually(lambda: len(received.deliveries), 2)
    first, second = received.deliveries
    assert (first.subject, first.body, first.reply) == ("R.v1.in.a", b"\r\n\x00body", "R.inbox")
    assert first.headers == headers
    assert (second.subject, second.body, second.reply, dict(second.headers)) == (
        "R.v1.in.b",
        b"",
        "",
        {},
    )


async def test_messages_keep_their_order_whatever_their_size(server: NatsServer) -> None:
    received = ReceivedMessages()
    bodies = [bytes([index % 251]) * (1 if index % 3 else 200 * KIB) for index in range(100)]
    async with connected_client(server.url) as client:
        await client.subscribe("a", received)
        for body in bodies:
            client.publish("a", body, headers={"n": "1"} if len(body) > 1 else None)
        await eventually(lambda: len(received.deliveries), len(bodies))
    assert received.bodies == bodies


async def test_a_subject_without_subscribers_is_answered_at_once(server: NatsServer) -> None:
    received = ReceivedMessages()
    async with connected_client(server.url) as client:
        await client.subscribe("inbox.*", received)
        client.publish("nobody", b"x", reply="inbox.1")
        await eventually(lambda: [each.is_no_responders for each in received.deliveries], [True])


async def test_a_queue_group_shares_its_messages(server: NatsServer) -> None:
    one, other = ReceivedMessages(), ReceivedMessages()
    async with connected_client(server.url) as first, connected_client(server.url) as second:
        await first.subscribe("svc", one, queue="svc")
        await second.subscribe("svc", other, queue="svc")
        for _ in range(200):
            first.publish("svc", b"x")
        await eventually(lambda: len(one.deliveries) + len(other.deliveries), 200)
    assert one.deliveries
    assert other.deliveries


async def test_a_drain_delivers_messages_on_their_way_and_accepts_none_after(
    server: NatsServer,
) -> None:
    received = ReceivedMessages()
    async with connected_client(server.url) as client:
        subscription = await client.subscribe("a", received)
        for index in range(500):
            client.publish("a", str(index).encode())
        await subscription.drain()
        assert len(received.deliveries) == 500
        client.publish("a", b"late")
        await (await client.subscribe("b", received)).drain()
        assert len(received.deliveries) == 500


async def test_what_was_published_before_closing_arrives(server: NatsServer) -> None:
    received = ReceivedMessages()
    async with connected_client(server.url) as listener:
        await listener.subscribe("a", received)
        async with connected_client(server.url) as client:
            for _ in range(20):
                client.publish("a", bytes(500 * KIB))
        await eventually(lambda: len(received.deliveries), 20)
    with pytest.raises(CarrierDown, match="closed"):
        client.publish("a", b"x")


async def test_a_chunk_of_exactly_the_maximum_payload_passes_and_one_byte_more_is_refused_here(
    server: NatsServer,
) -> None:
    received = ReceivedMessages()
    headers = {"Dimse-Op": "data"}
    overhead = len(b"NATS/1.0\r\nDimse-Op: data\r\n\r\n")
    async with connected_client(server.url) as client:
        await client.subscribe("a", received)
        client.publish("a", bytes(client.maximum_payload - overhead), headers=headers)
        with pytest.raises(MessageTooLarge, match="max_payload"):
            client.publish("a", bytes(client.maximum_payload - overhead + 1), headers=headers)
        client.publish("a", b"still here")
        await eventually(lambda: len(received.deliveries), 2)
        assert client.generation == 1


async def test_the_maximum_payload_is_read_at_each_connect(server: NatsServer) -> None:
    async with connected_client(server.url) as client:
        assert client.maximum_payload == 1024 * KIB
        server.configuration["max_payload"] = 64 * KIB
        server.restart()
        await eventually(lambda: client.maximum_payload, 64 * KIB)


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB x 0\r\n\r\n", "a\tb"])
async def test_a_subject_cannot_inject_a_command(server: NatsServer, subject: str) -> None:
    async with connected_client(server.url) as client:
        with pytest.raises(ValueError, match="not a NATS subject"):
            client.publish(subject, b"x")
        with pytest.raises(ValueError, match="line break"):
            client.publish("a", b"x", headers={"a": "b\r\nc: d"})
        if subject:
            with pytest.raises(ValueError, match="not a NATS subject"):
                client.publish("a", b"x", reply=subject)
            with pytest.raises(ValueError, match="not a NATS subject"):
                await client.subscribe(subject, ReceivedMessages())


@pytest.mark.parametrize(
    "published",
    [
        b"PUB R.x\x0by 2\r\nhi\r\n",
        b"PUB R.x\x0cy 2\r\nhi\r\n",
        b"PUB R.x\ry 2\r\nhi\r\n",
        b"PUB R.\xff\xfe 2\r\nhi\r\n",
        b"PUB R.a _\x0b_ 2\r\nhi\r\n",
        b"PUB R.a \xff 2\r\nhi\r\n",
        b"HPUB R.a 5 5\r\nABCDE\r\n",
        b"HPUB R.a 15 15\r\nNATS/1.0\xff: \r\n\r\n\r\n",
    ],
)
async def test_no_message_of_another_publisher_ends_the_connection(
    server: NatsServer, published: bytes
) -> None:
    received = ReceivedMessages()
    async with connected_client(server.url) as client:
        await client.subscribe("R.>", received)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await reader.readline()
        hello = b'CONNECT {"verbose":false,"headers":true}\r\n'
        writer.write(hello + published + b"PUB R.last 2\r\nok\r\nPING\r\n")
        await reader.readuntil(b"PONG")
        await eventually(lambda: received.bodies[-1:], [b"ok"])
        assert (client.generation, client.problem) == (1, "")
        writer.close()


async def test_a_flood_beyond_every_queue_of_the_client_loses_nothing(server: NatsServer) -> None:
    count = 300_000
    received = ReceivedMessages()
    async with connected_client(server.url) as client, connected_client(server.url) as publisher:
        await client.subscribe("a", received)
        for index in range(count):
            publisher.publish("a", b"x" * 500)
            if index % 500 == 0:
                await publisher.wait_writable()
                await asyncio.sleep(0)
        await eventually(lambda: len(received.deliveries), count, 60)
        assert client.generation == publisher.generation == 1


async def test_wait_writable_waits_while_the_server_reads_nothing(server: NatsServer) -> None:
    async with connected_client(server.url) as client:
        server.pause()
        for _ in range(40):
            client.publish("a", bytes(1000 * KIB))
        waiting = asyncio.create_task(client.wait_writable())
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done
        server.resume()
        await asyncio.wait_for(waiting, 60)


async def test_an_unconnected_client_accepts_subscriptions_and_refuses_messages(
    server: NatsServer,
) -> None:
    received = ReceivedMessages()
    server.stop()
    async with started_client(server.url) as client:
        await client.subscribe("a", received)
        await eventually(lambda: client.problem, "connection refused")
        with pytest.raises(CarrierDown, match="connection refused"):
            client.publish("a", b"x")
        with pytest.raises(CarrierDown, match="connection refused"):
            await client.wait_writable()
        server.start()
        await client.wait_connected(10)
        client.publish("a", b"x")
        await eventually(lambda: received.bodies, [b"x"])
        assert client.problem == ""


async def test_a_client_that_was_never_started_reports_it() -> None:
    client = made("nats://127.0.0.1:1")
    assert not client.connected
    assert "not been reached" in client.problem
    await client.close()

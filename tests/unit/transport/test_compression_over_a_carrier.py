"""Compressed data sets over a carrier: who compresses what, and what faults do to it."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.carrier import Delivery
from dimse_ingestion.transport.protocol import codec
from dimse_ingestion.transport.protocol.codec import Data, OpenStore, decode, encode
from dimse_ingestion.transport.protocol.compression import compress
from dimse_ingestion.transport.protocol.subjects import Subjects
from dimse_ingestion.transport.server.flow_limits import FlowLimits
from tests.unit.transport.client_server import (
    KIB,
    ROOT,
    BytesSource,
    FakeOperations,
    client_server_pair,
    echo_request,
    patterned_bytes,
    store_open,
    wait_until,
)
from tests.unit.transport.lossy_carrier import drop
from tests.unit.transport.virtual_time import run_in_virtual_time

MIB = 1024 * KIB
LONG = patterned_bytes(200 * KIB)  # a session of chunks of 8 KiB
SHORT = patterned_bytes(5 * KIB)  # travels with its open
NOISE = random.Random(1).randbytes(200 * KIB)
Alter = Callable[[Delivery], Delivery]


def opened(delivery: Delivery) -> codec.Message | None:
    return decode(delivery.headers, delivery.body) if "Dimse-Op" in delivery.headers else None


def altered(delivery: Delivery, message: codec.Message) -> Delivery:
    headers, body = encode(message)
    kept = {name: value for name, value in delivery.headers.items() if name == "traceparent"}
    return replace(delivery, headers={**headers, **kept}, body=body)


def of_an_older_release(delivery: Delivery) -> Delivery:
    """Alter a message as a service that knows nothing of compression sends or reads it."""
    message = opened(delivery)
    if isinstance(message, codec.Accept | codec.Result):
        return altered(delivery, msgspec.structs.replace(message, encodings=()))
    if isinstance(message, OpenStore):
        return altered(delivery, msgspec.structs.replace(message, inline_zstd=None))
    assert not isinstance(message, Data) or not message.size
    return delivery


def test_a_session_compresses_what_the_replica_offers_to_expand() -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica, compresses=True) as both:
            result = await both.store(LONG)
            assert (result.status, result.size) == (Status.SUCCESS, len(LONG))
            assert both.bus.kinds["DATA"] == len(LONG) // (8 * KIB)
            assert both.bus.octets["DATA"] < 0.6 * len(LONG)
        assert replica.stored == [LONG]

    run_in_virtual_time(it())


@pytest.mark.parametrize("by_echo", [True, False])
def test_an_open_has_a_compressed_data_set_once_the_service_has_offered_it(by_echo: bool) -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica, compresses=True) as both:
            if by_echo:
                await both.requester.echo(echo_request())
            else:
                assert (await both.store(SHORT)).status == Status.SUCCESS
                assert both.bus.octets["STORE"] > len(SHORT)
            both.bus.octets.clear()
            assert (await both.store(SHORT, "op2")).status == Status.SUCCESS
            assert 0 < both.bus.octets["STORE"] < len(SHORT)
            assert both.bus.kinds["DATA"] == 0
        assert set(replica.stored) == {SHORT}

    run_in_virtual_time(it())


@pytest.mark.parametrize("content", [LONG, SHORT])
def test_an_older_service_gets_what_it_understands(content: bytes) -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica, compresses=True) as both:
            both.bus.alter = of_an_older_release
            for number in range(2):
                result = await both.store(content, f"op{number}")
                assert result.status == Status.SUCCESS
            assert both.bus.octets["STORE"] + both.bus.octets["DATA"] > 2 * len(content)
        assert replica.stored == [content] * 2

    run_in_virtual_time(it())


def test_an_older_replica_takes_in_a_session_what_it_does_not_understand() -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica, compresses=True) as both:
            await both.requester.echo(echo_request())
            both.bus.alter = of_an_older_release
            assert (await both.store(SHORT)).status == Status.SUCCESS
            assert both.bus.octets["DATA"] == len(SHORT)
            assert (await both.store(SHORT, "op2")).status == Status.SUCCESS
            assert both.bus.octets["DATA"] == len(SHORT)  # its open was enough
        assert replica.stored == [SHORT] * 2

    run_in_virtual_time(it())


@pytest.mark.parametrize(
    ("content", "transfer_syntax_uid", "compresses"),
    [
        (LONG, "1.2.840.10008.1.2.1", False),
        (NOISE, "1.2.840.10008.1.2.1", True),
        (LONG, "1.2.840.10008.1.2.4.70", True),
        (LONG, "1.2.840.10008.1.2.1.99", True),
    ],
    ids=["off", "noise", "JPEG", "deflated"],
)
def test_what_is_not_worth_it_is_sent_as_it_is(
    content: bytes, transfer_syntax_uid: str, compresses: bool
) -> None:
    async def it() -> None:
        replica = FakeOperations()
        open_ = store_open(content, transfer_syntax_uid=transfer_syntax_uid)
        async with client_server_pair(replica, compresses=compresses) as both:
            await both.requester.echo(echo_request())
            result = await both.requester.store(open_, BytesSource(content), deadline=50)
            assert result.status == Status.SUCCESS
            assert both.bus.octets["DATA"] == len(content)
        assert replica.stored == [content]

    run_in_virtual_time(it())


def test_credit_counts_the_bytes_of_the_data_set() -> None:
    async def it() -> None:
        replica = FakeOperations(step_seconds=1.0)
        limits = FlowLimits(window=64 * KIB, min_window=16 * KIB, largest_window=64 * KIB)
        async with client_server_pair(replica, limits=limits, compresses=True) as both:
            storing = asyncio.create_task(both.store(LONG, deadline=500))
            await wait_until(lambda: replica.current_data)
            await asyncio.sleep(0.5)
            assert both.bus.kinds["DATA"] == 64 // 8
            assert (await storing).status == Status.SUCCESS
        assert replica.stored == [LONG]

    run_in_virtual_time(it())


def test_the_rate_limit_counts_what_is_sent() -> None:
    async def it() -> None:
        clock = asyncio.get_running_loop().time
        replica, content = FakeOperations(), bytes(4 * MIB)
        async with client_server_pair(
            replica, maximum_payload=MIB, rate=lambda: 100 * KIB, compresses=True
        ) as both:
            assert (await both.store(content)).status == Status.SUCCESS
            assert clock() < 2  # 40 s without compression
        assert replica.stored == [content]

    run_in_virtual_time(it())


@pytest.mark.parametrize("first", [1, 3])
def test_a_lost_piece_is_sent_again(first: int) -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica, compresses=True) as both:
            both.bus.delivery_delays = drop("DATA", first=first)
            assert (await both.store(LONG)).status == Status.SUCCESS
            assert both.bus.kinds["STORE"] == 1
        assert replica.stored == [LONG]

    run_in_virtual_time(it())


def test_the_rest_goes_to_another_replica_when_one_is_lost() -> None:
    async def it() -> None:
        one, other = FakeOperations("r1", step_seconds=0.2), FakeOperations("r2")
        async with client_server_pair(one, compresses=True) as both:
            storing = asyncio.create_task(both.store(LONG))
            await wait_until(lambda: len(one.current_data) > 32 * KIB)
            await both.add_replica(other, "r2")
            both.kill(0)
            assert (await storing).status == Status.SUCCESS
            assert both.bus.octets["DATA"] < len(LONG)
        assert (one.stored, other.stored) == ([], [LONG])

    run_in_virtual_time(it())


def test_the_rest_goes_uncompressed_to_an_older_replica() -> None:
    async def it() -> None:
        one, other = FakeOperations("r1", step_seconds=0.2), FakeOperations("r2")
        async with client_server_pair(one, compresses=True) as both:
            storing = asyncio.create_task(both.store(LONG))
            await wait_until(lambda: len(one.current_data) > 32 * KIB)
            both.bus.alter = lambda message: (
                message if "DATA" in message.headers.values() else (of_an_older_release(message))
            )
            await both.add_replica(other, "r2")
            both.kill(0)
            both.bus.octets.clear()
            assert (await storing).status == Status.SUCCESS
            assert both.bus.octets["DATA"] >= len(LONG)
        assert other.stored == [LONG]

    run_in_virtual_time(it())


def _other_frame(size: int) -> bytes:
    frame = compress(b"other bytes of the same length, " * (size // 32) + bytes(size % 32))
    assert frame is not None
    return frame


FAULTS: dict[str, Callable[[Data], Data]] = {
    "truncated": lambda data: msgspec.structs.replace(data, content=data.content[:-3]),
    "emptied": lambda data: msgspec.structs.replace(data, content=b""),
    "two frames": lambda data: msgspec.structs.replace(data, content=2 * data.content),
    "a byte more": lambda data: msgspec.structs.replace(data, content=data.content + b"\0"),
    "a larger size": lambda data: msgspec.structs.replace(data, size=data.size + 1),
    "a smaller size": lambda data: msgspec.structs.replace(data, size=data.size - 1),
    "a huge size": lambda data: msgspec.structs.replace(data, size=10**12),
    "another content": lambda data: msgspec.structs.replace(data, content=_other_frame(data.size)),
    "said to be no frame": lambda data: Data(offset=data.offset, content=data.content),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_damaged_piece_is_never_stored_and_the_data_set_is_sent_again(
    fault: Callable[[Data], Data],
) -> None:
    async def it() -> None:
        replica, damaged = FakeOperations(), list[codec.Message]()

        def alter(delivery: Delivery) -> Delivery:
            message = opened(delivery)
            if not isinstance(message, Data) or message.offset != 64 * KIB or damaged:
                return delivery
            assert message.size
            damaged.append(message)
            return altered(delivery, fault(message))

        async with client_server_pair(replica, compresses=True) as both:
            both.bus.alter = alter
            assert (await both.store(LONG)).status == Status.SUCCESS
        assert len(damaged) == 1
        assert replica.stored == [LONG]

    run_in_virtual_time(it())


@pytest.mark.parametrize(
    "content", [b"", b"x", 2 * (compress(SHORT) or b""), _other_frame(len(SHORT))]
)
def test_a_damaged_open_is_never_stored_and_the_data_set_is_sent_again(content: bytes) -> None:
    async def it() -> None:
        replica, damaged = FakeOperations(), list[codec.Message]()

        def alter(delivery: Delivery) -> Delivery:
            message = opened(delivery)
            if not isinstance(message, OpenStore) or damaged:
                return delivery
            assert message.inline_zstd
            damaged.append(message)
            return altered(delivery, msgspec.structs.replace(message, inline_zstd=content))

        async with client_server_pair(replica, compresses=True) as both:
            await both.requester.echo(echo_request())
            both.bus.alter = alter
            assert (await both.store(SHORT)).status == Status.SUCCESS
        assert replica.stored == [SHORT]

    run_in_virtual_time(it())


def test_a_bomb_with_an_open_is_rejected() -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica) as both:
            bomb, size = compress(bytes(64 * MIB)), 64 * MIB
            assert bomb is not None
            open_ = store_open(b"", size=size)
            headers, body = encode(OpenStore(open=open_, inline_zstd=bomb))
            answers: list[Delivery] = []
            inbox = Subjects(ROOT).inbox("p9", "s")
            forging = both.bus.carrier(None)
            await forging.subscribe(inbox, answers.append)
            forging.publish(Subjects(ROOT).service("store"), body, reply=inbox, headers=headers)
            await wait_until(lambda: answers)
            assert isinstance(opened(answers[0]), codec.Reject)
        assert replica.store_calls == 0

    run_in_virtual_time(it())

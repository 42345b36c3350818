"""Batches of fetches between a client and servers, with losses and failures, in virtual time."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.transport.client.batch_fetch import OLDER_FOR
from dimse_ingestion.transport.contract import FetchStream
from dimse_ingestion.transport.protocol.fetch_batch import LONGEST_IN_BATCH
from dimse_ingestion.transport.protocol.messages import MOST_OBJECTS, FetchObject, FetchOpen
from dimse_ingestion.transport.protocol.timeouts import Timeouts
from dimse_ingestion.transport.server.flow_limits import FlowLimits
from tests.unit.transport.client_server import (
    KIB,
    ClientServerPair,
    FakeOperations,
    client_server_pair,
    fetch_open,
    patterned_bytes,
    wait_until,
)
from tests.unit.transport.lossy_carrier import drop
from tests.unit.transport.virtual_time import run_in_virtual_time

CONTENTS = [bytes([number]) * 8 + patterned_bytes(30 * KIB + number) for number in range(5)]
MISSING = DimseFailure(Status.PROCESSING_FAILURE, "The object is missing")


def batch_pair(
    *operations: FakeOperations, timeouts: Timeouts | None = None
) -> AbstractAsyncContextManager[ClientServerPair]:
    """Return a proxy and replicas whose windows have space for a batch."""
    return client_server_pair(*operations, timeouts=timeouts, limits=FlowLimits())


def batch_open(contents: Sequence[bytes] = CONTENTS) -> FetchOpen:
    """Return the open of data sets under the keys k0, k1, …"""
    objects = [
        FetchObject(f"k{number}", len(each), hashlib.sha256(each).hexdigest())
        for number, each in enumerate(contents)
    ]
    return fetch_open(contents[0], "batch1", key="k0", more=tuple(objects[1:]))


def replica(contents: Sequence[bytes | Failure] = CONTENTS, **fields: object) -> FakeOperations:
    by_key = {f"k{number}": each for number, each in enumerate(contents)}
    return FakeOperations(data_sets=by_key, **fields)  # type: ignore[arg-type] # by name


async def ended(stream: FetchStream) -> bytes | str:
    """Return a data set, or why it failed."""
    try:
        await stream.wait_until_buffered()
        whole = stream.take_whole()
        if whole is None:
            return b"".join([piece async for piece in stream])
    except Failure as failure:
        return failure.comment
    else:
        return whole
    finally:
        await stream.close()


async def fetched(pair: ClientServerPair, open_: FetchOpen | None = None) -> list[bytes | str]:
    streams = pair.requester.fetch_batch(open_ or batch_open())
    return [await ended(each) for each in streams]


async def no_sessions(pair: ClientServerPair, within: float = 1.0) -> None:
    for responder in pair.responders:
        await wait_until(lambda server=responder: server.sessions == 0, within=within)  # type: ignore[misc] # bound


def test_a_batch_takes_one_request() -> None:
    async def it() -> None:
        small = [patterned_bytes(7 * KIB + number) for number in range(5)]
        async with batch_pair(replica(small)) as pair:
            assert await fetched(pair, batch_open(small)) == small
            await no_sessions(pair)
            assert pair.bus.kinds == Counter({"FETCH": 1, "DATA": 5, "RESULT": 1, "CREDIT": 1})

    run_in_virtual_time(it())


@pytest.mark.parametrize(
    "sizes", [[1, 1], [1, 300 * KIB, 5, 8 * KIB], [8 * KIB] * 8, [LONGEST_IN_BATCH] * 3]
)
def test_data_sets_of_mixed_sizes_arrive_unchanged(sizes: list[int]) -> None:
    async def it() -> None:
        contents = [patterned_bytes(size)[::-1] for size in sizes]
        async with batch_pair(replica(contents)) as pair:
            assert await fetched(pair, batch_open(contents)) == contents
            assert pair.bus.kinds["FETCH"] == 1

    run_in_virtual_time(it())


def test_a_data_set_is_delivered_before_those_that_follow_it() -> None:
    async def it() -> None:
        slow = replica(step_seconds=1.0)
        async with batch_pair(slow) as pair:
            first, *rest = pair.requester.fetch_batch(batch_open())
            assert await ended(first) == CONTENTS[0]
            assert slow.bytes_sent
            assert not any(each.take_whole() for each in rest)
            assert [await ended(each) for each in rest] == CONTENTS[1:]

    run_in_virtual_time(it())


@pytest.mark.parametrize("lost", ["FETCH", "DATA", "RESULT", "CREDIT", "RESUME"])
@pytest.mark.parametrize("first", [1, 2, 6])
def test_a_lost_message_of_a_batch_is_made_up_for(lost: str, first: int) -> None:
    async def it() -> None:
        async with batch_pair(replica()) as pair:
            pair.bus.delivery_delays = drop(lost, first=first)
            assert await fetched(pair) == CONTENTS
            await no_sessions(pair, within=30)

    run_in_virtual_time(it())


@pytest.mark.parametrize("failing", range(5))
def test_an_object_that_is_missing_fails_alone(failing: int) -> None:
    async def it() -> None:
        contents: list[bytes | Failure] = list(CONTENTS)
        contents[failing] = MISSING
        async with batch_pair(replica(contents)) as pair:
            got = await fetched(pair)
            assert got == [
                each if isinstance(each, bytes) else MISSING.comment for each in contents
            ]

    run_in_virtual_time(it())


@pytest.mark.parametrize("failing", range(5))
def test_a_damaged_object_fails_alone(failing: int) -> None:
    async def it() -> None:
        contents = list(CONTENTS)
        contents[failing] = contents[failing][:-1] + b"\xfe"
        async with batch_pair(replica(contents)) as pair:
            got = await fetched(pair)
            assert [number for number, each in enumerate(got) if isinstance(each, str)] == [failing]
            assert "damaged" in str(got[failing])
            assert pair.bus.kinds["FETCH"] == 1

    run_in_virtual_time(it())


def test_a_bucket_that_is_down_for_a_moment_is_tried_again() -> None:
    async def it() -> None:
        down: list[Exception] = [Unavailable("The bucket is down") for _ in range(3)]
        async with batch_pair(replica(failures=down)) as pair:
            assert await fetched(pair) == CONTENTS

    run_in_virtual_time(it())


def test_a_failure_that_nobody_expected_delivers_the_data_sets_all_the_same() -> None:
    async def it() -> None:
        async with batch_pair(replica(failures=[Unavailable("x"), KeyError("y")])) as pair:
            got = await fetched(pair)
            assert sum(each == "internal error" for each in got) == 1
            assert sum(each in CONTENTS for each in got) == 4

    run_in_virtual_time(it())


@pytest.mark.parametrize("after", [0, 40 * KIB, 100 * KIB])
def test_a_batch_whose_replica_is_lost_continues_at_another_from_the_missing_byte(
    after: int,
) -> None:
    async def it() -> None:
        replicas = [replica(step_seconds=0.1), replica(step_seconds=0.1)]
        total = 0

        async with batch_pair(*replicas) as pair:
            fetching = asyncio.create_task(fetched(pair))
            await wait_until(lambda: pair.bus.octets["DATA"] > after)
            first = next(i for i, each in enumerate(replicas) if each.fetch_opens)
            pair.kill(first)
            assert await fetching == CONTENTS
            total = pair.bus.octets["DATA"]
            again = replicas[1 - first].fetch_opens
        first_missing = after // len(CONTENTS[0])
        assert {each.key for each in again} == {f"k{number}" for number in range(first_missing, 5)}
        assert {bool(each.offset) for each in again if each.key != f"k{first_missing}"} <= {False}
        assert total <= sum(map(len, CONTENTS)) + 8 * KIB

    run_in_virtual_time(it())


def test_without_any_service_every_data_set_fails_soon() -> None:
    async def it() -> None:
        async with batch_pair() as pair:
            start = asyncio.get_running_loop().time()
            got = await fetched(pair)
            assert [isinstance(each, str) for each in got] == [True] * 5
            assert asyncio.get_running_loop().time() - start < 15

    run_in_virtual_time(it())


def test_a_replica_that_sends_nothing_fails_all_data_sets_at_once() -> None:
    async def it() -> None:
        timeouts = replace(Timeouts(), deadline=5.0)
        async with batch_pair(replica(step_seconds=1000.0), timeouts=timeouts) as pair:
            start = asyncio.get_running_loop().time()
            first, *rest = await fetched(pair)
            assert [isinstance(each, str) for each in rest] == [True] * 4
            assert asyncio.get_running_loop().time() - start < 8
            assert first

    run_in_virtual_time(it())


# services of a former release


def test_an_older_service_gets_single_requests_and_no_batch_for_a_while() -> None:
    async def it() -> None:
        older = replica(knows_batches=False)
        async with batch_pair(older) as pair:
            for _ in range(3):
                assert await fetched(pair) == CONTENTS
            assert [bool(each.more) for each in older.fetch_opens] == [True] + [False] * 14
            assert older.fetch_opens[0].key == "k0"
            assert Counter(each.key for each in older.fetch_opens)["k0"] == 3
            await asyncio.sleep(OLDER_FOR)
            assert await fetched(pair) == CONTENTS
            assert older.fetch_opens[15].more

    run_in_virtual_time(it())


def test_a_service_that_is_updated_meanwhile_gets_batches_again() -> None:
    async def it() -> None:
        service = replica(knows_batches=False)
        async with batch_pair(service) as pair:
            assert await fetched(pair) == CONTENTS
            service.knows_batches = True
            service.fetch_opens.clear()
            await asyncio.sleep(OLDER_FOR)
            for _ in range(2):
                assert await fetched(pair) == CONTENTS
            assert len(service.fetch_opens) == 2

    run_in_virtual_time(it())


# the bounds of the service


def test_a_batch_that_the_service_refuses_is_fetched_singly() -> None:
    async def it() -> None:
        contents = [bytes([number]) * 100 for number in range(MOST_OBJECTS + 1)]
        service = replica(contents)
        async with batch_pair(service) as pair:
            assert await fetched(pair, batch_open(contents)) == contents
            assert pair.bus.kinds["REJECT"] == 1
            assert not any(each.more for each in service.fetch_opens)
            assert await fetched(pair, batch_open(contents[:5])) == contents[:5]
            assert pair.bus.kinds["REJECT"] == 1

    run_in_virtual_time(it())


def test_a_replica_with_little_memory_sends_a_part_of_a_batch() -> None:
    async def it() -> None:
        limits = FlowLimits(window=64 * KIB, min_window=16 * KIB, total_fetch_window=100 * KIB)
        service = replica()
        async with client_server_pair(service, limits=limits) as pair:
            assert await fetched(pair) == CONTENTS
            first, *rest = service.fetch_opens
            assert len(first.more) == 1
            assert {each.key for each in rest} == {"k2", "k3", "k4"}
            await no_sessions(pair)
            assert await fetched(pair) == CONTENTS
            assert any(each.more for each in service.fetch_opens[4:])

    run_in_virtual_time(it())


def test_the_memory_of_a_batch_is_given_back() -> None:
    async def it() -> None:
        limits = FlowLimits(total_fetch_window=300 * KIB)
        async with client_server_pair(replica(), limits=limits) as pair:
            for _ in range(20):
                assert await fetched(pair) == CONTENTS
            assert pair.bus.kinds["BUSY"] == 0

    run_in_virtual_time(it())


# streams that are closed early


@pytest.mark.parametrize("closed", range(5))
def test_a_data_set_that_is_given_up_does_not_end_the_others(closed: int) -> None:
    async def it() -> None:
        async with batch_pair(replica(step_seconds=0.01)) as pair:
            streams = pair.requester.fetch_batch(batch_open())
            await wait_until(lambda: pair.bus.kinds["DATA"] > 1)
            await streams[closed].close()
            left = [number for number in range(5) if number != closed]
            assert [await ended(streams[number]) for number in left] == [
                CONTENTS[number] for number in left
            ]
            assert streams[closed].take_whole() is None
            assert pair.bus.kinds["FETCH"] == 1
            await no_sessions(pair)

    run_in_virtual_time(it())


def test_a_batch_that_nobody_needs_any_more_ends_soon() -> None:
    async def it() -> None:
        service = replica(step_seconds=1.0)
        async with batch_pair(service) as pair:
            streams = pair.requester.fetch_batch(batch_open())
            assert await ended(streams[0]) == CONTENTS[0]
            for each in streams[1:]:
                await each.close()
            await no_sessions(pair, within=2.0)
            assert service.cancelled
            await asyncio.sleep(1)
            assert pair.bus.kinds["FETCH"] == 1

    run_in_virtual_time(it())


def test_a_data_set_that_continues_alone_is_closed_like_any_other() -> None:
    async def it() -> None:
        older = replica(knows_batches=False, step_seconds=0.5)
        async with batch_pair(older) as pair:
            first, second, *rest = pair.requester.fetch_batch(batch_open())
            assert await ended(first) == CONTENTS[0]
            assert await ended(second) == CONTENTS[1]
            for each in rest:
                await each.close()
            await no_sessions(pair, within=2.0)

    run_in_virtual_time(it())


def test_the_pieces_of_a_data_set_are_verified_before_the_first() -> None:
    async def it() -> None:
        contents = [CONTENTS[0], CONTENTS[1][:-1] + b"\xfe"]
        async with batch_pair(replica(contents)) as pair:
            streams = pair.requester.fetch_batch(batch_open(CONTENTS[:2]))
            assert [piece async for piece in streams[0]] == [CONTENTS[0]]
            with pytest.raises(DimseFailure, match="digest"):
                [piece async for piece in streams[1]]
            for each in streams:
                await each.close()

    run_in_virtual_time(it())

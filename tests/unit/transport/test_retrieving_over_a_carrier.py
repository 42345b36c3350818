"""Retrieve and fetch between a client and servers, with losses, in virtual time."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import LimitExceeded, Unavailable
from dimse_ingestion.transport.carrier import Delivery
from dimse_ingestion.transport.protocol import subjects
from dimse_ingestion.transport.protocol.fetch import LEAST_WINDOW, WINDOW
from dimse_ingestion.transport.protocol.timeouts import Timeouts
from dimse_ingestion.transport.server.flow_limits import FlowLimits
from tests.unit.transport.client_server import (
    KIB,
    ClientServerPair,
    FakeOperations,
    client_server_pair,
    fetch_open,
    instances,
    patterned_bytes,
    retrieve_open,
    wait_until,
)
from tests.unit.transport.lossy_carrier import drop, kind
from tests.unit.transport.virtual_time import run_in_virtual_time

LONG = patterned_bytes(200 * KIB)


async def fetched(pair: ClientServerPair, content: bytes, *, stored: bool = True) -> bytes:
    stream = pair.requester.fetch(fetch_open(content), stored=stored)
    try:
        return b"".join([piece async for piece in stream])
    finally:
        await stream.close()


async def no_sessions(pair: ClientServerPair) -> None:
    for responder in pair.responders:
        await wait_until(lambda server=responder: server.sessions == 0, within=1.0)  # type: ignore[misc] # bound


# the list of instances


@pytest.mark.parametrize("count", [0, 1, 7, 3000])
def test_every_instance_is_listed_in_order(count: int) -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(instances=instances(count))) as pair:
            result, listed = await pair.requester.retrieve(retrieve_open())
            assert (result.status, result.instances, listed) == (0, count, instances(count))
            await no_sessions(pair)

    run_in_virtual_time(it())


@pytest.mark.parametrize("lost", ["INSTANCES", "RESULT", "CREDIT", "RETRIEVE"])
def test_a_lost_message_of_the_list_is_made_up_for(lost: str) -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(instances=instances(300))) as pair:
            pair.bus.delivery_delays = drop(lost, first=2)
            result, listed = await pair.requester.retrieve(retrieve_open())
            assert (result.status, listed) == (0, instances(300))

    run_in_virtual_time(it())


def test_a_list_whose_replica_is_lost_begins_again_at_another_replica() -> None:
    async def it() -> None:
        replicas = [FakeOperations(replica=name, instances=instances(500)) for name in "ab"]
        for each in replicas:
            each.step_seconds = 0.01
        async with client_server_pair(*replicas) as pair:
            listing = asyncio.create_task(pair.requester.retrieve(retrieve_open()))
            await wait_until(lambda: any(len(each) for each in sessions_of(pair)))
            await asyncio.sleep(1.0)
            pair.kill(next(i for i, each in enumerate(sessions_of(pair)) if len(each)))
            result, listed = await listing
            assert (result.status, listed) == (0, instances(500))

    run_in_virtual_time(it())


@pytest.mark.parametrize("seconds", [0.1, 5.0])
def test_a_list_whose_caller_is_cancelled_is_aborted_at_the_replica(seconds: float) -> None:
    """Before the ACCEPT, which comes after 0.5 s, the session is not known to the proxy."""

    async def it() -> None:
        replica = FakeOperations(instances=instances(100), step_seconds=1.0)
        async with client_server_pair(replica) as pair:
            listing = asyncio.create_task(pair.requester.retrieve(retrieve_open()))
            await asyncio.sleep(seconds)
            listing.cancel()
            await asyncio.gather(listing, return_exceptions=True)
            await wait_until(lambda: pair.bus.kinds["ABORT"], within=1.0)
            await asyncio.sleep(pair.timeouts.open_timeout)
            assert (pair.bus.kinds["RETRIEVE"], pair.bus.kinds["ABORT"]) == (1, 1)

    run_in_virtual_time(it())


def sessions_of(pair: ClientServerPair) -> list[range]:
    return [range(each.sessions) for each in pair.responders]


def test_a_failed_list_has_the_status_of_its_failure_and_no_instance() -> None:
    async def it() -> None:
        failing = FakeOperations(
            failures=[LimitExceeded("Too many"), Unavailable("The catalogue is down")]
        )
        async with client_server_pair(failing) as pair:
            for comment in ("Too many", "The catalogue is down"):
                result, listed = await pair.requester.retrieve(retrieve_open(comment))
                assert (result.status, result.comment) == (0xA701, comment)
                assert listed == []

    run_in_virtual_time(it())


def test_a_list_without_any_service_ends_with_a701_after_the_open_budget() -> None:
    async def it() -> None:
        async with client_server_pair() as pair:
            start = asyncio.get_running_loop().time()
            result, _ = await pair.requester.retrieve(retrieve_open())
            assert result.status == Status.UNABLE_TO_COUNT_MATCHES
            assert 5 < asyncio.get_running_loop().time() - start < 15

    run_in_virtual_time(it())


def test_an_older_service_is_recognized_by_its_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    async def it() -> None:
        async with client_server_pair() as pair:
            monkeypatch.setattr(
                "dimse_ingestion.transport.server.server.SERVICES", subjects.SERVICES[:3]
            )
            await pair.add_replica(FakeOperations())
            result, _ = await pair.requester.retrieve(retrieve_open())
            assert result.status == Status.UNABLE_TO_PERFORM_SUB_OPERATIONS
            assert "Update the ingestion service" in result.comment

    run_in_virtual_time(it())


# the bytes of one data set


@pytest.mark.parametrize("size", [0, 1, 1000, 8 * KIB, 100 * KIB, 100 * KIB + 1])
def test_the_bytes_arrive_unchanged(size: int) -> None:
    async def it() -> None:
        content = patterned_bytes(size)
        async with client_server_pair(FakeOperations(data_set=content)) as pair:
            assert await fetched(pair, content) == content
            await no_sessions(pair)

    run_in_virtual_time(it())


def test_a_small_data_set_takes_one_round_trip() -> None:
    async def it() -> None:
        content = patterned_bytes(1000)
        async with client_server_pair(FakeOperations(data_set=content)) as pair:
            pair.bus.delivery_delays = lambda _: (0.02,)
            start = asyncio.get_running_loop().time()
            assert await fetched(pair, content) == content
            assert asyncio.get_running_loop().time() - start == pytest.approx(0.04, abs=0.005)

    run_in_virtual_time(it())


def test_a_data_set_that_fits_into_a_message_takes_four_messages() -> None:
    async def it() -> None:
        content = patterned_bytes(7 * KIB)
        async with client_server_pair(FakeOperations(data_set=content)) as pair:
            assert await fetched(pair, content) == content
            await no_sessions(pair)
            assert pair.bus.kinds == Counter({"FETCH": 1, "DATA": 1, "RESULT": 1, "CREDIT": 1})

    run_in_virtual_time(it())


def test_a_whole_data_set_is_taken_at_once_and_another_in_pieces() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(data_set=LONG)) as pair:
            stream = pair.requester.fetch(fetch_open(LONG), stored=True)
            assert stream.take_whole() is None
            await stream.wait_until_buffered()
            assert stream.take_whole() == LONG
            await stream.close()
        content = patterned_bytes(2 * WINDOW)
        async with client_server_pair(FakeOperations(data_set=content)) as pair:
            stream = pair.requester.fetch(fetch_open(content), stored=True)
            await stream.wait_until_buffered()
            assert stream.take_whole() is None
            assert b"".join([piece async for piece in stream]) == content
            await stream.close()

    run_in_virtual_time(it())


@pytest.mark.parametrize("lost", ["FETCH", "DATA", "RESULT", "CREDIT", "RESUME"])
def test_a_lost_message_of_a_transfer_is_made_up_for(lost: str) -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(data_set=LONG)) as pair:
            pair.bus.delivery_delays = drop(lost, first=2)
            assert await fetched(pair, LONG) == LONG
            await no_sessions(pair)

    run_in_virtual_time(it())


def test_each_hundredth_chunk_may_be_lost_in_both_windows() -> None:
    async def it() -> None:
        content = patterned_bytes(2 * WINDOW)
        seen = 0

        def lossy(message: Delivery) -> Sequence[float]:
            nonlocal seen
            seen += kind(message) == "DATA"
            return () if kind(message) == "DATA" and seen % 100 == 7 else (0.001,)

        async with client_server_pair(FakeOperations(data_set=content)) as pair:
            pair.bus.delivery_delays = lossy
            assert await fetched(pair, content) == content

    run_in_virtual_time(it())


def test_another_replica_continues_from_the_byte_that_is_missing() -> None:
    async def it() -> None:
        replicas = [FakeOperations(replica=name, data_set=LONG) for name in "ab"]
        for each in replicas:
            each.step_seconds = 0.1
        async with client_server_pair(*replicas) as pair:
            fetching = asyncio.create_task(fetched(pair, LONG))
            await wait_until(lambda: any(each.bytes_sent > 80 * KIB for each in replicas))
            first = next(i for i, each in enumerate(replicas) if each.bytes_sent)
            pair.kill(first)
            assert await fetching == LONG
            (open_,) = replicas[1 - first].fetch_opens
            assert 80 * KIB < open_.offset < len(LONG)

    run_in_virtual_time(it())


def test_a_transfer_that_goes_on_is_not_limited_by_the_deadline_of_attempts() -> None:
    async def it() -> None:
        replicas = [FakeOperations(replica=name, data_set=LONG) for name in "ab"]
        for each in replicas:
            each.step_seconds = 10.0
        async with client_server_pair(*replicas) as pair:
            fetching = asyncio.create_task(fetched(pair, LONG))
            await wait_until(
                lambda: any(each.bytes_sent > 150 * KIB for each in replicas), within=500
            )
            pair.kill(next(i for i, each in enumerate(replicas) if each.bytes_sent))
            assert await fetching == LONG

    run_in_virtual_time(it())


@pytest.mark.parametrize("window", [WINDOW, LEAST_WINDOW])
def test_a_slow_reader_holds_the_replica_back(window: int) -> None:
    async def it() -> None:
        content = patterned_bytes(3 * WINDOW)
        replica = FakeOperations(data_set=content, piece=64 * KIB)
        async with client_server_pair(replica) as pair:
            stream = pair.requester.fetch(fetch_open(content), stored=True, window=window)
            taken = 0
            async for piece in stream:
                taken += len(piece)
                if taken % WINDOW == 0:
                    await asyncio.sleep(90)
                assert replica.bytes_sent - taken <= window + 128 * KIB
            await stream.close()
            assert taken == len(content)

    run_in_virtual_time(it())


def test_a_replica_that_is_lost_while_the_window_is_full_is_replaced() -> None:
    async def it() -> None:
        content = patterned_bytes(2 * WINDOW)
        replicas = [FakeOperations(replica=name, data_set=content) for name in "ab"]
        async with client_server_pair(*replicas) as pair:
            stream = pair.requester.fetch(fetch_open(content), stored=True)
            await wait_until(lambda: any(each.bytes_sent > WINDOW for each in replicas))
            pair.kill(next(i for i, each in enumerate(replicas) if each.bytes_sent))
            await wait_until(lambda: all(each.fetch_opens for each in replicas), within=60)
            assert b"".join([piece async for piece in stream]) == content
            await stream.close()

    run_in_virtual_time(it())


def test_a_closed_stream_ends_the_session_soon() -> None:
    async def it() -> None:
        content = patterned_bytes(3 * WINDOW)
        async with client_server_pair(FakeOperations(data_set=content)) as pair:
            stream = pair.requester.fetch(fetch_open(content), stored=True)
            await stream.wait_until_buffered()
            await stream.close()
            await no_sessions(pair)

    run_in_virtual_time(it())


def test_the_last_piece_of_a_wrong_data_set_is_not_delivered() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(data_set=LONG[:-1] + b"\xfe")) as pair:
            stream = pair.requester.fetch(fetch_open(LONG), stored=True)
            delivered = bytearray()

            async def deliver() -> None:
                async for piece in stream:
                    delivered.extend(piece)

            with pytest.raises(DimseFailure, match="digest"):
                await deliver()
            await stream.close()
            assert 0 < len(delivered) < len(LONG)

    run_in_virtual_time(it())


def test_a_data_set_in_another_transfer_syntax_is_verified_by_the_digest_of_its_result() -> None:
    async def it() -> None:
        other = LONG[:-1] + b"\xfe"
        async with client_server_pair(FakeOperations(data_set=other)) as pair:
            assert await fetched(pair, LONG, stored=False) == other

    run_in_virtual_time(it())


def test_a_buffered_data_set_is_verified_before_its_first_byte_is_delivered() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(data_set=LONG[:-1] + b"\xfe")) as pair:
            stream = pair.requester.fetch(fetch_open(LONG), stored=True)
            with pytest.raises(DimseFailure):
                await stream.wait_until_buffered()
            await stream.close()

    run_in_virtual_time(it())


def test_a_missing_object_fails_its_own_transfer_only() -> None:
    async def it() -> None:
        missing = DimseFailure(Status.PROCESSING_FAILURE, "The object is missing")
        async with client_server_pair(FakeOperations(data_set=LONG, failures=[missing])) as pair:
            with pytest.raises(DimseFailure, match="missing"):
                await fetched(pair, LONG)
            assert await fetched(pair, LONG) == LONG

    run_in_virtual_time(it())


def test_a_bucket_that_is_down_for_a_moment_is_tried_again() -> None:
    async def it() -> None:
        down = [Unavailable("The bucket is down") for _ in range(3)]
        async with client_server_pair(FakeOperations(data_set=LONG, failures=list(down))) as pair:
            assert await fetched(pair, LONG) == LONG

    run_in_virtual_time(it())


def test_a_bucket_that_stays_down_ends_the_transfer_at_the_deadline() -> None:
    async def it() -> None:
        timeouts = replace(Timeouts(), deadline=5.0)
        down = [Unavailable("The bucket is down") for _ in range(1000)]
        async with client_server_pair(
            FakeOperations(data_set=LONG, failures=list(down)), timeouts=timeouts
        ) as pair:
            start = asyncio.get_running_loop().time()
            with pytest.raises(Unavailable, match="bucket is down"):
                await fetched(pair, LONG)
            assert 3 < asyncio.get_running_loop().time() - start < 8

    run_in_virtual_time(it())


def test_a_replica_has_longer_for_a_data_set_that_it_decodes_first() -> None:
    async def it() -> None:
        content = patterned_bytes(1000)
        slow = FakeOperations(data_set=content, step_seconds=150.0)
        async with client_server_pair(slow) as pair:
            assert await fetched(pair, content, stored=False) == content
            with pytest.raises(Unavailable, match="No answer in time"):
                await fetched(pair, content)

    run_in_virtual_time(it())


def test_fetches_leave_the_sessions_and_the_credit_of_stores_alone() -> None:
    async def it() -> None:
        limits = FlowLimits(
            sessions=1, fetches=2, window=64 * KIB, min_window=16 * KIB, total_window=128 * KIB
        )
        replica = FakeOperations(data_set=LONG, step_seconds=1.0)
        async with client_server_pair(replica, limits=limits) as pair:
            fetching = [asyncio.create_task(fetched(pair, LONG)) for _ in range(3)]
            await wait_until(lambda: pair.responders[0].sessions == 2)
            assert (await pair.store(patterned_bytes(1000))).status == Status.SUCCESS
            assert [await each == LONG for each in fetching] == [True] * 3

    run_in_virtual_time(it())


def test_a_short_data_set_reserves_no_more_than_its_length() -> None:
    async def it() -> None:
        limits = FlowLimits(total_fetch_window=16 * 300 * KIB)
        replica = FakeOperations(data_set=LONG, step_seconds=1.0)
        async with client_server_pair(replica, limits=limits) as pair:
            fetching = [fetched(pair, LONG) for _ in range(16)]
            assert await asyncio.gather(*fetching) == [LONG] * 16
            assert pair.bus.kinds["BUSY"] == 0

    run_in_virtual_time(it())

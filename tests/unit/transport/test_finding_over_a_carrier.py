import asyncio

import pytest

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.protocol.codec import Cancel, Result
from dimse_ingestion.transport.protocol.find import FindReceiver, FindSender
from dimse_ingestion.transport.protocol.messages import FindMatch, FindResult
from dimse_ingestion.transport.protocol.state import AttemptFailed
from dimse_ingestion.transport.protocol.timeouts import Timeouts
from tests.unit.transport.client_server import (
    KIB,
    ClientServerPair,
    FakeOperations,
    client_server_pair,
    find_open,
    numbered,
    wait_until,
)
from tests.unit.transport.lossy_carrier import drop
from tests.unit.transport.virtual_time import run_in_virtual_time


async def answered(both: ClientServerPair) -> tuple[list[FindMatch], FindResult]:
    finding = both.requester.find(find_open())
    got = [match async for match in finding]
    return got, finding.result


@pytest.mark.parametrize("count", [0, 1, 7, 5000])
def test_every_match_arrives_in_order(count: int) -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(matches=numbered(count))) as both:
            assert await answered(both) == (numbered(count), FindResult(status=0, matches=count))
            await wait_until(lambda: both.responders[0].sessions == 0, within=1.0)

    run_in_virtual_time(it())


def test_the_first_match_does_not_wait_for_a_full_batch() -> None:
    async def it() -> None:
        async with client_server_pair(
            FakeOperations(matches=numbered(3), step_seconds=10.0)
        ) as both:
            clock = asyncio.get_running_loop().time
            store_calls = clock()
            async for _ in both.requester.find(find_open()):
                assert clock() - store_calls < 1.0
                break

    run_in_virtual_time(it())


def test_many_matches_travel_together() -> None:
    async def it() -> None:
        async with client_server_pair(
            FakeOperations(matches=numbered(2000)), maximum_payload=1024 * KIB
        ) as both:
            both.bus.delivery_delays = lambda _: (0.005,)
            got, _ = await answered(both)
            assert got == numbered(2000)
            assert both.bus.kinds["MATCH"] < 20

    run_in_virtual_time(it())


def test_a_slow_modality_holds_the_catalogue_back() -> None:
    async def it() -> None:
        replica = FakeOperations(matches=numbered(3000))
        async with client_server_pair(replica) as both:
            finding = both.requester.find(find_open())
            got = 0
            async for _ in finding:
                got += 1
                if got % 500 == 0:
                    await asyncio.sleep(90)
                    per_batch = 8 * KIB // 104
                    assert replica.matches_sent - got < 11 * per_batch
            assert (got, finding.result.status) == (3000, Status.SUCCESS)

    run_in_virtual_time(it())


def test_a_cancel_ends_the_iteration_at_once_and_the_replica_soon() -> None:
    async def it() -> None:
        replica = FakeOperations(endless=True)
        async with client_server_pair(replica) as both:
            finding = both.requester.find(find_open())
            count = 0
            async for _ in finding:
                count += 1
                if count == 100:
                    finding.cancel()
            assert count == 100
            assert finding.result == FindResult(status=Status.CANCEL, matches=100)
            await wait_until(lambda: replica.cancelled == 1, within=1.0)
            await wait_until(lambda: both.responders[0].sessions == 0, within=1.0)

    run_in_virtual_time(it())


@pytest.mark.parametrize("credit", [1, 8])
def test_a_cancel_that_comes_after_the_last_match_was_found_ends_the_session(credit: int) -> None:
    answerer = FindSender("session", credit, 8 * KIB, Timeouts(), 0.0)
    for match in numbered(3):
        answerer.add(match, 0.0)
    answerer.finish(Result(find=FindResult(status=0, matches=3)), 0.0)
    assert not answerer.is_done
    answerer.receive(Cancel(), 0.1)
    assert answerer.is_done


def test_a_cancel_before_any_match() -> None:
    async def it() -> None:
        replica = FakeOperations(endless=True, step_seconds=5.0)
        async with client_server_pair(replica) as both:
            finding = both.requester.find(find_open())
            asyncio.get_running_loop().call_later(2.0, finding.cancel)
            got = [match async for match in finding]
            assert (len(got), finding.result.status) == (1, Status.CANCEL)

    run_in_virtual_time(it())


def test_a_cancel_without_a_listener() -> None:
    async def it() -> None:
        async with client_server_pair() as both:
            finding = both.requester.find(find_open())
            asyncio.get_running_loop().call_later(2.0, finding.cancel)
            assert [match async for match in finding] == []
            assert finding.result.status == Status.CANCEL

    run_in_virtual_time(it())


def test_a_lost_cancel_is_sent_again() -> None:
    async def it() -> None:
        replica = FakeOperations(endless=True)
        async with client_server_pair(replica) as both:
            both.bus.delivery_delays = drop("CANCEL", first=10)
            finding = both.requester.find(find_open())
            async for _ in finding:
                finding.cancel()
            await wait_until(lambda: replica.cancelled == 1, within=30.0)

    run_in_virtual_time(it())


def test_a_proxy_that_is_gone_ends_the_query() -> None:
    async def it() -> None:
        replica = FakeOperations(endless=True)
        async with client_server_pair(replica) as both:
            finding = both.requester.find(find_open())
            async for _ in finding:
                both.proxy.cut()
                finding.cancel()
            await wait_until(lambda: replica.cancelled == 1, within=30.0)

    run_in_virtual_time(it())


@pytest.mark.parametrize("lost", ["FIND", "ACCEPT", "MATCH", "CREDIT", "RESULT"])
@pytest.mark.parametrize("count", [0, 1, 2000])
def test_the_first_of_each_kind_may_be_lost(lost: str, count: int) -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(matches=numbered(count))) as both:
            both.bus.delivery_delays = drop(lost, first=1)
            got, result = await answered(both)
            assert (got, result.status) == (numbered(count), Status.SUCCESS)

    run_in_virtual_time(it())


def test_a_failure_is_the_result() -> None:
    async def it() -> None:
        failure = DimseFailure(Status.DOES_NOT_MATCH_SOP_CLASS, "No level")
        async with client_server_pair(FakeOperations(failures=[failure])) as both:
            _, result = await answered(both)
            assert (result.status, result.comment) == (failure.status, "No level")

    run_in_virtual_time(it())


def test_a_replica_that_dies_before_the_first_match_is_left_for_another() -> None:
    async def it() -> None:
        replicas = [
            FakeOperations(f"r{n}", matches=numbered(5), first_match_seconds=8.0) for n in (1, 2)
        ]
        async with client_server_pair(*replicas) as both:
            sink = asyncio.create_task(answered(both))
            await wait_until(lambda: replicas[0].find_opens or replicas[1].find_opens)
            both.kill(0 if replicas[0].find_opens else 1)
            got, result = await sink
            assert (got, result.status) == (numbered(5), Status.SUCCESS)

    run_in_virtual_time(it())


def test_a_replica_that_dies_after_the_first_match_is_reported() -> None:
    async def it() -> None:
        replicas = [FakeOperations(f"r{n}", matches=numbered(50), step_seconds=0.5) for n in (1, 2)]
        async with client_server_pair(*replicas) as both:
            finding = both.requester.find(find_open())
            got = []
            async for match in finding:
                got.append(match)
                both.kill(0 if replicas[0].find_opens else 1)
            assert finding.result.status == Status.OUT_OF_RESOURCES
            assert got == numbered(50)[: len(got)]

    run_in_virtual_time(it())


def test_a_query_without_progress_is_a700() -> None:
    async def it() -> None:
        replica = FakeOperations(matches=numbered(1), first_match_seconds=10_000.0)
        async with client_server_pair(replica, timeouts=Timeouts(deadline=50)) as both:
            clock = asyncio.get_running_loop().time
            store_calls = clock()
            _, result = await answered(both)
            assert result.status == Status.OUT_OF_RESOURCES
            assert clock() - store_calls == pytest.approx(50.0)

    run_in_virtual_time(it(), within=100_000)


def test_an_identifier_too_long_for_a_message() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations()) as both:
            finding = both.requester.find(find_open(identifier=bytes(20 * KIB)))
            assert [match async for match in finding] == []
            assert finding.result.status == Status.OUT_OF_RESOURCES

    run_in_virtual_time(it())


def test_a_match_too_long_for_a_message() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(matches=numbered(1, size=20 * KIB))) as both:
            _, result = await answered(both)
            assert result.status == Status.UNABLE_TO_PROCESS

    run_in_virtual_time(it())


def test_a_query_whose_last_matches_are_lost_ends_as_a700() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(matches=numbered(200, size=900))) as both:
            finding = both.requester.find(find_open())
            got = []
            async for match in finding:
                got.append(match)
                if len(got) == 10:
                    both.proxy.cut()
                    await asyncio.sleep(100)
                    both.proxy.restore()
            assert finding.result.status == Status.OUT_OF_RESOURCES
            assert got == numbered(200, size=900)[: len(got)]
            assert both.bus.published < 200

    run_in_virtual_time(it())


def test_an_open_that_came_twice_is_one_query() -> None:
    async def it() -> None:
        replica = FakeOperations(matches=numbered(5), step_seconds=0.1)
        async with client_server_pair(replica) as both:
            doubled = iter([(0.0, 0.25)])
            both.bus.delivery_delays = lambda _: next(doubled, (0.0,))
            got, result = await answered(both)
            assert (got, result.status) == (numbered(5), Status.SUCCESS)
        assert len(replica.find_opens) == 1

    run_in_virtual_time(it())


def test_an_unrequested_cancel_does_not_end_the_query() -> None:
    asker = FindReceiver(Timeouts(), 0.0)
    asker.receive(Result(find=FindResult(status=Status.CANCEL)), 0.0, "session")
    assert isinstance(asker.outcome, AttemptFailed)

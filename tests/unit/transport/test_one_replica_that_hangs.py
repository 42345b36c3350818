"""One replica hangs while another one answers: every operation reaches the other in the end.

The server gives each open to any member of the queue group, so the opens of one operation may reach
the replica that hangs many times in a row. All times are virtual.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.transport.client.replica_search import ECHOES
from dimse_ingestion.transport.protocol.messages import FetchObject, FetchOpen
from tests.unit.transport.client_server import (
    ClientServerPair,
    FakeOperations,
    client_server_pair,
    commit_open,
    echo_request,
    fetch_open,
    find_open,
    instances,
    numbered,
    patterned_bytes,
    retrieve_open,
    wait_until,
)
from tests.unit.transport.virtual_time import run_in_virtual_time

HUNG, HEALTHY = 0, 1
SHORT = patterned_bytes(100)


@asynccontextmanager
async def one_of_two_hangs(*, opens: int, service: str) -> AsyncIterator[ClientServerPair]:
    """Start two replicas; the first `opens` of a service reach the one that hangs."""
    both = [FakeOperations(matches=numbered(3), instances=instances(3), data_set=SHORT)] * 2
    async with client_server_pair(*both) as pair:
        pair.hang(HUNG)
        pair.bus.members[service] = iter([*itertools.repeat(HUNG, opens), HEALTHY])
        yield pair


async def store(pair: ClientServerPair) -> None:
    assert (await pair.store(SHORT)).status == Status.SUCCESS


async def find(pair: ClientServerPair) -> None:
    finding = pair.requester.find(find_open())
    assert len([match async for match in finding]) == 3
    assert finding.result.status == Status.SUCCESS


async def commit(pair: ClientServerPair) -> None:
    assert (await pair.requester.commit(commit_open())).status == 0


async def retrieve(pair: ClientServerPair) -> None:
    result, listed = await pair.requester.retrieve(retrieve_open())
    assert (result.status, len(listed)) == (0, 3)


async def fetch(pair: ClientServerPair) -> None:
    stream = pair.requester.fetch(fetch_open(SHORT), stored=True)
    try:
        assert b"".join([piece async for piece in stream]) == SHORT
    finally:
        await stream.close()


@pytest.mark.parametrize("perform", [store, find, commit, retrieve, fetch])
def test_an_operation_reaches_the_other_replica_after_the_open_budget(
    perform: Callable[[ClientServerPair], Awaitable[None]],
) -> None:
    async def it() -> None:
        async with one_of_two_hangs(opens=12, service=perform.__name__) as pair:
            begin = asyncio.get_running_loop().time()
            await perform(pair)
            assert asyncio.get_running_loop().time() - begin > 2 * pair.timeouts.open_budget

    run_in_virtual_time(it())


def test_data_sets_of_a_batch_reach_the_other_replica_after_the_open_budget() -> None:
    async def it() -> None:
        async with one_of_two_hangs(opens=1 + 3 * 8, service="fetch") as pair:
            pair.bus.members["fetch"] = itertools.chain(
                pair.bus.members["fetch"], itertools.repeat(HEALTHY)
            )
            open_ = batch_open(3)
            streams = pair.requester.fetch_batch(open_)
            for stream in streams:
                await stream.wait_until_buffered()
                assert stream.take_whole() == SHORT
                await stream.close()

    run_in_virtual_time(it())


def batch_open(count: int) -> FetchOpen:
    first = fetch_open(SHORT)
    more = tuple(FetchObject(first.key, first.size, first.sha256) for _ in range(count - 1))
    return fetch_open(SHORT, more=more)


def test_an_answer_to_another_operation_is_enough_to_try_on() -> None:
    async def it() -> None:
        async with one_of_two_hangs(opens=12, service="store") as pair:
            pair.bus.members["echo"] = itertools.repeat(HUNG)
            pair.bus.members["find"] = itertools.repeat(HEALTHY)
            storing = asyncio.create_task(store(pair))
            for _ in range(3):
                await asyncio.sleep(pair.timeouts.open_budget * 0.7)
                await find(pair)
            await storing

    run_in_virtual_time(it())


def test_an_operation_that_never_reaches_the_other_replica_ends_at_its_deadline() -> None:
    async def it() -> None:
        async with one_of_two_hangs(opens=1000, service="commit") as pair:
            begin = asyncio.get_running_loop().time()
            with pytest.raises(
                Unavailable, match="Replicas of the ingestion service answer, but none took"
            ):
                await pair.requester.commit(commit_open())
            took = asyncio.get_running_loop().time() - begin
            assert took == pytest.approx(pair.timeouts.deadline, abs=2.0)

    run_in_virtual_time(it())


def test_a_store_whose_last_attempt_the_deadline_ends_tells_of_the_silence() -> None:
    async def it() -> None:
        async with one_of_two_hangs(opens=1000, service="store") as pair:
            result = await pair.store(SHORT)
            assert result.status == Status.OUT_OF_RESOURCES
            assert result.comment.startswith("Replicas of the ingestion service answer, but none")

    run_in_virtual_time(it())


def test_silence_of_every_replica_ends_an_operation_after_the_open_budget() -> None:
    async def it() -> None:
        async with one_of_two_hangs(opens=0, service="store") as pair:
            await store(pair)
            pair.hang(HEALTHY)
            begin = asyncio.get_running_loop().time()
            result = await pair.store(SHORT, "op2")
            assert result.status == Status.OUT_OF_RESOURCES
            assert result.comment.startswith(
                "No replica of the ingestion service answered for 10 s"
            )
            took = asyncio.get_running_loop().time() - begin
            assert took == pytest.approx(pair.timeouts.open_budget, abs=2.5)

    run_in_virtual_time(it())


def test_many_operations_without_an_answer_share_one_search() -> None:
    async def it() -> None:
        async with one_of_two_hangs(opens=0, service="echo") as pair:
            pair.hang(HEALTHY)
            await asyncio.gather(*(pair.store(SHORT, f"op{each}") for each in range(100)))
            searches = pair.timeouts.open_budget / pair.timeouts.open_timeout
            assert 0 < pair.bus.kinds["ECHO"] <= ECHOES * searches

    run_in_virtual_time(it())


def test_a_closed_client_searches_no_more() -> None:
    async def it() -> None:
        async with one_of_two_hangs(opens=1000, service="store") as pair:
            pair.bus.members["echo"] = itertools.repeat(HUNG)
            storing = asyncio.create_task(pair.store(SHORT))
            await wait_until(lambda: pair.bus.kinds["ECHO"])
            storing.cancel()
            await pair.requester.close()
            assert not any(
                task.get_name() == "search for a replica" for task in asyncio.all_tasks()
            )

    run_in_virtual_time(it())


def test_a_c_echo_reaches_the_other_replica_after_the_open_budget() -> None:
    async def it() -> None:
        async with one_of_two_hangs(opens=0, service="echo") as pair:
            pair.bus.members["find"] = itertools.repeat(HEALTHY)
            pair.bus.members["echo"] = itertools.repeat(HUNG)
            echoing = asyncio.create_task(pair.requester.echo(echo_request()))
            await asyncio.sleep(pair.timeouts.open_budget * 0.7)
            await find(pair)
            await asyncio.sleep(pair.timeouts.open_budget * 0.5)
            pair.bus.members["echo"] = itertools.repeat(HEALTHY)
            assert (await echoing).status == Status.SUCCESS

    run_in_virtual_time(it())

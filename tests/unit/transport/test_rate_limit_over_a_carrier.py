"""C-STOREs below a rate limit, in virtual time: what waits, and what must not."""

import asyncio

import pytest

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.protocol.timeouts import Timeouts
from dimse_ingestion.transport.server.flow_limits import FlowLimits
from tests.unit.transport.client_server import (
    KIB,
    FakeOperations,
    client_server_pair,
    echo_request,
    find_open,
    numbered,
    patterned_bytes,
)
from tests.unit.transport.lossy_carrier import drop
from tests.unit.transport.virtual_time import run_in_virtual_time

MIB = 1024 * KIB
PATIENT = Timeouts(deadline=5000)


def clock() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize(("size", "maximum_payload"), [(200 * KIB, 12 * KIB), (60 * KIB, MIB)])
def test_data_sets_that_are_sent_at_once_share_the_rate(size: int, maximum_payload: int) -> None:
    async def it() -> None:
        replica, contents = FakeOperations(), [bytes([each]) * size for each in range(8)]
        async with client_server_pair(
            replica, timeouts=PATIENT, maximum_payload=maximum_payload, rate=lambda: 40 * KIB
        ) as both:
            sending = (both.store(each, f"op{each[0]}") for each in contents)
            results = await asyncio.gather(*sending)
        assert {result.status for result in results} == {Status.SUCCESS}
        assert clock() == pytest.approx(8 * size / (40 * KIB), rel=0.2)
        assert sorted(replica.stored) == contents

    run_in_virtual_time(it())


def test_a_session_outlives_pauses_that_are_longer_than_its_lease() -> None:
    async def it() -> None:
        replica, content = FakeOperations(), patterned_bytes(3 * MIB)
        limits = FlowLimits()
        async with client_server_pair(
            replica, timeouts=PATIENT, maximum_payload=MIB, limits=limits, rate=lambda: 2 * KIB
        ) as both:
            assert (await both.store(content)).status == Status.SUCCESS
            assert both.bus.kinds["STORE"] == 1
            assert both.bus.kinds["DATA"] == 48  # each waits 32 s, the lease is 20 s
            assert both.bus.kinds["END"] == 1
        assert clock() == pytest.approx(3 * MIB / (2 * KIB), rel=0.05)
        assert replica.stored == [content]

    run_in_virtual_time(it())


def test_other_operations_do_not_wait() -> None:
    async def it() -> None:
        replica = FakeOperations(matches=numbered(20))
        async with client_server_pair(
            replica, timeouts=PATIENT, maximum_payload=MIB, rate=lambda: 2 * KIB
        ) as both:
            storing = asyncio.create_task(both.store(bytes(2 * MIB)))
            await asyncio.sleep(50)
            started = clock()
            assert (await both.requester.echo(echo_request())).status == Status.SUCCESS
            finding = both.requester.find(find_open())
            assert len([match async for match in finding]) == 20
            assert clock() - started < 0.1
            assert not storing.done()
            storing.cancel()
            await asyncio.gather(storing, return_exceptions=True)
            started = clock()
            assert (await both.store(bytes(100), "op2")).status == Status.SUCCESS
            assert clock() - started < 32 + 1  # the debt of one piece, and nobody's place in line

    run_in_virtual_time(it())


def test_an_answer_is_waited_for_no_longer_than_its_deadline() -> None:
    async def it() -> None:
        async with client_server_pair(
            FakeOperations(), maximum_payload=MIB, rate=lambda: 16 * KIB
        ) as both:
            result = await both.store(bytes(2 * MIB))
            assert clock() == pytest.approx(50, abs=0.1)
            assert (result.status, result.transient) == (Status.OUT_OF_RESOURCES, True)
            assert result.comment == "No answer in time; rate limit: 50 s"
            small = await asyncio.gather(*(both.store(bytes(60 * KIB), f"s{n}") for n in range(15)))
            failed = [each for each in small if each.status != Status.SUCCESS]
            assert 1 <= len(failed) <= 3  # 15 of 4 s each
            assert failed[0].comment == "No answer in time; rate limit: 50 s"

    run_in_virtual_time(it())


def test_waiting_counts_as_no_silence_of_the_service() -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica, maximum_payload=MIB, rate=lambda: 5 * KIB) as both:
            assert (await both.store(bytes(60 * KIB), "op1")).status == Status.SUCCESS
            await both.responders[0].close()
            storing = asyncio.create_task(both.store(bytes(60 * KIB), "op2"))
            await asyncio.sleep(15)  # it has waited 12 s, and found nobody
            assert not storing.done()
            await both.add_replica(replica)
            assert (await storing).status == Status.SUCCESS

    run_in_virtual_time(it())


def test_what_is_lost_is_sent_again_within_the_rate() -> None:
    async def it() -> None:
        replica, content = FakeOperations(), patterned_bytes(200 * KIB)
        async with client_server_pair(replica, timeouts=PATIENT, rate=lambda: 20 * KIB) as both:
            both.bus.delivery_delays = drop("DATA", first=2)
            assert (await both.store(content)).status == Status.SUCCESS
            assert clock() >= 200 / 20
        assert replica.stored == [content]

    run_in_virtual_time(it())


def test_a_lost_connection_is_waited_for_and_costs_no_bytes() -> None:
    async def it() -> None:
        replica, content = FakeOperations(), patterned_bytes(200 * KIB)
        async with client_server_pair(replica, timeouts=PATIENT, rate=lambda: 20 * KIB) as both:
            storing = asyncio.create_task(both.store(content))
            await asyncio.sleep(5)
            both.proxy.cut()
            await asyncio.sleep(5)
            both.proxy.restore()
            assert (await storing).status == Status.SUCCESS
            assert both.bus.kinds["STORE"] == 1
            assert both.bus.kinds["DATA"] <= 25 + 2
        assert clock() == pytest.approx(15, abs=1.5)
        assert replica.stored == [content]

    run_in_virtual_time(it())


def test_another_rate_counts_for_data_sets_on_their_way() -> None:
    async def it() -> None:
        rates: list[float | None] = [2.0 * KIB]
        replica, content = FakeOperations(), patterned_bytes(4 * MIB)
        async with client_server_pair(
            replica, timeouts=PATIENT, maximum_payload=MIB, rate=lambda: rates[-1]
        ) as both:
            storing = asyncio.create_task(both.store(content))
            await asyncio.sleep(100)
            assert not storing.done()
            rates.append(None)
            assert (await storing).status == Status.SUCCESS
            assert clock() < 102

    run_in_virtual_time(it())


def test_a_long_open_is_not_sent_at_once_at_a_low_rate() -> None:
    async def it() -> None:
        replica, content = FakeOperations(), patterned_bytes(512 * KIB)
        async with client_server_pair(
            replica, timeouts=PATIENT, maximum_payload=MIB, rate=lambda: 128 * KIB
        ) as both:
            assert (await both.store(content)).status == Status.SUCCESS
            assert both.bus.kinds["DATA"] == 8
        assert replica.stored == [content]

    run_in_virtual_time(it())

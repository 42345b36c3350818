import asyncio
import hashlib
from typing import TYPE_CHECKING

import pytest

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.observability import metrics
from dimse_ingestion.transport.protocol.codec import INLINE_IN_FLIGHT, OpenStore, encode
from dimse_ingestion.transport.protocol.messages import StoreResult
from dimse_ingestion.transport.protocol.subjects import SERVICES, Subjects
from dimse_ingestion.transport.protocol.timeouts import Timeouts
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

if TYPE_CHECKING:
    from dimse_ingestion.transport.carrier import Delivery

LONG = patterned_bytes(200 * KIB)


def clock() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("size", [0, 1, 1000, 7 * KIB, 8 * KIB, 100 * KIB, 100 * KIB + 1])
def test_the_bytes_arrive_unchanged(size: int) -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica) as both:
            result = await both.store(patterned_bytes(size))
        assert (result.status, result.size) == (Status.SUCCESS, size)
        assert replica.stored == [patterned_bytes(size)]

    run_in_virtual_time(it())


def test_a_small_instance_takes_one_round_trip() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations()) as both:
            await both.store(patterned_bytes(1000))
            assert both.bus.published == 2

    run_in_virtual_time(it())


@pytest.mark.parametrize(("size", "chunks"), [(512 * KIB + 20_000, 0), (1020 * KIB, 2)])
def test_an_image_of_a_ct_takes_one_round_trip(size: int, chunks: int) -> None:
    async def it() -> None:
        replica = FakeOperations()
        limits = FlowLimits()
        async with client_server_pair(replica, maximum_payload=KIB**2, limits=limits) as both:
            assert (await both.store(patterned_bytes(size))).status == Status.SUCCESS
            assert (both.bus.kinds["STORE"], both.bus.kinds["DATA"]) == (1, chunks)
        assert replica.stored == [patterned_bytes(size)]

    run_in_virtual_time(it())


def test_only_so_many_bytes_travel_without_credit_at_once() -> None:
    async def it() -> None:
        replica = FakeOperations()
        size = 1000 * KIB
        contents = [bytes([number]) * size for number in range(20)]
        async with client_server_pair(replica, maximum_payload=KIB**2, limits=FlowLimits()) as both:
            both.bus.delivery_delays = lambda _: (0.02,)
            results = await asyncio.gather(
                *(both.store(each, operation_id=f"op{each[0]}") for each in contents)
            )
            assert [result.status for result in results] == [Status.SUCCESS] * 20
            in_sessions = both.bus.kinds["END"]
            assert in_sessions == 20 - INLINE_IN_FLIGHT // size
            await both.store(bytes(size + 1))
            assert both.bus.kinds["END"] == in_sessions  # there is room again
        assert sorted(replica.stored) == sorted([*contents, bytes(size + 1)])

    run_in_virtual_time(it())


def test_an_open_with_its_data_set_is_not_sent_twice_over_a_slow_line() -> None:
    async def it() -> None:
        replica = FakeOperations()
        size = 512 * KIB
        async with client_server_pair(replica, maximum_payload=KIB**2) as both:
            both.bus.delivery_delays = lambda message: (len(message.body) / (200 * KIB),)
            assert (await both.store(patterned_bytes(size))).status == Status.SUCCESS
            assert both.bus.kinds["STORE"] == 1

    run_in_virtual_time(it())


@pytest.mark.parametrize(
    ("largest_window", "round_trips"), [(16 * 64 * KIB, 13), (4 * 64 * KIB, 32)]
)
def test_the_window_grows_with_the_distance(largest_window: int, round_trips: int) -> None:
    async def it() -> None:
        limits = FlowLimits(
            window=4 * 64 * KIB,
            min_window=64 * KIB,
            largest_window=largest_window,
            total_window=32 * 64 * KIB,
            chunk=64 * KIB,
        )
        content = bytes(8 * KIB**2)
        replica = FakeOperations()
        async with client_server_pair(replica, maximum_payload=KIB**2, limits=limits) as both:
            both.bus.delivery_delays = lambda _: (0.02,)
            started = clock()
            assert (await both.store(content)).status == Status.SUCCESS
            assert (clock() - started) / 0.04 == pytest.approx(round_trips, abs=2)
        assert metrics.transport_granted_bytes._value.get() == 0

    run_in_virtual_time(it())


def test_a_lost_open_with_its_data_set_is_sent_again() -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica, maximum_payload=KIB**2) as both:
            both.bus.delivery_delays = drop("STORE", first=1)
            assert (await both.store(patterned_bytes(512 * KIB))).status == Status.SUCCESS
            assert clock() < 6
        assert replica.stored == [patterned_bytes(512 * KIB)]

    run_in_virtual_time(it())


def test_a_stored_instance_is_not_sent_again() -> None:
    async def it() -> None:
        known_results = StoreResult(status=0, key="k", duplicate=True)
        replica = FakeOperations(known_results={hashlib.sha256(LONG).hexdigest(): known_results})
        async with client_server_pair(replica) as both:
            assert await both.store(LONG) == known_results
            assert both.bus.published == 2
        assert replica.store_calls == 0

    run_in_virtual_time(it())


def test_a_slow_check_for_a_stored_instance_is_waited_for() -> None:
    async def it() -> None:
        replica = FakeOperations(lookup_seconds=7.0)
        async with client_server_pair(replica) as both:
            assert (await both.store(LONG)).status == Status.SUCCESS
        assert replica.store_calls == 1

    run_in_virtual_time(it())


def test_a_slow_store_of_a_small_instance_is_not_opened_again() -> None:
    async def it() -> None:
        replicas = FakeOperations(finish_seconds=30.0), FakeOperations(finish_seconds=30.0)
        async with client_server_pair(*replicas) as both:
            assert (await both.store(patterned_bytes(100))).status == Status.SUCCESS
        assert sum(each.store_calls for each in replicas) == 1

    run_in_virtual_time(it())


def test_a_store_without_replicas_is_a700() -> None:
    async def it() -> None:
        async with client_server_pair() as both:
            store_calls = clock()
            result = await both.store(LONG)
            assert result.status == Status.OUT_OF_RESOURCES
            assert result.comment.startswith("No replica is subscribed: ")
            assert clock() - store_calls == pytest.approx(both.timeouts.open_budget, abs=0.1)

    run_in_virtual_time(it())


def test_a_replica_that_starts_late_is_found() -> None:
    async def it() -> None:
        async with client_server_pair() as both:
            storing = asyncio.create_task(both.store(LONG))
            await asyncio.sleep(4)
            await both.add_replica(FakeOperations())
            assert (await storing).status == Status.SUCCESS

    run_in_virtual_time(it())


def test_a_result_that_comes_too_late_is_a700() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(finish_seconds=300.0)) as both:
            store_calls = clock()
            result = await both.store(LONG, deadline=50.0)
            assert result.status == Status.OUT_OF_RESOURCES
            assert clock() - store_calls == pytest.approx(50.0)

    run_in_virtual_time(it())


def test_a_transient_failure_is_retried() -> None:
    async def it() -> None:
        replica = FakeOperations(failures=[Unavailable("bucket"), Unavailable("bucket")])
        async with client_server_pair(replica) as both:
            assert (await both.store(LONG)).status == Status.SUCCESS
            assert (await both.store(patterned_bytes(9), "op2")).status == Status.SUCCESS
        assert replica.stored == [LONG, patterned_bytes(9)]

    run_in_virtual_time(it())


def test_a_lasting_transient_failure_is_returned_as_the_replica_reported_it() -> None:
    async def it() -> None:
        replica = FakeOperations(failures=[Unavailable("The bucket is full")] * 1000)
        async with client_server_pair(replica) as both:
            store_calls = clock()
            result = await both.store(LONG)
            assert result.status == Status.OUT_OF_RESOURCES
            assert result.comment == "The bucket is full"
            assert clock() - store_calls <= both.timeouts.deadline
        assert 5 < replica.store_calls < 40

    run_in_virtual_time(it())


def test_a_permanent_failure_is_not_retried() -> None:
    async def it() -> None:
        replica = FakeOperations(failures=[DimseFailure(Status.CANNOT_UNDERSTAND, "It ends early")])
        async with client_server_pair(replica) as both:
            result = await both.store(LONG)
            assert (result.status, result.comment) == (Status.CANNOT_UNDERSTAND, "It ends early")
        assert replica.store_calls == 1

    run_in_virtual_time(it())


def test_an_unexpected_exception_is_0110_without_details(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(failures=[ValueError("Doe^John")])) as both:
            result = await both.store(LONG)
            assert result.status == Status.PROCESSING_FAILURE
            assert result.comment == "internal error"

    run_in_virtual_time(it())
    logged = capsys.readouterr().out
    assert "ValueError" in logged
    assert "client_server.py" in logged
    assert "Doe" not in logged


def test_success_without_reading_everything_is_a_failure() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(reads_nothing=True)) as both:
            assert (await both.store(LONG)).status == Status.PROCESSING_FAILURE
            assert (await both.store(patterned_bytes(9), "op2")).status == Status.PROCESSING_FAILURE

    run_in_virtual_time(it())


@pytest.mark.parametrize("size", [1000, 100 * KIB])
def test_bytes_other_than_announced_are_never_stored(size: int) -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica) as both:
            wrong = bytes(size)
            announcement = store_open(patterned_bytes(size))
            result = await both.requester.store(announcement, BytesSource(wrong), deadline=5.0)
        assert result.status == Status.OUT_OF_RESOURCES
        assert replica.stored == []
        assert replica.store_calls > 1

    run_in_virtual_time(it())


def test_an_instance_shorter_than_announced_is_never_stored() -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica) as both:
            announcement = store_open(LONG)
            result = await both.requester.store(announcement, BytesSource(LONG[:-1]), deadline=5.0)
        assert result.status == Status.OUT_OF_RESOURCES
        assert replica.stored == []

    run_in_virtual_time(it())


def test_a_slow_bucket_bounds_the_bytes_in_flight() -> None:
    async def it() -> None:
        replica = FakeOperations(step_seconds=0.5)
        async with client_server_pair(replica) as both:
            storing = asyncio.create_task(both.store(LONG))
            most = 0
            while not storing.done():
                await asyncio.sleep(0.1)
                sent = both.bus.kinds["DATA"]
                most = max(most, sent - len(replica.current_data) // (8 * KIB))
            assert storing.result().status == Status.SUCCESS
        assert 0 < most <= 64 // 8 + 1

    run_in_virtual_time(it())


def test_a_slow_bucket_does_not_end_the_lease() -> None:
    async def it() -> None:
        replica = FakeOperations(step_seconds=30.0)
        async with client_server_pair(replica, timeouts=Timeouts(deadline=5000)) as both:
            assert (await both.store(patterned_bytes(80 * KIB))).status == Status.SUCCESS
        assert replica.store_calls == 1

    run_in_virtual_time(it(), within=100_000)


def test_stores_above_the_session_limit_wait() -> None:
    async def it() -> None:
        replica = FakeOperations(finish_seconds=1.0)
        async with client_server_pair(replica, limits=FlowLimits(sessions=2)) as both:
            results = await asyncio.gather(
                *(both.store(patterned_bytes(50 * KIB + n), f"op{n}") for n in range(10))
            )
            assert {each.status for each in results} == {Status.SUCCESS}
            assert both.bus.kinds["BUSY"] > 0
        assert replica.max_concurrent == 2

    run_in_virtual_time(it())


def test_the_window_of_all_sessions_is_bounded() -> None:
    async def it() -> None:
        replica = FakeOperations(step_seconds=0.1)
        limits = FlowLimits(window=64 * KIB, min_window=64 * KIB, total_window=160 * KIB)
        async with client_server_pair(replica, limits=limits) as both:
            results = await asyncio.gather(*(both.store(LONG, f"op{n}") for n in range(6)))
            assert {each.status for each in results} == {Status.SUCCESS}
        assert replica.max_concurrent == 2

    run_in_virtual_time(it())


def test_busy_to_the_end_is_a700() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(), limits=FlowLimits(sessions=0)) as both:
            result = await both.store(LONG)
            assert result.status == Status.OUT_OF_RESOURCES
            assert result.comment == "The replica is busy"

    run_in_virtual_time(it())


def test_a_dead_replica_is_replaced_by_another() -> None:
    async def it() -> None:
        first, second = (
            FakeOperations("r1", step_seconds=0.1),
            FakeOperations("r2", step_seconds=0.1),
        )
        async with client_server_pair(first, second) as both:
            storing = asyncio.create_task(both.store(LONG))
            await wait_until(lambda: first.current_data or second.current_data)
            both.kill(0 if first.current_data else 1)
            assert (await storing).status == Status.SUCCESS
        assert first.stored + second.stored == [LONG]

    run_in_virtual_time(it())


def test_a_replica_that_dies_alone_is_waited_for_and_then_a700() -> None:
    async def it() -> None:
        replica = FakeOperations(step_seconds=0.1)
        async with client_server_pair(replica) as both:
            storing = asyncio.create_task(both.store(LONG))
            await wait_until(lambda: replica.current_data)
            both.kill(0)
            assert (await storing).status == Status.OUT_OF_RESOURCES
            await wait_until(lambda: replica.store_failures)
        assert replica.stored == []

    run_in_virtual_time(it())


def test_a_hanging_replica_is_replaced_by_another() -> None:
    async def it() -> None:
        first, second = (
            FakeOperations("r1", step_seconds=0.1),
            FakeOperations("r2", step_seconds=0.1),
        )
        async with client_server_pair(first, second) as both:
            storing = asyncio.create_task(both.store(LONG))
            await wait_until(lambda: first.current_data or second.current_data)
            both.hang(0 if first.current_data else 1)
            assert (await storing).status == Status.SUCCESS

    run_in_virtual_time(it())


@pytest.mark.parametrize("away", [0.0, 0.5, 2.5, 8.0])
@pytest.mark.parametrize("whose", ["proxy", "replica"])
def test_a_connection_that_breaks_and_comes_back_loses_nothing(away: float, whose: str) -> None:
    async def it() -> None:
        replica = FakeOperations(step_seconds=0.05)
        async with client_server_pair(replica) as both:
            carrier = both.proxy if whose == "proxy" else both.replicas[0]
            storing = asyncio.create_task(both.store(LONG))
            await wait_until(lambda: len(replica.current_data) > len(LONG) // 3)
            carrier.cut()
            await asyncio.sleep(away)
            carrier.restore()
            assert (await storing).status == Status.SUCCESS
        assert replica.stored[-1] == LONG

    run_in_virtual_time(it())


def test_a_short_disconnect_is_resumed_and_not_restarted() -> None:
    async def it() -> None:
        replica = FakeOperations(step_seconds=0.05)
        async with client_server_pair(replica) as both:
            storing = asyncio.create_task(both.store(LONG))
            await wait_until(lambda: len(replica.current_data) > len(LONG) // 3)
            both.proxy.cut()
            await asyncio.sleep(0.5)
            both.proxy.restore()
            assert (await storing).status == Status.SUCCESS
        assert replica.store_calls == 1

    run_in_virtual_time(it())


def test_without_any_connection_it_is_a700_after_the_open_budget() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations()) as both:
            both.proxy.cut()
            store_calls = clock()
            assert (await both.store(LONG)).status == Status.OUT_OF_RESOURCES
            assert clock() - store_calls == pytest.approx(both.timeouts.open_budget, abs=0.1)

    run_in_virtual_time(it())


def test_a_connection_that_is_away_for_less_than_the_open_budget_costs_nothing() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations()) as both:
            both.proxy.cut()
            storing = asyncio.create_task(both.store(LONG))
            await asyncio.sleep(both.timeouts.open_budget - 0.5)
            both.proxy.restore()
            assert (await storing).status == Status.SUCCESS

    run_in_virtual_time(it())


def test_a_silent_sender_loses_its_lease() -> None:
    async def it() -> None:
        replica = FakeOperations(step_seconds=0.1)
        async with client_server_pair(replica) as both:
            storing = asyncio.create_task(both.store(LONG))
            await wait_until(lambda: replica.current_data)
            both.proxy.cut()
            storing.cancel()
            await wait_until(lambda: replica.store_failures)
            assert both.responders[0].sessions == 0
        assert replica.stored == []

    run_in_virtual_time(it())


def test_a_cancelled_operation_is_aborted_at_once() -> None:
    async def it() -> None:
        replica = FakeOperations(step_seconds=0.1)
        async with client_server_pair(replica) as both:
            storing = asyncio.create_task(both.store(LONG))
            await wait_until(lambda: replica.current_data)
            storing.cancel()
            await wait_until(lambda: replica.store_failures, within=1.0)
        assert replica.stored == []

    run_in_virtual_time(it())


@pytest.mark.parametrize("kind", ["ACCEPT", "CREDIT", "DATA", "END", "PROGRESS", "RESULT", "STORE"])
@pytest.mark.parametrize("size", [1000, 200 * KIB])
def test_the_first_of_each_kind_may_be_lost(kind: str, size: int) -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica) as both:
            both.bus.delivery_delays = drop(kind, first=1)
            assert (await both.store(patterned_bytes(size))).status == Status.SUCCESS
        assert set(replica.stored) == {patterned_bytes(size)}
        assert replica.store_calls == 1

    run_in_virtual_time(it())


def test_a_second_open_joins_the_running_operation() -> None:
    async def it() -> None:
        replica = FakeOperations(step_seconds=0.2)
        async with client_server_pair(replica) as both:
            first = asyncio.create_task(both.store(LONG))
            await wait_until(lambda: replica.current_data)
            second = asyncio.create_task(both.store(LONG))
            assert (await second).status == Status.SUCCESS
            first.cancel()
        assert replica.store_calls == 1

    run_in_virtual_time(it())


def test_a_second_open_of_a_finished_operation_gets_its_result() -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica) as both:
            first = await both.store(LONG)
            published = both.bus.published
            assert await both.store(LONG) == first
            assert both.bus.published == published + 2
        assert replica.store_calls == 1

    run_in_virtual_time(it())


def test_another_data_set_under_the_same_operation_id_is_another_operation() -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica) as both:
            await both.store(LONG)
            await both.store(LONG[1:])
        assert replica.stored == [LONG, LONG[1:]]

    run_in_virtual_time(it())


def test_a_drain_accepts_no_new_operation_and_finishes_open_ones() -> None:
    async def it() -> None:
        first, second = (
            FakeOperations("r1", step_seconds=0.1),
            FakeOperations("r2", step_seconds=0.1),
        )
        async with client_server_pair(first, second) as both:
            storing = [asyncio.create_task(both.store(LONG, f"op{n}")) for n in range(4)]
            await wait_until(lambda: first.store_calls + second.store_calls == 4)
            await both.responders[0].drain(60)
            store_calls = first.store_calls
            assert len(first.stored) == store_calls > 0
            results = await asyncio.gather(*storing, *(both.store(LONG, f"l{n}") for n in range(4)))
            assert {each.status for each in results} == {Status.SUCCESS}
        assert first.store_calls == store_calls
        assert first.store_failures == []

    run_in_virtual_time(it())


def test_an_operation_that_a_drain_cannot_finish_moves_to_another_replica() -> None:
    async def it() -> None:
        first, second = FakeOperations("r1", step_seconds=2), FakeOperations("r2")
        async with client_server_pair(first) as both:
            storing = asyncio.create_task(both.store(LONG))
            await wait_until(lambda: first.current_data)
            await both.add_replica(second)
            left = clock() + 3
            await both.responders[0].drain(3)
            assert clock() == pytest.approx(left)
            assert (await storing).status == Status.SUCCESS
            assert clock() - left < 1
        assert (first.stored, second.stored) == ([], [LONG])

    run_in_virtual_time(it())


def test_replicas_rolling_under_load_lose_nothing() -> None:
    async def it() -> None:
        replicas = [FakeOperations("r", step_seconds=0.02)]
        async with client_server_pair(replicas[0]) as both:
            storing = []
            for round_ in range(5):
                storing += [
                    asyncio.create_task(both.store(patterned_bytes(90 * KIB + n), f"{round_}-{n}"))
                    for n in range(6)
                ]
                await asyncio.sleep(0.3)
                replicas.append(FakeOperations("r", step_seconds=0.02))
                await both.add_replica(replicas[-1])
                await both.responders[-2].drain(30)
                await both.responders[-2].close()
            results = await asyncio.gather(*storing)
            assert {each.status for each in results} == {Status.SUCCESS}
        assert sum(each.store_calls for each in replicas) == 30

    run_in_virtual_time(it())


def test_two_proxies_on_one_root_receive_only_their_own_answers() -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica) as both:
            other, _ = await both.add_proxy("p2")
            mine, theirs = patterned_bytes(90 * KIB), patterned_bytes(91 * KIB)
            results = await asyncio.gather(
                both.store(mine, "op1"),
                other.store(store_open(theirs, "op2"), BytesSource(theirs), deadline=50.0),
            )
            assert [each.size for each in results] == [90 * KIB, 91 * KIB]
            await other.close()
        assert sorted(map(len, replica.stored)) == [90 * KIB, 91 * KIB]

    run_in_virtual_time(it())


def test_a_restored_connection_with_smaller_messages_gets_smaller_chunks() -> None:
    async def it() -> None:
        replica = FakeOperations(step_seconds=0.05)
        async with client_server_pair(replica) as both:
            storing = asyncio.create_task(both.store(LONG))
            await wait_until(lambda: len(replica.current_data) > len(LONG) // 3)
            both.proxy.cut()
            both.bus.maximum_payload = 6 * KIB
            both.proxy.restore()
            assert (await storing).status == Status.SUCCESS
        assert replica.stored == [LONG]

    run_in_virtual_time(it())


def test_an_echo_is_answered_by_a_replica() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations("r7", step_seconds=1.5)) as both:
            assert (await both.requester.echo(echo_request())).replica == "r7"
            assert both.bus.kinds["ECHO"] == 1

    run_in_virtual_time(it())


def test_a_malformed_open_is_rejected() -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica) as both:
            for wrong in (
                store_open(LONG, sha256="../../etc"),
                store_open(LONG, size=-1),
                store_open(LONG, operation_id=""),
            ):
                result = await both.requester.store(wrong, BytesSource(b""), deadline=50.0)
                assert result.status == Status.PROCESSING_FAILURE
        assert replica.store_calls == 0

    run_in_virtual_time(it())


def test_an_open_of_another_version_is_rejected() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations()) as both:
            got: list[Delivery] = []
            subjects = Subjects(ROOT)
            stranger = both.bus.carrier()
            await stranger.subscribe(subjects.inbox("px", "1"), got.append)
            headers, body = encode(OpenStore(open=store_open(LONG)))
            headers["Dimse-Proto"] = "2"
            service, inbox = subjects.service("store"), subjects.inbox("px", "1")
            stranger.publish(service, body, reply=inbox, headers=headers)
            await wait_until(lambda: got)
            assert got[0].headers["Dimse-Op"] == "REJECT"

    run_in_virtual_time(it())


def test_garbage_on_any_subject_stops_no_operation() -> None:
    async def it() -> None:
        replica = FakeOperations(step_seconds=0.05)
        async with client_server_pair(replica) as both:
            storing = asyncio.create_task(both.store(LONG))
            await wait_until(lambda: replica.current_data)
            stranger, subjects = both.bus.carrier(), Subjects(ROOT)
            inbox = subjects.inbox("stranger", "1")
            for subject in (
                *(subjects.service(each) for each in SERVICES),
                subjects.session("r1-0", "unknown"),
                subjects.inbox("p1", "unknown"),
            ):
                stranger.publish(subject, b"\xc1", headers={"Dimse-Op": "DATA"})
                stranger.publish(subject, b"\xc1", headers={"Dimse-Op": "CREDIT"}, reply=inbox)
                stranger.publish(subject, b"")
            assert (await storing).status == Status.SUCCESS
        assert replica.store_calls == 1

    run_in_virtual_time(it())


def test_another_process_with_the_same_proxy_id_disturbs_nothing() -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica) as both:
            await both.store(LONG, operation_id="alone")
            alone = both.bus.published
            await both.add_proxy("p1")
            await both.store(patterned_bytes(200 * KIB + 1), operation_id="beside another")
            assert both.bus.published - alone <= alone + 1
        assert len(replica.stored) == 2
        assert replica.store_calls == 2

    run_in_virtual_time(it())

"""One result in spite of lost, duplicated and delayed messages; success only if stored."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.protocol.messages import FindMatch
from tests.unit.transport.client_server import (
    KIB,
    ClientServerPair,
    FakeOperations,
    client_server_pair,
    find_open,
    numbered,
    patterned_bytes,
)
from tests.unit.transport.lossy_carrier import delays_in_turn
from tests.unit.transport.virtual_time import run_in_virtual_time

_DELAYS = st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.3, 1.5, 4.0])
_FATES = st.lists(st.lists(_DELAYS, max_size=2), max_size=60)
_RANDOM_LOSS = st.lists(st.sampled_from([(), (0.0,), (0.0,), (0.0,)]), max_size=300)
_SIZES = st.sampled_from([0, 1, 5 * KIB, 8 * KIB, 70 * KIB, 150 * KIB + 3])
_CUTS = st.lists(
    st.tuples(st.integers(0, 2), st.floats(0.0, 1.0), st.sampled_from([0.0, 0.2, 3.0, 12.0])),
    max_size=4,
)


async def _disconnect_repeatedly(
    both: ClientServerPair, cuts: Sequence[tuple[int, float, float]]
) -> None:
    """Cut and restore connections: of the proxy (0) and of the replicas (1 and 2)."""
    for index, after, away in cuts:
        carrier = [both.proxy, *both.replicas][index]
        await asyncio.sleep(after)
        carrier.cut()
        await asyncio.sleep(away)
        carrier.restore()


@settings(max_examples=120, deadline=None)
@given(fates=_FATES, size=_SIZES, step_seconds=st.sampled_from([0.0, 0.02, 0.5]))
def test_a_store_survives_lost_duplicated_and_reordered_messages(
    fates: list[list[float]], size: int, step_seconds: float
) -> None:
    async def it() -> None:
        content = patterned_bytes(size)
        replicas = (
            FakeOperations("r1", step_seconds=step_seconds),
            FakeOperations("r2", step_seconds=step_seconds),
        )
        async with client_server_pair(*replicas) as both:
            both.bus.delivery_delays = delays_in_turn(fates)
            result = await both.store(content)
            stored = replicas[0].stored + replicas[1].stored
            assert all(each == content for each in stored)
            if result.status == Status.SUCCESS:
                assert stored
                assert result.size == size
            else:
                assert result.status == Status.OUT_OF_RESOURCES
            both.bus.delivery_delays = delays_in_turn([])
            assert (await both.store(content)).status == Status.SUCCESS

    run_in_virtual_time(it())


@settings(max_examples=60, deadline=None)
@given(fates=_RANDOM_LOSS)
def test_a_store_survives_the_loss_of_a_quarter_of_the_messages(
    fates: list[tuple[float, ...]],
) -> None:
    async def it() -> None:
        content = patterned_bytes(300 * KIB)
        replica = FakeOperations()
        async with client_server_pair(replica) as both:
            both.bus.delivery_delays = delays_in_turn(fates)
            result = await both.store(content)
            assert all(each == content for each in replica.stored)
            assert (result.status == Status.SUCCESS) <= bool(replica.stored)

    run_in_virtual_time(it())


@settings(max_examples=60, deadline=None)
@given(cuts=_CUTS, fates=_FATES, size=_SIZES)
def test_a_store_survives_disconnects_and_lost_messages(
    cuts: list[tuple[int, float, float]], fates: list[list[float]], size: int
) -> None:
    async def it() -> None:
        content = patterned_bytes(size)
        replicas = FakeOperations("r1", step_seconds=0.05), FakeOperations("r2", step_seconds=0.05)
        async with client_server_pair(*replicas) as both:
            both.bus.delivery_delays = delays_in_turn(fates)
            suffering = asyncio.create_task(_disconnect_repeatedly(both, cuts))
            result = await both.store(content)
            stored = replicas[0].stored + replicas[1].stored
            assert all(each == content for each in stored)
            assert (result.status == Status.SUCCESS) <= bool(stored)
            await suffering
            both.bus.delivery_delays = delays_in_turn(
                []
            )  # what was to be lost on the way is over, too
            assert (await both.store(content, "later")).status == Status.SUCCESS

    run_in_virtual_time(it())


@settings(max_examples=80, deadline=None)
@given(
    fates=_FATES,
    cuts=_CUTS,
    matches=st.integers(0, 120).map(lambda count: numbered(count, size=900)),
    step_seconds=st.sampled_from([0.0, 0.01]),
)
def test_matches_arrive_each_once_and_in_order_or_the_query_says_that_it_failed(
    fates: list[list[float]],
    cuts: list[tuple[int, float, float]],
    matches: list[FindMatch],
    step_seconds: float,
) -> None:
    async def it() -> None:
        replicas = [
            FakeOperations(f"r{n}", matches=matches, step_seconds=step_seconds) for n in (1, 2)
        ]
        async with client_server_pair(*replicas) as both:
            both.bus.delivery_delays = delays_in_turn(fates)
            suffering = asyncio.create_task(_disconnect_repeatedly(both, cuts))
            finding = both.requester.find(find_open())
            got = [match async for match in finding]
            assert got == matches[: len(got)]
            if finding.result.status == Status.SUCCESS:
                assert got == matches
                assert finding.result.matches == len(matches)
            else:
                assert finding.result.status == Status.OUT_OF_RESOURCES
            await suffering

    run_in_virtual_time(it())


@settings(max_examples=40, deadline=None)
@given(fates=_FATES, after=st.integers(0, 200))
def test_a_cancelled_query_ends_with_fe00_at_both_ends(
    fates: list[list[float]], after: int
) -> None:
    async def it() -> None:
        replica = FakeOperations(endless=True)
        async with client_server_pair(replica) as both:
            both.bus.delivery_delays = delays_in_turn(fates)
            finding = both.requester.find(find_open())
            count = 0
            async for _ in finding:
                count += 1
                if count > after:
                    finding.cancel()
            assert finding.result.status in (Status.CANCEL, Status.OUT_OF_RESOURCES)
            await both.responders[0].drain(100)
            assert replica.cancelled == len(replica.find_opens)

    run_in_virtual_time(it())

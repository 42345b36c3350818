import asyncio

import pytest

from dimse_ingestion.dicomweb.middleware.slow_client import ProgressTimeout
from tests.unit.transport.virtual_time import run_in_virtual_time


def seconds_until_timeout(timeout: ProgressTimeout, pause: float, count: int) -> float:
    """Return the seconds until a client times out that transfers `count` bytes after each pause."""

    async def move() -> None:
        while True:
            await timeout.wait(asyncio.sleep(pause))
            timeout.add_bytes(count)

    async def play() -> float:
        with pytest.raises(TimeoutError):
            await move()
        return asyncio.get_running_loop().time()

    return run_in_virtual_time(play())


def test_an_idle_client_times_out() -> None:
    assert seconds_until_timeout(ProgressTimeout(60, 1000), 3000, 1) == pytest.approx(60, abs=1)


def test_a_client_below_the_rate_times_out_little_later() -> None:
    assert seconds_until_timeout(ProgressTimeout(60, 1000), 10, 1) == pytest.approx(60, abs=1)
    assert seconds_until_timeout(ProgressTimeout(60, 1000), 0.5, 250) == pytest.approx(120, abs=2)


def test_without_a_rate_any_byte_restores_the_budget() -> None:
    timeout = ProgressTimeout(60, 0)
    with pytest.raises(TimeoutError):  # of the virtual time
        seconds_until_timeout(timeout, 50, 1)
    assert seconds_until_timeout(timeout, 50, 0) < 120


@pytest.mark.parametrize(("pause", "count"), [(1, 1000), (50, 50_000), (0.1, 10_000)])
def test_a_client_at_the_rate_does_not_time_out(pause: float, count: int) -> None:
    timeout = ProgressTimeout(60, 1000)
    with pytest.raises(TimeoutError):  # of the virtual time
        seconds_until_timeout(timeout, pause, count)
    assert timeout.delay == 0


def test_time_of_the_service_itself_does_not_count() -> None:
    async def play() -> None:
        timeout = ProgressTimeout(60, 1000)
        for _ in range(3):
            await asyncio.sleep(50)
            await timeout.wait(asyncio.sleep(1))
        assert timeout.delay == 0

    run_in_virtual_time(play())


def test_end_ends_the_current_wait() -> None:
    async def play() -> float:
        timeout = ProgressTimeout(60, 1000)
        waiting = asyncio.create_task(timeout.wait(asyncio.sleep(3000)))
        await asyncio.sleep(7)
        delay = timeout.delay
        timeout.end()
        with pytest.raises(TimeoutError):
            await waiting
        timeout.end()
        assert (timeout.delay, asyncio.get_running_loop().time() < 8) == (0, True)
        return delay

    assert run_in_virtual_time(play()) == pytest.approx(7, abs=0.01)

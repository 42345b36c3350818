import asyncio

import pytest

from dimse_ingestion.dicomweb.middleware.slow_client import ProgressTimeout
from tests.unit.transport.virtual_time import run_in_virtual_time


def passed(patience: ProgressTimeout, pause: float, count: int) -> float:
    """Seconds until patience ends with a client that moves `count` bytes after each pause."""

    async def move() -> None:
        while True:
            await patience.wait(asyncio.sleep(pause))
            patience.moved(count)

    async def play() -> float:
        with pytest.raises(TimeoutError):
            await move()
        return asyncio.get_running_loop().time()

    return run_in_virtual_time(play())


def test_a_silent_client_is_waited_for_so_long() -> None:
    assert passed(ProgressTimeout(60, 1000), 3000, 1) == pytest.approx(60, abs=1)


def test_a_dripping_client_is_not_waited_for_much_longer() -> None:
    assert passed(ProgressTimeout(60, 1000), 10, 1) == pytest.approx(60, abs=1)
    assert passed(ProgressTimeout(60, 1000), 0.5, 250) == pytest.approx(120, abs=2)


def test_without_least_rate_any_byte_will_do() -> None:
    patience = ProgressTimeout(60, 0)
    with pytest.raises(TimeoutError):  # that of the play
        passed(patience, 50, 1)
    assert passed(patience, 50, 0) < 120


@pytest.mark.parametrize(("pause", "count"), [(1, 1000), (50, 50_000), (0.1, 10_000)])
def test_a_client_of_the_least_rate_is_waited_for(pause: float, count: int) -> None:
    patience = ProgressTimeout(60, 1000)
    with pytest.raises(TimeoutError):  # that of the play
        passed(patience, pause, count)
    assert patience.behind == 0


def test_what_the_door_does_itself_does_not_count() -> None:
    async def play() -> None:
        patience = ProgressTimeout(60, 1000)
        for _ in range(3):
            await asyncio.sleep(50)
            await patience.wait(asyncio.sleep(1))
        assert patience.behind == 0

    run_in_virtual_time(play())


def test_it_ends_when_told_to() -> None:
    async def play() -> float:
        patience = ProgressTimeout(60, 1000)
        waiting = asyncio.create_task(patience.wait(asyncio.sleep(3000)))
        await asyncio.sleep(7)
        behind = patience.behind
        patience.end()
        with pytest.raises(TimeoutError):
            await waiting
        patience.end()
        assert (patience.behind, asyncio.get_running_loop().time() < 8) == (0, True)
        return behind

    assert run_in_virtual_time(play()) == pytest.approx(7, abs=0.01)

import asyncio

from dimse_ingestion.storage.memory_budget import MemoryBudget


async def settled() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Upload:
    """One that holds its share until it is told to end."""

    def __init__(self, budget: MemoryBudget, share: int) -> None:
        self.holds = False
        self._end = asyncio.Event()
        self.task = asyncio.create_task(self._run(budget, share))

    async def _run(self, budget: MemoryBudget, share: int) -> None:
        async with budget.reserved(share):
            self.holds = True
            await self._end.wait()
        self.holds = False

    async def end(self) -> None:
        self._end.set()
        await self.task
        await settled()


async def test_waits_for_room_in_the_order_of_asking() -> None:
    budget = MemoryBudget(10)
    first, large, small = Upload(budget, 6), Upload(budget, 9), Upload(budget, 1)
    await settled()
    assert (first.holds, large.holds, small.holds) == (True, False, False)
    await first.end()
    assert (large.holds, small.holds) == (True, True)


async def test_one_that_wants_more_than_there_is_gets_all() -> None:
    budget = MemoryBudget(10)
    small, huge = Upload(budget, 1), Upload(budget, 1000)
    await settled()
    assert not huge.holds
    await small.end()
    assert huge.holds
    await huge.end()
    last = Upload(budget, 10)
    await settled()
    assert last.holds


async def test_one_that_is_cancelled_while_waiting_lets_the_next_in() -> None:
    budget = MemoryBudget(10)
    first, large, small = Upload(budget, 6), Upload(budget, 9), Upload(budget, 4)
    await settled()
    large.task.cancel()
    await settled()
    assert small.holds
    await first.end()
    await small.end()
    assert Upload(budget, 10).task
    await settled()


async def test_one_cancelled_as_its_turn_comes_gives_it_back() -> None:
    budget = MemoryBudget(10)
    async with budget.reserved(10):
        second = Upload(budget, 10)
        await settled()
    second.task.cancel()  # its turn has come, but it has not run since
    await settled()
    assert not second.holds
    third = Upload(budget, 10)
    await settled()
    assert third.holds

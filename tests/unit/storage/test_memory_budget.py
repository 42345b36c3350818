import asyncio

from dimse_ingestion.storage.memory_budget import MemoryBudget


async def settled() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


class Upload:
    """An upload that holds its reservation until `end`."""

    def __init__(self, budget: MemoryBudget, share: int) -> None:
        self._holds = False
        self._end = asyncio.Event()
        self.task = asyncio.create_task(self._run(budget, share))

    async def _run(self, budget: MemoryBudget, share: int) -> None:
        async with budget.reserved(share):
            self._holds = True
            await self._end.wait()
        self._holds = False

    def is_holding(self) -> bool:
        return self._holds

    async def end(self) -> None:
        self._end.set()
        await self.task
        await settled()


async def test_reservations_are_served_in_order_of_arrival() -> None:
    budget = MemoryBudget(10)
    first, large, small = Upload(budget, 6), Upload(budget, 9), Upload(budget, 1)
    await settled()
    assert (first.is_holding(), large.is_holding(), small.is_holding()) == (True, False, False)
    await first.end()
    assert (large.is_holding(), small.is_holding()) == (True, True)


async def test_a_reservation_above_the_total_gets_the_whole_budget() -> None:
    budget = MemoryBudget(10)
    small, huge = Upload(budget, 1), Upload(budget, 1000)
    await settled()
    assert not huge.is_holding()
    await small.end()
    assert huge.is_holding()
    await huge.end()
    last = Upload(budget, 10)
    await settled()
    assert last.is_holding()


async def test_a_cancelled_reservation_lets_the_next_one_in() -> None:
    budget = MemoryBudget(10)
    first, large, small = Upload(budget, 6), Upload(budget, 9), Upload(budget, 4)
    await settled()
    large.task.cancel()
    await settled()
    assert small.is_holding()
    await first.end()
    await small.end()
    assert Upload(budget, 10).task
    await settled()


async def test_a_reservation_cancelled_when_granted_is_released() -> None:
    budget = MemoryBudget(10)
    async with budget.reserved(10):
        second = Upload(budget, 10)
        await settled()
    second.task.cancel()  # its turn has come, but it has not run since
    await settled()
    assert not second.is_holding()
    third = Upload(budget, 10)
    await settled()
    assert third.is_holding()

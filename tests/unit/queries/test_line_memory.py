import asyncio
from contextlib import AsyncExitStack

import pytest

from dimse_ingestion.failures import Unavailable
from dimse_ingestion.queries.line_memory import LineMemory
from dimse_ingestion.queries.match_line import SHORT_LINE
from dimse_ingestion.queries.wire import LONGEST_LINE
from dimse_ingestion.storage.memory_budget import MemoryBudget

LONG = SHORT_LINE + 1


def line_memory(budget: MemoryBudget, stack: AsyncExitStack, timeout: float = 60.0) -> LineMemory:
    return LineMemory(budget, timeout, stack)


async def test_short_lines_wait_for_nothing() -> None:
    budget = MemoryBudget(LONGEST_LINE)
    async with AsyncExitStack() as stack, budget.reserved(LONGEST_LINE):
        memory = line_memory(budget, stack)
        await memory.reserve(SHORT_LINE)
        memory.shrink(0)
        await memory.release()


async def test_a_long_line_waits_until_another_is_read() -> None:
    budget = MemoryBudget(LONGEST_LINE + 100)
    async with AsyncExitStack() as one, AsyncExitStack() as other:
        first, second = line_memory(budget, one), line_memory(budget, other)
        await first.reserve(LONG)
        waiting = asyncio.create_task(second.reserve(LONG))
        await asyncio.sleep(0)
        first.shrink(101)
        await asyncio.sleep(0)
        assert not waiting.done()
        await first.release()
        await waiting


async def test_what_a_line_does_not_take_is_free_for_others() -> None:
    budget = MemoryBudget(LONGEST_LINE + 100)
    async with AsyncExitStack() as one, AsyncExitStack() as other:
        first, second = line_memory(budget, one), line_memory(budget, other)
        await first.reserve(LONG)
        first.shrink(100)
        await asyncio.wait_for(second.reserve(LONG), 10)


async def test_a_long_line_that_waits_too_long_fails() -> None:
    budget = MemoryBudget(LONGEST_LINE)
    async with AsyncExitStack() as stack, budget.reserved(1):
        with pytest.raises(Unavailable, match="ask again later"):
            await line_memory(budget, stack, 0.01).reserve(LONG)


async def test_an_answer_that_ends_early_returns_its_share() -> None:
    budget = MemoryBudget(LONGEST_LINE)
    async with AsyncExitStack() as stack:
        await line_memory(budget, stack).reserve(LONG)
    async with AsyncExitStack() as stack:
        await asyncio.wait_for(line_memory(budget, stack).reserve(LONG), 10)

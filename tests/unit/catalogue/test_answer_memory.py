"""Long matches of all queries share memory: they wait for it, and not for ever."""

import asyncio

import pytest

from dimse_ingestion.catalogue.answer_memory import AnswerMemory
from dimse_ingestion.failures import Unavailable


async def test_a_long_match_waits_for_another_and_a_short_one_does_not() -> None:
    memory = AnswerMemory(timeout=30, total=10)
    async with memory.reserved(8):
        waiting = asyncio.ensure_future(_reserve(memory, 8))
        await _reserve(memory, 0)
        assert not waiting.done()
    assert await waiting


async def _reserve(memory: AnswerMemory, length: int) -> bool:
    async with memory.reserved(length):
        return True


async def test_one_match_may_be_longer_than_the_memory() -> None:
    async with AnswerMemory(timeout=30, total=10).reserved(11):
        pass


async def test_a_match_that_waits_too_long_fails_as_transient() -> None:
    memory = AnswerMemory(timeout=0.01, total=10)
    async with memory.reserved(10):
        with pytest.raises(Unavailable):
            async with memory.reserved(1):
                pass
    async with memory.reserved(10):
        pass


async def test_a_failure_within_the_block_is_raised_and_releases_memory() -> None:
    memory = AnswerMemory(timeout=0.01, total=10)
    with pytest.raises(TimeoutError):
        async with memory.reserved(10):
            raise TimeoutError
    async with memory.reserved(10):
        pass

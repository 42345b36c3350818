"""Memory of long matches: those of all queries of the process share a budget.

A match of some MiB stays in memory until it is sent. Short matches need no share: a page has few of
them. Rows are decoded in `query`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)

from dimse_ingestion.failures import Unavailable
from dimse_ingestion.storage.memory_budget import MemoryBudget

_TOTAL = 32 * 2**20  # bytes of JSON: some elements of a data set take eight times as many


class AnswerMemory:
    """The budget of `total` bytes; a match waits for its share for at most `timeout` seconds."""

    def __init__(self, timeout: float, total: int = _TOTAL) -> None:
        self._budget = MemoryBudget(total)
        self._timeout = timeout

    def reserved(self, length: int) -> AbstractAsyncContextManager[None]:
        """Reserve memory for `length` bytes until the block's end; raises Unavailable."""
        return self._reserved(length) if length else nullcontext()

    @asynccontextmanager
    async def _reserved(self, length: int) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._timeout):
                    await stack.enter_async_context(self._budget.reserved(length))
            except TimeoutError:
                raise Unavailable(
                    "The catalogue sends too many long matches at once: ask again later."
                ) from None
            yield

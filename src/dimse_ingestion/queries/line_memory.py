"""Memory for the long lines of answers: the answers of one process share a budget.

A line of some MiB has a match with large sequences. Its share is reserved while the line still
arrives, reduced to what it takes once it is read, and returned when the caller takes the next
match. Short lines need none. The lines are read in `wire`.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

from dimse_ingestion.failures import Unavailable
from dimse_ingestion.queries.match_line import SHORT_LINE
from dimse_ingestion.queries.wire import LONGEST_LINE


class Reservation(Protocol):
    """A part of a memory budget."""

    def shrink(self, wanted: int) -> None:
        """Return all but `wanted` bytes."""


class Budget(Protocol):
    """A memory budget; `storage.memory_budget` has one."""

    def reserved(self, wanted: int) -> AbstractAsyncContextManager[Reservation]:
        """Reserve `wanted` bytes until the end of the block."""


class LineMemory:
    """The share of one answer, which waits for it at most `timeout` seconds; `stack` returns it."""

    def __init__(self, budget: Budget | None, timeout: float, stack: AsyncExitStack) -> None:
        self._budget = budget
        self._timeout = timeout
        self._stack = stack
        self._reservation: Reservation | None = None

    async def reserve(self, arrived: int) -> None:
        """Reserve memory if a line of which `arrived` bytes are here is long; raises Unavailable.

        It is the longest line's: what grew in small steps would wait for others that wait, too.
        """
        if self._budget is None or self._reservation is not None or arrived <= SHORT_LINE:
            return
        try:
            async with asyncio.timeout(self._timeout):
                self._reservation = await self._stack.enter_async_context(
                    self._budget.reserved(LONGEST_LINE)
                )
        except TimeoutError:
            sentence = "Too many large matches are read at once: ask again later."
            raise Unavailable(sentence) from None

    def shrink(self, wanted: int) -> None:
        """Return all but what the line that was read takes."""
        if self._reservation is not None:
            self._reservation.shrink(wanted)

    async def release(self) -> None:
        """Return the reservation: the match is no longer needed."""
        if self._reservation is not None:
            self._reservation = None
            await self._stack.aclose()

"""Memory budget of a bucket's uploads: many at once wait for each other, so memory stays bounded.

An upload reserves the most memory it will use and releases it at its end. Reservations are served
in order of arrival, so that small uploads do not starve a large one.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class MemoryBudget:
    """A budget of `total` bytes."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def reserved(self, wanted: int) -> AsyncIterator[None]:
        """Reserve `wanted` bytes, at most the whole budget, until the end of the block."""
        share = min(wanted, self._total)
        await self._take(share)
        try:
            yield
        finally:
            self._release(share)

    async def _take(self, share: int) -> None:
        if not self._waiting and share <= self._free:
            self._free -= share
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((share, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release(share)  # the reservation was granted just before the cancellation
            else:
                self._serve()  # the next in the queue may fit where this one did not
            raise

    def _release(self, share: int) -> None:
        self._free += share
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            share, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
            elif share <= self._free:
                self._waiting.popleft()
                self._free -= share
                turn.set_result(None)
            else:
                return

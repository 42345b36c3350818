"""Memory that uploads share: many at once wait for each other instead of growing the process.

An upload takes what it will hold at most and gives it back at its end, first come, first served,
so that a large one is not starved by small ones.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class MemoryBudget:
    """`total` bytes to be shared out."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def holding(self, wanted: int) -> AsyncIterator[None]:
        """Hold `wanted` bytes (all there are, if that is less) until the end of the block."""
        share = min(wanted, self._total)
        await self._take(share)
        try:
            yield
        finally:
            self._give(share)

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
                self._give(share)  # it was our turn just as we were cancelled
            else:
                self._serve()  # whoever stood behind us may fit
            raise

    def _give(self, share: int) -> None:
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

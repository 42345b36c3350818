"""Memory budget of a process: large tasks wait for each other, so memory stays bounded.

A task (an upload, a match of a query) reserves the most memory it will use and releases it at its
end. Reservations are served in order of arrival, so that small ones do not starve a large one.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Reservation:
    """A part of a budget, of which what is not needed can be returned early."""

    def __init__(self, share: int, release: Callable[[int], None]) -> None:
        self.share = share
        self._release = release

    def shrink(self, wanted: int) -> None:
        """Return all but `wanted` bytes."""
        if wanted < self.share:
            returned = self.share - wanted
            self.share = wanted
            self._release(returned)


class MemoryBudget:
    """A budget of `total` bytes."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def reserved(self, wanted: int) -> AsyncIterator[Reservation]:
        """Reserve `wanted` bytes, at most the whole budget, until the end of the block."""
        share = min(wanted, self._total)
        await self._take(share)
        reservation = Reservation(share, self._release)
        try:
            yield reservation
        finally:
            reservation.shrink(0)

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

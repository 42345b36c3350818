"""Where metadata of store requests is read: one thread, and a bound on what is read at once.

Reading takes processor time and memory in proportion to a document. One thread leaves the event
loop its turn, whatever is sent, and documents wait for room before their bytes are loaded.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Lease:
    """Room that is taken until the last of its holders has released it."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._holders = 1
        self._release = release

    def share(self) -> Callable[[], None]:
        """Add a holder; return how it releases the room."""
        self._holders += 1
        return self.release

    def release(self) -> None:
        """Release the room for one holder."""
        self._holders -= 1
        if not self._holders:
            self._release()


class MetadataWorker:
    """One for a service; `room` is the number of bytes of documents that are read at once."""

    def __init__(self, room: int) -> None:
        self._room = self._left = room
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="metadata")

    def close(self) -> None:
        """End the thread when it has done what it does."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def run(self, function: Callable[[], T]) -> T:
        """Return what the function gives in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    async def lease(self, length: int) -> Lease:
        """Wait for room for a document of so many bytes, in the order of asking."""
        length = min(length, self._room)
        if self._waiting or length > self._left:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((length, turn))
            try:
                await turn
            except asyncio.CancelledError:
                self._leave(length, turn)
                raise
        else:
            self._left -= length
        return Lease(lambda: self._give_back(length))

    def _leave(self, length: int, turn: asyncio.Future[None]) -> None:
        """Give up a turn, which may have come already."""
        if turn.done() and not turn.cancelled():
            self._give_back(length)
        else:
            self._waiting.remove((length, turn))
            self._give_back(0)

    def _give_back(self, length: int) -> None:
        self._left += length
        while self._waiting and self._waiting[0][0] <= self._left:
            taken, turn = self._waiting.popleft()
            self._left -= taken
            turn.set_result(None)

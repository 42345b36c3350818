"""The thread that parses metadata of store requests, and a bound on the memory it uses.

Parsing takes processor time and memory in proportion to the size of a document. A thread keeps the
event loop responsive. A document waits until enough of the bounded capacity is free before its
bytes are loaded.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Lease:
    """A share of the capacity that is in use until its last holder has released it."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._holders = 1
        self._release = release

    def share(self) -> Callable[[], None]:
        """Add a holder; return the function that releases its share."""
        self._holders += 1
        return self.release

    def release(self) -> None:
        """Release the share of one holder."""
        self._holders -= 1
        if not self._holders:
            self._release()


class MetadataWorker:
    """Runs functions in one thread; `capacity` is the bytes of documents in memory at once."""

    def __init__(self, capacity: int) -> None:
        self._capacity = self._left = capacity
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="metadata")

    def close(self) -> None:
        """Stop the thread after the function that it runs now."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def run(self, function: Callable[[], T]) -> T:
        """Run the function in the thread and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    async def lease(self, length: int) -> Lease:
        """Wait for capacity for a document of `length` bytes; first come, first served."""
        length = min(length, self._capacity)
        if self._waiting or length > self._left:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((length, turn))
            try:
                await turn
            except asyncio.CancelledError:
                self._cancel_wait(length, turn)
                raise
        else:
            self._left -= length
        return Lease(lambda: self._give_back(length))

    def _cancel_wait(self, length: int, turn: asyncio.Future[None]) -> None:
        """Leave the queue, or return the capacity if it was granted already."""
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

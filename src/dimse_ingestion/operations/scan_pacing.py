"""Limits on the event loop time and the memory that the scans of one process use.

A data set of some kilobytes may hold a million elements. Scans run in slices, and the event loop
runs other tasks between any two slices, so that echoes and other stores continue. Scans with many
elements reserve memory one after the other, so that a process needs memory for only a few of them.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from dimse_ingestion.dicom.limits import ParserLimits
from dimse_ingestion.dicom.scanner import Scanner
from dimse_ingestion.failures import Unavailable

_MAX_SCAN = ParserLimits().retained
_BUDGET = 2 * _MAX_SCAN + 4 * 2**20  # bytes of events: about 200 MiB of elements
_UNRESERVED = 512 * 1024  # bytes of an event: thousands of elements, held without a reservation
_MAX_WAIT = 30.0


class ScanPacing:
    """Shared by all scans of a process; `budget` bounds what large ones keep (`Scanner.cost`).

    A scan waits for `maximum_wait` seconds for memory.
    """

    def __init__(self, budget: int = _BUDGET, maximum_wait: float = _MAX_WAIT) -> None:
        self._budget = budget
        self._maximum_wait = maximum_wait
        self._slice_lock = asyncio.Lock()
        self._reservation_lock = asyncio.Lock()
        self._released = asyncio.Event()

    @contextmanager
    def share(self) -> Iterator["ScanShare"]:
        """Return the share of one scan; its elements count until the block ends."""
        share = ScanShare(self)
        try:
            yield share
        finally:
            self.release(share.reserved)

    async def reserve(self, cost: int) -> None:
        """Reserve memory in the order of calls; raises Unavailable after `maximum_wait`."""
        try:
            async with asyncio.timeout(self._maximum_wait), self._reservation_lock:
                while cost > self._budget:
                    self._released.clear()
                    await self._released.wait()
                self._budget -= cost
        except TimeoutError:
            raise Unavailable(
                "Too many large data sets are read at once: send again later."
            ) from None

    def release(self, cost: int) -> None:
        """Return memory to the budget."""
        self._budget += cost
        self._released.set()

    async def yield_to_event_loop(self) -> None:
        """Let all other ready tasks of the event loop run first."""
        async with self._slice_lock:
            await asyncio.sleep(0)


class ScanShare:
    """One scan's part of the limits; `reserved` is the memory it holds."""

    def __init__(self, pacing: ScanPacing) -> None:
        self.reserved = 0
        self._pacing = pacing

    async def feed(self, scanner: Scanner, chunk: bytes | memoryview) -> None:
        """Feed a chunk, in slices; raises DimseFailure as the scanner does, and Unavailable."""
        for _ in scanner.feed_in_slices(chunk):
            if scanner.cost > max(self.reserved, _UNRESERVED):
                await self._grow()
            await self._pacing.yield_to_event_loop()
        if self.reserved and scanner.skippable:
            self._shrink(scanner.cost)

    async def _grow(self) -> None:
        """Reserve all that a scan may keep at once: in small steps, scans would deadlock."""
        await self._pacing.reserve(_MAX_SCAN - self.reserved)
        self.reserved = _MAX_SCAN

    def _shrink(self, cost: int) -> None:
        """Release what is not needed while a long value passes."""
        self._pacing.release(self.reserved - cost)
        self.reserved = cost

"""What the scans of one process may take of it: time of the event loop, and memory.

A data set of some kilobytes may hold a million elements. Scans work in slices; between two slices
of any of them the event loop has a turn, so that echoes and other stores go on. Scans that keep
much take turns, so that a process needs memory for a few of them only.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from dimse_ingestion.dicom.failure import OutOfResources
from dimse_ingestion.dicom.limits import ParserLimits
from dimse_ingestion.dicom.scanning import Scanner

_MAX_SCAN = ParserLimits().kept
_BUDGET = 2 * _MAX_SCAN + 4 * 2**20  # bytes of events, some 200 MiB of elements
_UNRESERVED = 512 * 1024  # bytes of an event: thousands of elements, kept without asking
_MAX_WAIT = 30.0


class ScanPacing:
    """Shared by all scans of a process; `room` is what large ones may keep (`Scanner.cost`).

    A scan waits for `longest_wait` seconds for room.
    """

    def __init__(self, budget: int = _BUDGET, maximum_wait: float = _MAX_WAIT) -> None:
        self._budget = budget
        self._maximum_wait = maximum_wait
        self._slice_lock = asyncio.Lock()
        self._reservation_lock = asyncio.Lock()
        self._released = asyncio.Event()

    @contextmanager
    def share(self) -> Iterator["ScanShare"]:
        """Return what one scan feeds its scanner by; its elements count until the block ends."""
        share = ScanShare(self)
        try:
            yield share
        finally:
            self.release(share.reserved)

    async def reserve(self, cost: int) -> None:
        """Wait for room in the order of asking; raises transient A700 when there is none."""
        try:
            async with asyncio.timeout(self._maximum_wait), self._reservation_lock:
                while cost > self._budget:
                    self._released.clear()
                    await self._released.wait()
                self._budget -= cost
        except TimeoutError:
            raise OutOfResources(
                "Too many large data sets are read at once: send again later."
            ) from None

    def release(self, cost: int) -> None:
        """Give room back."""
        self._budget += cost
        self._released.set()

    async def yield_to_event_loop(self) -> None:
        """Let everything else that waits for the event loop run first."""
        async with self._slice_lock:
            await asyncio.sleep(0)


class ScanShare:
    """One scan's part in the pacing; `held` is the room it has."""

    def __init__(self, pacing: ScanPacing) -> None:
        self.reserved = 0
        self._pacing = pacing

    async def feed(self, scanner: Scanner, chunk: bytes | memoryview) -> None:
        """Feed a chunk, in slices; raises DimseFailure as the scanner does, and transient A700."""
        for _ in scanner.feed_in_slices(chunk):
            if scanner.cost > max(self.reserved, _UNRESERVED):
                await self._grow()
            await self._pacing.yield_to_event_loop()
        if self.reserved and scanner.skippable:
            self._shrink(scanner.cost)

    async def _grow(self) -> None:
        """Have room for all that a scan may keep: by small steps, all would wait for each other."""
        await self._pacing.reserve(_MAX_SCAN - self.reserved)
        self.reserved = _MAX_SCAN

    def _shrink(self, cost: int) -> None:
        """Keep only what is needed while a long value passes."""
        self._pacing.release(self.reserved - cost)
        self.reserved = cost

"""What the scans of one process may take of it: time of the event loop, and memory.

A data set of some kilobytes may hold a million elements. Scans work in slices; between two slices
of any of them the event loop has a turn, so that echoes and other stores go on. What all keep
together is bounded: beyond that a scan fails with A700, and the sender may try again.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from dimse_ingestion.dicom.failure import OutOfResources
from dimse_ingestion.dicom.scanning import Scanner

_ROOM = 64 * 2**20  # bytes of events, some 200 MiB of elements


class ScanPacing:
    """Shared by all scans of a process; `room` is what they may keep, as `Scanner.cost` counts."""

    def __init__(self, room: int = _ROOM) -> None:
        self._room = room
        self._turn = asyncio.Lock()

    @contextmanager
    def share(self) -> Iterator["ScanShare"]:
        """Return what one scan feeds its scanner by; its elements count until the block ends."""
        share = ScanShare(self)
        try:
            yield share
        finally:
            self.reserve(-share.held)

    def reserve(self, cost: int) -> None:
        """Count what a scan keeps; raises transient A700 when there is no room for it."""
        if cost > self._room:
            raise OutOfResources("Too many large data sets are read at once: send again later.")
        self._room -= cost

    async def leave_turn(self) -> None:
        """Let everything else that waits for the event loop run first."""
        async with self._turn:
            await asyncio.sleep(0)


class ScanShare:
    """One scan's part in the pacing; `held` is what it keeps."""

    def __init__(self, pacing: ScanPacing) -> None:
        self.held = 0
        self._pacing = pacing

    async def feed(self, scanner: Scanner, chunk: bytes | memoryview) -> None:
        """Feed a chunk, in slices; raises DimseFailure as the scanner does, and transient A700."""
        for _ in scanner.feeding(chunk):
            self._count(scanner)
            await self._pacing.leave_turn()
        self._count(scanner)

    def _count(self, scanner: Scanner) -> None:
        more = scanner.cost - self.held
        self._pacing.reserve(more)
        self.held += more

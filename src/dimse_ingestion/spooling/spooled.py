"""One data set on its way through a door: fragments in, its digest, and reads at any offset.

It is the upper layer's sink and the transport's source. Bytes are kept in blocks; a full block is
hashed, and written once the data set has outgrown memory, by a thread, in order. Nothing here
looks into the data set.
"""

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import Awaitable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from dimse_ingestion.dicom.failure import DimseFailure

_BLOCK = 512 * 1024
_WAITING = 2  # blocks that may wait for the thread before the peer has to
_HASHED_AT_ONCE = 64 * 1024  # bytes so few that a thread would cost more than hashing them


@dataclass(slots=True, eq=False)
class _Block:
    content: bytearray = field(default_factory=bytearray)
    hashed: bool = False

    @property
    def room(self) -> int:
        """Bytes it still takes."""
        return _BLOCK - len(self.content)


class SpoolResources(Protocol):
    """What one data set asks of the spool (see `spool`)."""

    executor: Executor

    def is_memory_scarce(self, length: int, held: int) -> bool:
        """Whether a data set with `held` bytes in memory may not take `length` more."""

    def count(self, *, memory: int = 0, disk: int = 0) -> None:
        """Bytes taken, or given back when negative."""

    def reserve(self, length: int) -> None:
        """Count bytes that go to a file. Raises OutOfResources above the limit."""

    def open_file(self, operation_id: str) -> int:
        """A descriptor of a new file without a name. Raises OSError."""

    def mark_broken(self, trouble: OSError) -> DimseFailure:
        """What a disk's error means for the peer."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A whole data set: its length in bytes and SHA-256 in hexadecimal."""

    size: int
    sha256: str


class SpooledDataSet:
    """A `DataSetSink` until `sealed`, a `Source` until `close`."""

    def __init__(self, room: SpoolResources, operation_id: str) -> None:
        self.operation_id = operation_id
        self.size = 0
        self._resources = room
        self._blocks: list[_Block] = []
        self._waiting: deque[_Block] = deque()
        self._working: asyncio.Task[None] | None = None
        self._digest = hashlib.sha256()
        self._spilling = False
        self._file = -1
        self._in_memory = 0
        self._on_disk = 0
        self._failure: DimseFailure | None = None
        self._closed = False

    def write(self, fragment: bytes | memoryview) -> Awaitable[None] | None:
        """Take one fragment; the awaitable is for a disk that is slower than the peer."""
        self.size += len(fragment)
        if self._failure is None and not self._closed:
            self._take(memoryview(fragment))
        behind = self._spilling and len(self._waiting) > _WAITING
        return asyncio.shield(self._working) if behind and self._working else None

    def abandon(self) -> None:
        """The rest won't come."""
        self.close()

    async def seal(self) -> Sealed:
        """The data set whole: nothing more is written. Raises the DimseFailure it met, if any."""
        if self._blocks and self._blocks[-1].room:
            self._finish(self._blocks[-1])
        if self._working is not None:
            await asyncio.shield(self._working)
        if self._failure is not None:
            raise self._failure
        return Sealed(self.size, self._digest.hexdigest())

    def read(self, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`; once sealed."""
        if self._spilling:
            return os.pread(self._file, length, offset)
        first, start = divmod(offset, _BLOCK)
        found = bytearray()
        for block in self._blocks[first:]:
            found += memoryview(block.content)[start : start + length - len(found)]
            start = 0
            if len(found) == length:
                break
        return bytes(found)

    def close(self) -> None:
        """Let go of memory and disk, as soon as no thread uses them; harmless twice."""
        self._closed = True
        self._waiting.clear()
        if self._working is None:
            self._release()

    def _take(self, fragment: memoryview) -> None:
        if not self._spilling and self._resources.is_memory_scarce(len(fragment), self._in_memory):
            self._spill()
        while fragment:
            if not self._blocks or not self._blocks[-1].room:
                self._blocks.append(_Block())
            block = self._blocks[-1]
            part = fragment[: block.room]
            block.content += part
            self._hold(len(part))
            fragment = fragment[len(part) :]
            if not block.room:
                self._finish(block)

    def _spill(self) -> None:
        """From now on blocks go to a file, those first that are full already."""
        self._spilling = True
        self._waiting.clear()
        for block in self._blocks:
            if not block.room:
                self._finish(block)

    def _finish(self, block: _Block) -> None:
        """Hash a block that gets no more bytes, and write it if there is a file."""
        if not (self._spilling or self._working) and len(block.content) < _HASHED_AT_ONCE:
            self._process(block, to_file=False)
            return
        self._waiting.append(block)
        if self._working is None:
            self._working = asyncio.create_task(self._work(), name="spooling")

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._work_on(self._waiting.popleft(), to_file=self._spilling)
        except OSError as trouble:
            self._failure = self._resources.mark_broken(trouble)
        except DimseFailure as failure:
            self._failure = failure
        finally:
            self._working = None
            if self._closed or self._failure is not None:
                self._release()

    async def _work_on(self, block: _Block, *, to_file: bool) -> None:
        length = len(block.content)
        if to_file:
            self._resources.reserve(length)
            self._on_disk += length
        elif length < _HASHED_AT_ONCE:
            self._process(block, to_file)
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._resources.executor, self._process, block, to_file)
        if to_file:
            self._blocks.remove(block)
            self._hold(-length)

    def _process(self, block: _Block, to_file: bool) -> None:
        """In a thread, one block after another."""
        if not block.hashed:
            self._digest.update(block.content)
            block.hashed = True
        if to_file:
            if self._file < 0:
                self._file = self._resources.open_file(self.operation_id)
            _write_whole(self._file, block.content)

    def _hold(self, length: int) -> None:
        self._in_memory += length
        self._resources.count(memory=length)

    def _release(self) -> None:
        self._blocks.clear()
        self._waiting.clear()
        self._resources.count(memory=-self._in_memory, disk=-self._on_disk)
        self._in_memory = self._on_disk = 0
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _write_whole(descriptor: int, content: bytearray) -> None:
    with memoryview(content) as rest:
        written = 0
        while written < len(rest):
            written += os.write(descriptor, rest[written:])

"""A data set in the spool: takes fragments, computes the digest, and is read at any offset.

It is the sink of the upper layer and the source of the transport. Bytes are held in blocks of
pieces. A full block is hashed by a thread, in order, because the digest depends on it; once the
data set has outgrown memory, the same thread writes it to the file. The data set is not parsed
here.
"""

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import Awaitable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from dimse_ingestion.failures import Failure

_BLOCK = 512 * 1024
_MOST_WAITING = 2  # blocks that may wait for the thread before the peer must wait
_HASHED_IN_PLACE = 64 * 1024  # bytes: below, a thread costs more than the hashing
_GATHERED = 64 * 1024  # bytes of short fragments in one piece


@dataclass(slots=True, eq=False)
class _Block:
    pieces: list[bytearray] = field(default_factory=list)
    length: int = 0
    hashed: bool = False

    @property
    def free(self) -> int:
        """Return how many more bytes fit."""
        return _BLOCK - self.length

    def add(self, part: memoryview) -> None:
        """Add bytes: short ones to the last piece, long ones as a piece, which never grows."""
        self.length += len(part)
        if self.pieces and len(self.pieces[-1]) + len(part) <= _GATHERED:
            self.pieces[-1] += part
        else:
            self.pieces.append(bytearray(part))

    def read(self, start: int, length: int) -> Iterator[memoryview]:
        """Yield at most `length` bytes from `start`."""
        for piece in self.pieces:
            part = memoryview(piece)[start : start + length]
            yield part
            start, length = max(0, start - len(piece)), length - len(part)


class SpoolResources(Protocol):
    """The spool as a data set uses it (see `spool.Spool`)."""

    executor: Executor

    def is_memory_scarce(self, length: int, held: int) -> bool:
        """Return whether a data set with `held` bytes in memory must not take `length` more."""

    def count(self, *, memory: int = 0, disk: int = 0) -> None:
        """Add to the bytes in use; negative numbers give bytes back."""

    def reserve(self, length: int) -> None:
        """Count bytes that will go to a file. Raises Unavailable above the limit."""

    def open_file(self, operation_id: str) -> int:
        """Return the descriptor of a new file without a name. Raises OSError."""

    def mark_broken(self, problem: OSError) -> Failure:
        """Refuse associations until the disk works again; return the failure for this data set."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """Length in bytes and SHA-256 in hexadecimal of a data set that has arrived whole."""

    size: int
    sha256: str


class SpooledDataSet:
    """A `DataSetSink` until `seal`, then a `Source` until `close`."""

    def __init__(self, resources: SpoolResources, operation_id: str) -> None:
        self.operation_id = operation_id
        self.size = 0
        self._resources = resources
        self._blocks: list[_Block] = []
        self._waiting: deque[_Block] = deque()  # for the thread, in order
        self._task: asyncio.Task[None] | None = None
        self._digest = hashlib.sha256()
        self._spilling = False
        self._file = -1
        self._in_memory = 0
        self._on_disk = 0
        self._failure: Failure | None = None
        self._closed = False

    def write(self, fragment: bytes | memoryview) -> Awaitable[None] | None:
        """Add one fragment; await the result, if any, because the disk is slower than the peer.

        After a failure fragments are dropped, not refused: the peer can't be answered before it has
        sent the whole data set. `seal` raises the failure.
        """
        self.size += len(fragment)
        if self._failure is None and not self._closed:
            self._add(memoryview(fragment))
        behind = self._spilling and len(self._waiting) > _MOST_WAITING
        return asyncio.shield(self._task) if behind and self._task else None

    def abandon(self) -> None:
        """Give up the data set: its sender is gone."""
        self.close()

    async def seal(self) -> Sealed:
        """Finish writing, and return length and digest; raises Unavailable if the spool failed."""
        if self._blocks and self._blocks[-1].free:
            self._finish(self._blocks[-1])
        if self._task is not None:
            await asyncio.shield(self._task)
        if self._failure is not None:
            raise self._failure
        return Sealed(self.size, self._digest.hexdigest())

    def read(self, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`; only after `seal`."""
        if self._spilling:
            return os.pread(self._file, length, offset)
        first, start = divmod(offset, _BLOCK)
        parts: list[memoryview] = []
        for block in self._blocks[first:]:
            found = list(block.read(start, length))
            parts += found
            start, length = 0, length - sum(map(len, found))
            if not length:
                break
        return b"".join(parts)

    def close(self) -> None:
        """Release memory and disk as soon as no thread uses them; harmless if repeated."""
        self._closed = True
        self._waiting.clear()
        if self._task is None:
            self._release()

    def _add(self, fragment: memoryview) -> None:
        if not self._spilling and self._resources.is_memory_scarce(len(fragment), self._in_memory):
            self._spill()
        while fragment:
            if not self._blocks or not self._blocks[-1].free:
                self._blocks.append(_Block())
            block = self._blocks[-1]
            part = fragment[: block.free]
            block.add(part)
            self._count_memory(len(part))
            fragment = fragment[len(part) :]
            if not block.free:
                self._finish(block)

    def _spill(self) -> None:
        """Write blocks to a file from now on, first those that are already full.

        Blocks that wait to be hashed are queued again: the thread then hashes and writes them in
        one step, and the file gets its blocks in the order of the data set.
        """
        self._spilling = True
        self._waiting.clear()
        for block in self._blocks:
            if not block.free:
                self._finish(block)

    def _finish(self, block: _Block) -> None:
        """Hash a block that gets no more bytes, and write it if there is a file."""
        if not (self._spilling or self._task) and block.length < _HASHED_IN_PLACE:
            self._process(block, to_file=False)
            return
        self._waiting.append(block)
        if self._task is None:
            self._task = asyncio.create_task(self._process_waiting(), name="spooling")

    async def _process_waiting(self) -> None:
        try:
            while self._waiting:
                await self._process_one(self._waiting.popleft(), to_file=self._spilling)
        except OSError as problem:
            self._failure = self._resources.mark_broken(problem)
        except Failure as failure:
            self._failure = failure
        finally:
            # `close` may have come while the thread used the file: then it is released here
            self._task = None
            if self._closed or self._failure is not None:
                self._release()

    async def _process_one(self, block: _Block, *, to_file: bool) -> None:
        length = block.length
        if to_file:
            self._resources.reserve(length)
            self._on_disk += length
        elif length < _HASHED_IN_PLACE:
            self._process(block, to_file)
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._resources.executor, self._process, block, to_file)
        if to_file:
            self._blocks.remove(block)
            self._count_memory(-length)

    def _process(self, block: _Block, to_file: bool) -> None:
        """Hash the block, and write it to the file; in a thread, one block after another."""
        if not block.hashed:
            for piece in block.pieces:
                self._digest.update(piece)
            block.hashed = True
        if to_file:
            if self._file < 0:
                self._file = self._resources.open_file(self.operation_id)
            for piece in block.pieces:
                _write_whole(self._file, piece)

    def _count_memory(self, length: int) -> None:
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

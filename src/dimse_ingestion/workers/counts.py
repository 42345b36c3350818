"""Counts that limits apply to: of one process alone, or of all worker processes together.

The counts of all workers are in one small file that each of them maps into memory. A worker writes
only its own row, so no lock is needed that a killed process could leave behind; the supervisor
clears the row of a worker that has ended.
"""

import mmap
import os
from enum import IntEnum
from pathlib import Path
from typing import Protocol

_NUMBER = 8  # bytes
MOST_SPACES = 64
"""The most storage spaces of a proxy, each of which has counts of its own."""


class Kind(IntEnum):
    """What is counted: a column of the file for each storage space."""

    ASSOCIATIONS = 0
    SPOOL_MEMORY = 1
    SPOOL_DISK = 2
    CLOSED_CONNECTIONS = 3
    OUTBOX_DISK = 4


_ROW = MOST_SPACES * len(Kind)


class Count(Protocol):
    """A number that this process counts, and the sum over all processes of the service."""

    own: int

    @property
    def total(self) -> int:
        """The sum over all processes."""

    def add(self, number: int) -> None:
        """Add to this process's number; a negative number gives back."""


class LocalCount:
    """The count of a service that is one process."""

    __slots__ = ("own",)

    def __init__(self) -> None:
        self.own = 0

    @property
    def total(self) -> int:
        """The sum over all processes, of which there is one."""
        return self.own

    def add(self, number: int) -> None:
        """Add to the number."""
        self.own += number


class SharedCounts:
    """The counts of all workers: one row of the file for each of them."""

    def __init__(self, path: Path, workers: int) -> None:
        length = workers * _ROW * _NUMBER
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < length:
                os.ftruncate(descriptor, length)
            self._numbers = memoryview(mmap.mmap(descriptor, length)).cast("q")
        finally:
            os.close(descriptor)

    def count(self, worker: int, kind: Kind, space: int = 0) -> "SharedCount":
        """Return one worker's count of this kind; workers are numbered from 1, spaces from 0."""
        return SharedCount(self._numbers[space * len(Kind) + kind :: _ROW], worker - 1)

    def clear(self, worker: int) -> None:
        """Set the counts of a worker that has ended to 0."""
        first = (worker - 1) * _ROW
        for each in range(first, first + _ROW):
            self._numbers[each] = 0


class SharedCount:
    """The count of one worker, with the sum over all of them.

    To apply a limit exactly, a worker adds first, then reads the sum, and gives back what is over
    the limit: two workers that do so at once never exceed it together.
    """

    __slots__ = ("_index", "_numbers", "own")

    def __init__(self, numbers: memoryview, index: int) -> None:
        self._numbers = numbers
        self._index = index
        self.own = numbers[index]

    @property
    def total(self) -> int:
        """The sum over all workers."""
        return sum(self._numbers)

    def add(self, number: int) -> None:
        """Add to this worker's number."""
        self.own += number
        self._numbers[self._index] = self.own

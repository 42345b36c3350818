"""A batch of fetches: the bounds of one, and the assignment of its bytes to its data sets.

One fetch may request several short data sets, which the replica sends one after the other as one
stream of bytes (see `fetch`): a study of many small images then costs fewer messages and tasks. A
batch is not retried as a whole; what it has not delivered is fetched singly.
"""

from collections.abc import Iterator, Sequence

import msgspec

from dimse_ingestion.transport.protocol.codec import HEADROOM, MAXIMUM_INLINE
from dimse_ingestion.transport.protocol.fetch import window_of
from dimse_ingestion.transport.protocol.messages import FetchObject, FetchOpen

LONGEST_IN_BATCH = MAXIMUM_INLINE - HEADROOM
"""Bytes of a data set up to which it may be in a batch: as many as one DATA has."""
OBJECTS_PER_BATCH = 16
"""Data sets that a proxy requests at once, at most."""


def is_batchable(size: int) -> bool:
    """Return whether a data set of `size` bytes may be in a batch."""
    return 0 < size <= LONGEST_IN_BATCH


def batch_length(sizes: Sequence[int]) -> int:
    """Return how many data sets, from the first on, a proxy requests by one fetch.

    Together they are shorter than a window, so that the open grants all the credit.
    """
    total = 0
    for number, size in enumerate(sizes[:OBJECTS_PER_BATCH]):
        total += size
        if not is_batchable(size) or window_of(total) <= total:
            return number
    return min(len(sizes), OBJECTS_PER_BATCH)


def within(open_: FetchOpen, window: int) -> FetchOpen:
    """Return the open with as many objects as a replica can keep in `window` bytes."""
    total = open_.size
    for number, each in enumerate(open_.more):
        total += each.size
        if total > window:
            return msgspec.structs.replace(open_, more=open_.more[:number])
    return open_


def objects_of(open_: FetchOpen) -> tuple[FetchObject, ...]:
    """Return all objects that an open requests, in order."""
    return (FetchObject(open_.key, open_.size, open_.sha256), *open_.more)


class BatchSplitter:
    """Assigns the bytes of a batch to its data sets by their sizes.

    A piece that ends within one data set is passed on as it is, so a replica that sends no DATA
    with bytes of two of them saves a copy. Bytes behind the last data set are dropped.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._index = 0
        self._missing = sizes[0] if sizes else 0

    def split(self, piece: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the parts of the next piece, each with the index of its data set."""
        while piece and self._index < len(self._sizes):
            part = piece if len(piece) <= self._missing else piece[: self._missing]
            yield self._index, part
            self._missing -= len(part)
            piece = piece[len(part) :]
            if not self._missing:
                self._begin_next()

    def _begin_next(self) -> None:
        self._index += 1
        self._missing = self._sizes[self._index] if self._index < len(self._sizes) else 0

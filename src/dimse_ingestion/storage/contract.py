"""The interface of a bucket: an object becomes visible whole, or not at all.

Implemented with obstore (S3, Azure), on a folder and in memory. Keys are built in `keys`.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An existing object; `size` in bytes.

    `stored_at` is when it became visible, with a time zone; None where the bucket does not know.
    """

    key: str
    size: int
    stored_at: datetime | None = field(default=None, compare=False)


class RangeSource(Protocol):
    """Where parts of objects are read from: a bucket, or copies of its objects."""

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`; raises KeyError for a missing object."""


class Bucket(RangeSource, Protocol):
    """One bucket (or container, or folder).

    Every method raises Unavailable when the bucket is down, full, throttling or missing, and
    AccessDenied, which is transient too, because somebody may repair it meanwhile. LimitExceeded
    for an object too large for the store is not. The sentence names the bucket and what to do.
    """

    name: str

    async def head(self, key: str) -> StoredObject | None:
        """Return the object's size and time, or None if there is no object under `key`."""

    async def put(self, key: str, chunks: AsyncIterator[bytes], size: int) -> None:
        """Store `chunks`, which are `size` bytes in all, under `key`; streamed with bounded memory.

        The caller checks the size: it must raise before the last chunk of another size (see
        `operations.store`).

        The object becomes visible only when `chunks` has ended without an exception and all bytes
        are durable; an exception from `chunks` aborts the upload and is raised again unchanged.
        """

    async def put_new(
        self, key: str, chunks: AsyncIterator[bytes], size: int
    ) -> StoredObject | None:
        """Store `chunks` as `put` does unless an object exists, which is then returned.

        For a few chunks, which may be read although the object exists. Of two calls at the same
        time both may store.
        """

    def stream(self, key: str) -> AsyncIterator[bytes]:
        """Yield the whole object in pieces; raises KeyError for a missing object."""

    def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Yield the objects whose key begins with `prefix`."""

    async def delete(self, key: str) -> None:
        """Delete an object. Only for what `check` wrote: the bucket is the archive."""

    async def check(self, *, write: bool = False) -> None:
        """Raise Failure when the bucket can't be read, or with `write` not be written."""

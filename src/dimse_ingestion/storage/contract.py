"""The bucket as the rest of the house sees it: whole objects appear, or nothing does.

Implemented on obstore (S3, Azure, a folder) and in memory. What a key means is `keys`' matter.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that is there; `size` in bytes.

    `stored_at` is when it became visible, with a time zone; None where the bucket can't tell.
    """

    key: str
    size: int
    stored_at: datetime | None = field(default=None, compare=False)


class Bucket(Protocol):
    """One bucket (or container, or folder).

    Every method raises DimseFailure: A700 when the bucket is down, full, throttling or missing,
    0124 when access is refused. Both are transient, because somebody may put it right meanwhile;
    A700 for an object too large for the store is not. The sentence names the bucket and the cure.
    """

    name: str

    async def head(self, key: str) -> StoredObject | None:
        """The object under `key`, or None."""

    async def put(self, key: str, chunks: AsyncIterator[bytes], size: int) -> None:
        """Store `size` bytes under `key`, streamed with bounded memory.

        The object becomes visible only when `chunks` has ended without an exception and all bytes
        are durable; an exception from `chunks` aborts the upload and is raised again unchanged.
        """

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`; raises KeyError when there is no such object."""

    def stream(self, key: str) -> AsyncIterator[bytes]:
        """The whole object in pieces; raises KeyError when there is no such object."""

    def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Objects whose key begins with `prefix`."""

    async def delete(self, key: str) -> None:
        """Remove an object: only for what the check itself wrote. The bucket is the archive."""

    async def check(self, *, write: bool = False) -> None:
        """Raise DimseFailure with a sentence when the bucket can't be read, or written if asked."""

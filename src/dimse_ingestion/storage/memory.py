"""Bucket in memory, for tests and trials: like a real one, but not durable.

`refusing` makes it fail as a bucket does, so that its callers can be tested.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from dimse_ingestion.storage.contract import StoredObject

if TYPE_CHECKING:
    from dimse_ingestion.failures import Failure

_PIECE = 1 << 20


class MemoryBucket:
    """Hold objects in the dictionary `objects`."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.objects: dict[str, bytes] = {}
        self.refusing: Failure | None = None  # what every call raises while it is set

    async def head(self, key: str) -> StoredObject | None:
        """Return the object's size, or None."""
        self._refuse()
        data = self.objects.get(key)
        return None if data is None else StoredObject(key, len(data))

    async def put(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        size: int,  # noqa: ARG002 - the contract's
    ) -> None:
        """Store the object once the last chunk has arrived."""
        self._refuse()
        data = bytearray()
        async for chunk in chunks:
            data += chunk
        self._refuse()
        self.objects[key] = bytes(data)

    async def put_new(
        self, key: str, chunks: AsyncIterator[bytes], size: int
    ) -> StoredObject | None:
        """Store an object unless it exists, and return the existing one."""
        if (existing := await self.head(key)) is None:
            await self.put(key, chunks, size)
        return existing

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`; raises KeyError."""
        self._refuse()
        return self.objects[key][offset : offset + length]

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Yield the whole object in pieces of 1 MiB; raises KeyError."""
        self._refuse()
        data = self.objects[key]
        for start in range(0, len(data), _PIECE):
            yield data[start : start + _PIECE]

    async def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Yield the objects whose key begins with `prefix`, in the order of their keys."""
        self._refuse()
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield StoredObject(key, len(self.objects[key]))

    async def delete(self, key: str) -> None:
        """Delete an object; do nothing if there is none."""
        self._refuse()
        self.objects.pop(key, None)

    async def check(self, *, write: bool = False) -> None:  # noqa: ARG002 - both never fail
        """Raise `refusing`, if set."""
        self._refuse()

    def _refuse(self) -> None:
        if self.refusing:
            raise self.refusing

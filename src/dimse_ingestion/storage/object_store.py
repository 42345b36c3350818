"""A bucket of an object store (S3 and what speaks like it, Azure) through obstore.

Small objects are one PUT, large ones go up in parts, and all uploads of a bucket share one budget
of memory. The store verifies each request by its SHA-256. Which store it is, is `opening`'s matter.
"""

import atexit
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.storage.contract import StoredObject
from dimse_ingestion.storage.failures import ERRORS, BucketAddress, is_beyond_end, is_missing
from dimse_ingestion.storage.memory_budget import MemoryBudget
from dimse_ingestion.storage.multipart_upload import upload_parts
from dimse_ingestion.storage.sizes import verify_size

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART_SIZE = 5 * 2**20
"""Bytes of a part; also the largest object that is one PUT. S3 takes no smaller parts."""

_PARTS = 10_000  # S3's most for one object
_PARTS_AT_ONCE = 1  # or an abort leaves one behind (see `uploading`)
_PIECE = 2 * 2**20
_UPLOAD_MEMORY = 64 * 2**20
_CHECKS = "checks/"

# obstore's threads let go of our objects a moment after an upload has ended; if the interpreter is
# gone by then the process aborts. Exit handlers run while it is still there.
_LAST_MOMENT = 0.1
atexit.register(time.sleep, _LAST_MOMENT)


class ObjectStoreBucket:
    """One bucket at one place."""

    def __init__(self, name: str, store: "ObjectStore", place: BucketAddress) -> None:
        self.name = name
        self._store = store
        self._address = place
        self._budget = MemoryBudget(_UPLOAD_MEMORY)

    async def head(self, key: str) -> StoredObject | None:
        """The object under `key`, or None (also in a bucket that is missing: HEAD can't tell)."""
        try:
            with self._failures(key):
                meta = await obstore.head_async(self._store, key)
        except KeyError:
            return None
        return StoredObject(key, meta["size"], meta["last_modified"])

    async def put(self, key: str, chunks: AsyncIterator[bytes], size: int) -> None:
        """One PUT up to 5 MiB, parts above; waits while other uploads hold the memory."""
        whole = verify_size(chunks, size)
        if size <= PART_SIZE:
            async with self._budget.holding(size):
                await self._put_small(key, whole, size)
            return
        part_size = max(PART_SIZE, -(-size // _PARTS))

        async def send(feed: AsyncIterator[bytes]) -> None:
            with self._failures():
                await obstore.put_async(
                    self._store,
                    key,
                    feed,
                    use_multipart=True,
                    chunk_size=part_size,
                    max_concurrency=_PARTS_AT_ONCE,
                )

        async with self._budget.holding(part_size * (_PARTS_AT_ONCE + 1)):
            await upload_parts(send, whole)

    async def _put_small(self, key: str, chunks: AsyncIterator[bytes], size: int) -> None:
        data = bytearray(size)
        end = 0
        async for chunk in chunks:
            data[end : end + len(chunk)] = chunk
            end += len(chunk)
        with self._failures():
            await obstore.put_async(self._store, key, data, use_multipart=False)

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`; raises KeyError."""
        if length <= 0:
            return b""
        with self._failures(key):
            try:
                got = await obstore.get_range_async(self._store, key, start=offset, length=length)
            except BaseError as error:
                if is_beyond_end(error):
                    return b""
                raise
            return bytes(got)

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """The whole object in pieces of 2 MiB, each with the time of a request; raises KeyError."""
        with self._failures(key):
            meta = await obstore.head_async(self._store, key)
        for offset in range(0, meta["size"], _PIECE):
            yield await self.get_range(key, offset, min(_PIECE, meta["size"] - offset))

    async def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Objects whose key begins with `prefix`, in the store's order.

        A prefix that ends within a name between slashes is widened to the last slash and filtered
        here: obstore asks the store for whole names only.
        """
        listing = obstore.list(self._store, prefix.rpartition("/")[0] or None, chunk_size=500)
        while True:
            with self._failures():
                found = await anext(listing, None)
            if found is None:
                return
            for meta in found:
                if meta["path"].startswith(prefix):
                    yield StoredObject(meta["path"], meta["size"], meta["last_modified"])

    async def delete(self, key: str) -> None:
        """Remove an object; nothing happens if there is none."""
        with suppress(KeyError), self._failures(key):
            await obstore.delete_async(self._store, key)

    async def check(self, *, write: bool = False) -> None:
        """Raise DimseFailure when the bucket can't be listed, or written if asked.

        What is written is removed again; an archive that lets nobody delete keeps one such object.
        """
        async for _ in self.list(_CHECKS):
            break
        if write:
            await self._try_writing()

    async def _try_writing(self) -> None:
        key = f"{_CHECKS}written-and-removed"
        wanted = uuid.uuid4().bytes
        with self._failures():
            await obstore.put_async(self._store, key, wanted, use_multipart=False)
        await self.head(key)
        with suppress(DimseFailure):
            await self.delete(key)

    @contextmanager
    def _failures(self, key: str | None = None) -> Iterator[None]:
        """Raise obstore's errors as DimseFailure; for a `key` that is missing KeyError."""
        try:
            yield
        except ERRORS as error:
            if key is not None and is_missing(error):
                raise KeyError(key) from None
            raise self._address.failure(error) from error

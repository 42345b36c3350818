"""A bucket of an object store (S3 and compatible stores, Azure), through obstore.

A small object is one PUT, a large one a multipart upload, and all uploads of a bucket share one
memory budget. The store verifies each request by its SHA-256. `factory` chooses the store.
"""

import atexit
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError

from dimse_ingestion.failures import Failure
from dimse_ingestion.storage.contract import StoredObject
from dimse_ingestion.storage.failures import ERRORS, BucketAddress, is_beyond_end, is_missing
from dimse_ingestion.storage.memory_budget import MemoryBudget
from dimse_ingestion.storage.multipart_upload import upload_parts

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART_SIZE = 5 * 2**20
"""Bytes of a part; also the largest object that is one PUT. S3 accepts no smaller parts."""

_MOST_PARTS = 10_000  # S3's limit for one object
_PARTS_AT_ONCE = 1  # with more, an abort may leave one behind (see `multipart_upload`)
_PIECE = 2 * 2**20
_UPLOAD_MEMORY = 64 * 2**20
_CHECKS = "checks/"

# obstore's threads release Python objects a moment after an upload ends; if the interpreter has
# ended by then the process aborts. Exit handlers run before the interpreter ends.
_EXIT_DELAY = 0.1  # seconds
atexit.register(time.sleep, _EXIT_DELAY)


class ObjectStoreBucket:
    """One bucket at one endpoint."""

    def __init__(self, name: str, store: "ObjectStore", address: BucketAddress) -> None:
        self.name = name
        self._store = store
        self._address = address
        self._budget = MemoryBudget(_UPLOAD_MEMORY)

    async def head(self, key: str) -> StoredObject | None:
        """Return the object's size and time, or None.

        None also for a missing bucket: the answer to a HEAD does not tell them apart.
        """
        try:
            with self._failures(key):
                meta = await obstore.head_async(self._store, key)
        except KeyError:
            return None
        return StoredObject(key, meta["size"], meta["last_modified"])

    async def put(self, key: str, chunks: AsyncIterator[bytes], size: int) -> None:
        """Store by one PUT up to 5 MiB, in parts above; wait while other uploads use the memory."""
        if size <= PART_SIZE:
            async with self._budget.reserved(size):
                await self._put_small(key, chunks, size)
            return
        part_size = max(PART_SIZE, -(-size // _MOST_PARTS))

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

        async with self._budget.reserved(part_size * (_PARTS_AT_ONCE + 1)):
            await upload_parts(send, chunks)

    async def put_new(
        self, key: str, chunks: AsyncIterator[bytes], size: int
    ) -> StoredObject | None:
        """Store an object unless it exists, and return the existing one."""
        if (existing := await self.head(key)) is None:
            await self.put(key, chunks, size)
        return existing

    async def _put_small(self, key: str, chunks: AsyncIterator[bytes], size: int) -> None:
        data = bytearray(size)
        end = 0
        async for chunk in chunks:
            data[end : end + len(chunk)] = chunk
            end += len(chunk)
        with self._failures():
            await obstore.put_async(self._store, key, data, use_multipart=False)

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`; raises KeyError."""
        if length <= 0:
            return b""
        with self._failures(key):
            try:
                data = await obstore.get_range_async(self._store, key, start=offset, length=length)
            except BaseError as error:
                if is_beyond_end(error):
                    return b""
                raise
            return bytes(data)

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Yield the object in pieces of 2 MiB, each with a request's timeout; raises KeyError."""
        with self._failures(key):
            meta = await obstore.head_async(self._store, key)
        for offset in range(0, meta["size"], _PIECE):
            yield await self.get_range(key, offset, min(_PIECE, meta["size"] - offset))

    async def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Yield the objects whose key begins with `prefix`, in the store's order.

        obstore lists by whole names between slashes only. So a prefix that ends within a name is
        cut to its last slash, and the keys are filtered here.
        """
        listing = obstore.list(self._store, prefix.rpartition("/")[0] or None, chunk_size=500)
        while True:
            with self._failures():
                page = await anext(listing, None)
            if page is None:
                return
            for meta in page:
                if meta["path"].startswith(prefix):
                    yield StoredObject(meta["path"], meta["size"], meta["last_modified"])

    async def delete(self, key: str) -> None:
        """Delete an object; do nothing if there is none."""
        with suppress(KeyError), self._failures(key):
            await obstore.delete_async(self._store, key)

    async def check(self, *, write: bool = False) -> None:
        """Raise Failure when the bucket can't be listed, or with `write` not be written.

        The written object is deleted again; an archive that denies deletion keeps one such object.
        """
        async for _ in self.list(_CHECKS):
            break
        if write:
            await self._check_writable()

    async def _check_writable(self) -> None:
        key = f"{_CHECKS}written-and-removed"
        content = uuid.uuid4().bytes
        with self._failures():
            await obstore.put_async(self._store, key, content, use_multipart=False)
        await self.head(key)
        with suppress(Failure):
            await self.delete(key)

    @contextmanager
    def _failures(self, key: str | None = None) -> Iterator[None]:
        """Raise obstore's errors as a Failure, or KeyError if `key` is given and missing."""
        try:
            yield
        except ERRORS as error:
            if key is not None and is_missing(error):
                raise KeyError(key) from None
            raise self._address.failure(error) from error

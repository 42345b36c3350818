"""A bucket whose configuration is read again while it is in use, so that keys can be rotated.

Kubernetes changes mounted files in place. They are read again every few seconds, and at once when
access is refused. While a configuration can't be read, the last one stays in use; if it never could
be read, every call fails with a sentence that says what is missing.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from dimse_ingestion.failures import AccessDenied, Unavailable
from dimse_ingestion.observability import metrics, tracing
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.settings import BucketLocation, MountedMissing
from dimse_ingestion.storage.factory import open_bucket
from dimse_ingestion.storage.metrics import request_count

if TYPE_CHECKING:
    from dimse_ingestion.storage.contract import Bucket, StoredObject

T = TypeVar("T")
_LOG = logger(__name__)


class RotatingBucket:
    """The bucket of the configuration that `read` returns; `read` raises MountedMissing.

    `fresh` is after how many seconds a configuration is read again, `timeout` how many seconds a
    request may take.
    """

    def __init__(
        self,
        read: Callable[[], BucketLocation],
        *,
        timeout: float = 20.0,
        fresh: float = 5.0,
        open_bucket: Callable[..., "Bucket"] = open_bucket,
    ) -> None:
        self.name = ""
        self._read = read
        self._timeout = timeout
        self._fresh = fresh
        self._open = open_bucket
        self._read_at = float("-inf")
        self._missing = ""
        self._location: BucketLocation | None = None
        self._bucket: Bucket | None = None

    async def head(self, key: str) -> "StoredObject | None":
        """Return the object's size and time, or None."""
        return await self._request("head", lambda bucket: bucket.head(key))

    async def put(self, key: str, chunks: AsyncIterator[bytes], size: int) -> None:
        """Store an object; a refusal is Unavailable when the access keys have just changed.

        It is not repeated here as other calls are, because `chunks` can be read only once.
        """
        with (
            request_count("put"),
            metrics.storage_put_seconds.time(),
            tracing.exported_span("bucket put", size=size),
        ):
            await self._with_keys_of_now(lambda each: each.put(key, chunks, size))
        metrics.storage_put_bytes.inc(size)

    async def put_new(
        self, key: str, chunks: AsyncIterator[bytes], size: int
    ) -> "StoredObject | None":
        """Store an object unless it exists, and return the existing one; refused as `put`."""
        with request_count("put"), tracing.exported_span("bucket put", size=size):
            started = time.perf_counter()
            existing = await self._with_keys_of_now(lambda each: each.put_new(key, chunks, size))
        if existing is None:
            metrics.storage_put_seconds.observe(time.perf_counter() - started)
            metrics.storage_put_bytes.inc(size)
        return existing

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`; raises KeyError."""
        return await self._request("get", lambda bucket: bucket.get_range(key, offset, length))

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Yield the whole object in pieces; raises KeyError."""
        with request_count("get"):
            async for piece in self._current().stream(key):
                yield piece

    async def list(self, prefix: str = "") -> AsyncIterator["StoredObject"]:
        """Yield the objects whose key begins with `prefix`."""
        with request_count("list"):
            async for each in self._current().list(prefix):
                yield each

    async def delete(self, key: str) -> None:
        """Delete an object."""
        await self._request("delete", lambda bucket: bucket.delete(key))

    async def check(self, *, write: bool = False) -> None:
        """Raise Failure when there is no configuration, or the bucket does not work."""
        await self._request("check", lambda bucket: bucket.check(write=write))

    async def _with_keys_of_now(self, call: Callable[["Bucket"], Awaitable[T]]) -> T:
        bucket = self._current()
        try:
            return await call(bucket)
        except AccessDenied as denied:
            if self._has_new_keys(bucket):
                raise Unavailable(
                    f"The access keys of bucket {self.name} have just changed: "
                    "the object is sent again."
                ) from denied
            raise

    async def _request(self, operation: str, call: Callable[["Bucket"], Awaitable[T]]) -> T:
        with request_count(operation):
            return await self._call_with_new_keys(call)

    async def _call_with_new_keys(self, call: Callable[["Bucket"], Awaitable[T]]) -> T:
        """Return the result of `call`, repeated once if access was refused and the keys changed."""
        bucket = self._current()
        try:
            return await call(bucket)
        except AccessDenied:
            if not self._has_new_keys(bucket):
                raise
        return await call(self._current())

    def _has_new_keys(self, refused: "Bucket") -> bool:
        self._read_at = float("-inf")
        return self._current() is not refused

    def _current(self) -> "Bucket":
        bucket = self._bucket
        if bucket is None or time.monotonic() - self._read_at > self._fresh:
            bucket = self._bucket = self._read_again(bucket)
        return bucket

    def _read_again(self, last: "Bucket | None") -> "Bucket":
        location: BucketLocation | None
        try:
            location = self._read()
            self._missing = ""
        except MountedMissing as missing:
            if last is None:
                raise Unavailable(str(missing)) from None
            self._log_missing(str(missing))
            location = self._location
        self._read_at = time.monotonic()
        return last if last and location == self._location else self._open_bucket(location)

    def _log_missing(self, missing: str) -> None:
        if missing != self._missing:
            _LOG.warning(
                "The bucket's configuration can't be read: the last one stays in use.",
                reason=missing,
            )
        self._missing = missing

    def _open_bucket(self, location: BucketLocation | None) -> "Bucket":
        bucket = self._open(location, timeout=self._timeout)
        self._location, self.name = location, bucket.name
        _LOG.info("The bucket is opened.", bucket=self.name)
        return bucket

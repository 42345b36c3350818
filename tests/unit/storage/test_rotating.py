from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dimse_ingestion.failures import AccessDenied, Unavailable
from dimse_ingestion.settings import BucketLocation, FolderBucket, MountedMissing
from dimse_ingestion.storage.memory import MemoryBucket
from dimse_ingestion.storage.rotating import RotatingBucket

OLD, NEW = FolderBucket(Path("/old")), FolderBucket(Path("/new"))
DENIED = AccessDenied("denied")


class Mounted:
    """What is mounted, and the bucket that each configuration opens."""

    def __init__(self) -> None:
        self.location: BucketLocation | None = OLD
        self.buckets = {OLD: MemoryBucket("old"), NEW: MemoryBucket("new")}
        self.opened: list[BucketLocation] = []

    def read(self) -> BucketLocation:
        if self.location is None:
            raise MountedMissing("Missing bucket Secret img-ingest-s3: create it.")
        return self.location

    def open(self, location: FolderBucket, *, timeout: float) -> MemoryBucket:
        assert timeout == 7
        self.opened.append(location)
        return self.buckets[location]

    def rotating(self, fresh: float = 3600) -> RotatingBucket:
        return RotatingBucket(self.read, timeout=7, fresh=fresh, open_bucket=self.open)


async def chunks() -> AsyncIterator[bytes]:
    yield b"abc"


async def test_an_unchanged_configuration_is_opened_once() -> None:
    mounted = Mounted()
    bucket = mounted.rotating(fresh=-1)
    await bucket.put("x", chunks(), 3)
    await bucket.check()
    assert mounted.opened == [OLD]
    assert bucket.name == "old"
    assert mounted.buckets[OLD].objects == {"x": b"abc"}


async def test_a_changed_configuration_is_used() -> None:
    mounted = Mounted()
    bucket = mounted.rotating(fresh=-1)
    await bucket.check()
    mounted.location = NEW
    await bucket.put("x", chunks(), 3)
    assert bucket.name == "new"
    assert "x" in mounted.buckets[NEW].objects


async def test_calls_fail_with_the_missing_secret_until_it_appears() -> None:
    mounted = Mounted()
    mounted.location = None
    bucket = mounted.rotating()
    for call in (bucket.check(), bucket.head("x"), bucket.put("x", chunks(), 3)):
        with pytest.raises(Unavailable, match="Missing bucket Secret img-ingest-s3"):
            await call
    mounted.location = OLD
    await bucket.check()


async def test_the_last_configuration_stays_in_use_while_none_can_be_read() -> None:
    mounted = Mounted()
    bucket = mounted.rotating(fresh=-1)
    await bucket.check()
    mounted.location = None
    await bucket.put("x", chunks(), 3)
    assert "x" in mounted.buckets[OLD].objects


async def test_the_configuration_is_read_again_at_once_after_a_refusal() -> None:
    mounted = Mounted()
    bucket = mounted.rotating()
    await bucket.check()
    mounted.location = NEW
    await bucket.check()
    assert mounted.opened == [OLD]
    mounted.buckets[OLD].refusing = DENIED
    await bucket.check()
    assert mounted.opened == [OLD, NEW]


async def test_a_refusal_with_unchanged_keys_is_raised() -> None:
    mounted = Mounted()
    mounted.buckets[OLD].refusing = DENIED
    bucket = mounted.rotating()
    for call in (bucket.check(), bucket.put("x", chunks(), 3)):
        with pytest.raises(AccessDenied) as raised:
            await call
        assert raised.value is DENIED


async def test_a_refused_put_is_transient_when_the_keys_have_changed() -> None:
    mounted = Mounted()
    bucket = mounted.rotating()
    await bucket.check()
    mounted.buckets[OLD].refusing = DENIED
    mounted.location = NEW
    with pytest.raises(Unavailable):
        await bucket.put("x", chunks(), 3)
    await bucket.put("x", chunks(), 3)
    assert "x" in mounted.buckets[NEW].objects


async def test_streams_and_lists_through() -> None:
    mounted = Mounted()
    bucket = mounted.rotating()
    await bucket.put("a/x", chunks(), 3)
    assert [piece async for piece in bucket.stream("a/x")] == [b"abc"]
    assert [found.key async for found in bucket.list("a/")] == ["a/x"]
    assert await bucket.get_range("a/x", 1, 1) == b"b"
    await bucket.delete("a/x")
    assert await bucket.head("a/x") is None

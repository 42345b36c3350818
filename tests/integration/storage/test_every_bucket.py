"""The contract of a bucket, tested with every kind of bucket."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.events.memory import MemorySink
from dimse_ingestion.operations.store import Storer
from dimse_ingestion.settings import FolderBucket, S3Bucket
from dimse_ingestion.storage.contract import Bucket, StoredObject
from dimse_ingestion.storage.factory import open_bucket
from dimse_ingestion.storage.memory import MemoryBucket
from harness.s3_server import S3Server, s3_server, why_not
from harness.services import eventually
from tests.unit.operations.instances import (
    OPERATION,
    SPACE,
    announced,
    chunks,
    data_set,
    key_of,
)

MIB = 2**20
LARGE = 12 * MIB + 345
"""Three parts, the last one short."""
KINDS = ("memory", "folder", "versitygw", "minio")


class BrokenOff(Exception):
    pass


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server | None]:
    if kind in ("memory", "folder"):
        yield None
        return
    if absent := why_not(kind):
        pytest.skip(absent)
    with s3_server(kind, tmp_path_factory.mktemp(kind)) as started:
        yield started


@pytest.fixture
def space(request: pytest.FixtureRequest) -> str:
    """Return a bucket's name that no other test has."""
    digest = hashlib.sha256(request.node.nodeid.encode()).hexdigest()
    return f"space-{digest[:20]}"


@pytest.fixture
def bucket(kind: str, server: S3Server | None, space: str, tmp_path: Path) -> Bucket:
    if kind == "memory":
        return MemoryBucket()
    if server is None:
        return open_bucket(FolderBucket(tmp_path))
    server.make_bucket(space)
    return open_bucket(
        S3Bucket(space, "us-east-1", server.endpoint, server.access_key, server.secret_key)
    )


async def pieces(data: bytes, length: int = 256 * 1024) -> AsyncIterator[bytes]:
    for start in range(0, len(data), length):
        yield data[start : start + length]


async def whole(bucket: Bucket, key: str) -> bytes:
    return b"".join([piece async for piece in bucket.stream(key)])


async def nothing_unfinished(server: S3Server | None, space: str) -> None:
    """Wait until no part is left: an abort continues in the background where the server is slow."""
    if server is not None:
        left = lambda: server.unfinished_uploads(space)  # noqa: E731
        await asyncio.to_thread(eventually, left, lambda found: not found, 60)


def pattern(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("size", [0, 1, 131, 5 * MIB, 5 * MIB + 1, LARGE])
async def test_gives_back_what_was_put(bucket: Bucket, size: int) -> None:
    data = pattern(size)
    await bucket.put("instances/ab/1.2.dcm", pieces(data), size)
    assert await bucket.head("instances/ab/1.2.dcm") == StoredObject("instances/ab/1.2.dcm", size)
    assert await whole(bucket, "instances/ab/1.2.dcm") == data


async def test_a_new_object_is_put_and_an_existing_one_returned(bucket: Bucket) -> None:
    assert await bucket.put_new("new", pieces(b"first"), 5) is None
    assert await bucket.put_new("new", pieces(b"second!"), 7) == StoredObject("new", 5)
    assert await whole(bucket, "new") == b"first"


async def test_chunks_of_any_length_make_the_same_object(bucket: Bucket) -> None:
    data = pattern(7 * MIB)

    async def ragged() -> AsyncIterator[bytes]:
        yield b""
        yield data[:1]
        yield data[1 : 6 * MIB]
        yield b""
        yield data[6 * MIB :]

    await bucket.put("ragged", ragged(), len(data))
    assert await whole(bucket, "ragged") == data


async def test_a_missing_object_is_none_or_a_key_error(bucket: Bucket) -> None:
    assert await bucket.head("instances/none") is None
    with pytest.raises(KeyError):
        await bucket.get_range("instances/none", 0, 10)
    with pytest.raises(KeyError):
        await whole(bucket, "instances/none")


async def test_a_range_ends_where_the_object_ends(bucket: Bucket) -> None:
    await bucket.put("ten", pieces(b"0123456789"), 10)
    assert await bucket.get_range("ten", 2, 3) == b"234"
    assert await bucket.get_range("ten", 8, 100) == b"89"
    assert await bucket.get_range("ten", 10, 5) == b""
    assert await bucket.get_range("ten", 50, 5) == b""


async def test_lists_by_prefix_in_whole(bucket: Bucket) -> None:
    sizes = {"instances/ab/1.dcm": 1, "instances/ac/2.dcm": 2, "checks/x": 3, "instant": 4}
    for key, size in sizes.items():
        await bucket.put(key, pieces(b"x" * size), size)

    async def listed(prefix: str) -> dict[str, int]:
        return {found.key: found.size async for found in bucket.list(prefix)}

    assert await listed("") == sizes
    assert await listed("instances/") == {k: v for k, v in sizes.items() if k[8:9] == "s"}
    assert await listed("instances/a") == await listed("instances/")
    assert await listed("instances/ab") == {"instances/ab/1.dcm": 1}
    assert await listed("nothing/here") == {}


async def test_putting_again_replaces_and_deleting_removes(bucket: Bucket) -> None:
    await bucket.put("x", pieces(b"first"), 5)
    await bucket.put("x", pieces(b"second!"), 7)
    assert await whole(bucket, "x") == b"second!"
    await bucket.delete("x")
    assert await bucket.head("x") is None
    await bucket.delete("x")


@pytest.mark.parametrize("announced", [1000, 3 * LARGE])
async def test_a_source_that_breaks_off_leaves_nothing(
    bucket: Bucket, announced: int, server: S3Server | None, space: str
) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        for _ in range(announced // 100_000):
            yield bytes(100_000)
        raise BrokenOff

    with pytest.raises(BrokenOff):
        await bucket.put("broken", breaking(), announced)
    assert await bucket.head("broken") is None
    assert [found async for found in bucket.list()] == []
    await nothing_unfinished(server, space)


async def test_an_oserror_of_the_source_comes_back_unchanged(bucket: Bucket) -> None:
    error = OSError("the source's own")

    async def breaking() -> AsyncIterator[bytes]:
        yield bytes(MIB)
        raise error

    for size in (2 * MIB, LARGE):
        with pytest.raises(OSError, match="the source's own") as raised:
            await bucket.put("broken", breaking(), size)
        assert raised.value is error


@pytest.mark.parametrize("length", [10, LARGE])
@pytest.mark.parametrize("more", [-1, 1])
async def test_a_data_set_of_another_size_than_announced_is_not_stored(
    bucket: Bucket, length: int, more: int, server: S3Server | None, space: str
) -> None:
    content = data_set(pixels=bytes(length))
    instance = replace(announced(content), size=len(content) - more)
    storer = Storer(bucket, MemorySink(), SPACE)
    with pytest.raises(DimseFailure, match="another size than announced") as raised:
        await storer.store(OPERATION, instance, chunks(content, range(0, len(content), MIB)))
    assert raised.value.status == Status.PROCESSING_FAILURE
    assert await bucket.head(key_of(instance)) is None
    assert [found async for found in bucket.list()] == []
    await nothing_unfinished(server, space)


async def test_a_cancelled_put_leaves_nothing(
    bucket: Bucket, server: S3Server | None, space: str
) -> None:
    stuck = asyncio.Event()

    async def sticking() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield bytes(MIB)
        stuck.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(bucket.put("cancelled", sticking(), 100 * MIB))
    await asyncio.wait_for(stuck.wait(), 60)
    if server is not None:
        await asyncio.to_thread(eventually, lambda: server.unfinished_uploads(space), bool)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert await bucket.head("cancelled") is None
    assert [found async for found in bucket.list()] == []
    await nothing_unfinished(server, space)


async def test_nothing_is_visible_before_the_last_chunk(bucket: Bucket) -> None:
    seen: list[object] = []

    async def looked_at() -> AsyncIterator[bytes]:
        for chunk in (bytes(4 * MIB), bytes(4 * MIB)):
            yield chunk
            seen.append(await bucket.head("late"))

    await bucket.put("late", looked_at(), 8 * MIB)
    assert seen == [None, None]
    assert await bucket.head("late") is not None


async def test_many_large_puts_at_once_all_arrive(bucket: Bucket) -> None:
    data = pattern(6 * MIB)
    keys = [f"at-once/{number}" for number in range(8)]
    await asyncio.gather(*(bucket.put(key, pieces(data), len(data)) for key in keys))
    assert [found.key async for found in bucket.list("at-once/")] == keys


async def test_a_check_that_writes_leaves_the_instances_alone(bucket: Bucket) -> None:
    await bucket.check()
    await bucket.check(write=True)
    assert [found async for found in bucket.list()] == []

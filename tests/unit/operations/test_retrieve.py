import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydicom import dcmread

from dimse_ingestion.dicom.elements import by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.operations import retrieve
from dimse_ingestion.operations.retrieve import ObjectMissing, Retriever
from tests.retrievable import Archive
from tests.storable import data_set_of, storable

EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
CT = "1.2.840.10008.5.1.4.1.1.2"
SERIES = "1.2.826.0.1.3680043.8.498.2"


def short(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def instance(number: int, pixels: int = 16) -> tuple[bytes, str]:
    uid = f"{SERIES}.{number}"
    data_set = (
        short(8, 0x16, b"UI", CT.encode())
        + short(8, 0x18, b"UI", uid.encode())
        + short(0x20, 0x0D, b"UI", b"1.2.3")
        + short(0x20, 0x0E, b"UI", SERIES.encode())
        + struct.pack("<HH2s2xI", 0x7FE0, 0x10, b"OW", pixels)
        + bytes([number % 256]) * pixels
    )
    return data_set, uid


async def archive_of(number: int, pixels: int = 16) -> Archive:
    archive = Archive()
    for each in range(number):
        data_set, uid = instance(each, pixels)
        await archive.add(data_set, EXPLICIT, uid=uid, sop=CT)
    return archive


def retriever(archive: Archive) -> Retriever:
    return Retriever(archive.bucket, archive.queries)


async def whole(chunks: AsyncIterator[bytes] | None) -> bytes:
    assert chunks is not None
    return b"".join([chunk async for chunk in chunks])


async def test_objects_are_yielded_in_order_with_one_read_each() -> None:
    archive = await archive_of(40)
    reader = retriever(archive)
    got = [
        (each.located.object_name, await whole(each.chunks))
        async for each in reader.objects(reader.instances("1.2.3"))
    ]
    assert got == list(archive.bucket.objects.items())
    assert len(archive.bucket.reads) == 40


async def test_small_objects_are_prefetched_within_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = await archive_of(40)
    at_work = most = 0
    real = archive.bucket.get_range

    async def slow(key: str, offset: int, length: int) -> bytes:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0)
        at_work -= 1
        return await real(key, offset, length)

    monkeypatch.setattr(archive.bucket, "get_range", slow)
    reader = retriever(archive)
    async for each in reader.objects(reader.instances("1.2.3")):
        await whole(each.chunks)
    assert 8 <= most <= retrieve.CONCURRENT_READS


async def test_a_large_object_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieve, "READ_SIZE", 1000)
    monkeypatch.setattr(retrieve, "_MAX_PREFETCHED", 1000)
    archive = await archive_of(3, pixels=4500)
    reader = retriever(archive)
    got = [await whole(each.chunks) async for each in reader.objects(reader.instances("1.2.3"))]
    assert got == list(archive.bucket.objects.values())
    assert max(length for _, _, length in archive.bucket.reads) == 1000


async def test_without_memory_budget_nothing_is_prefetched_and_all_is_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrieve, "_MEMORY_BUDGET", 1000)
    archive = await archive_of(10, pixels=400)
    reader = retriever(archive)
    got = [await whole(each.chunks) async for each in reader.objects(reader.instances("1.2.3"))]
    assert got == list(archive.bucket.objects.values())
    assert reader._budget == 1000


async def test_many_readers_of_large_objects_get_smaller_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrieve, "READ_SIZE", 800)
    monkeypatch.setattr(retrieve, "_MEMORY_BUDGET", 5000)
    archive = await archive_of(1, pixels=4000)
    reader = retriever(archive)
    [located] = [each async for each in reader.instances("1.2.3")]
    ranges = [reader.object_range(located, 0, 4000) for _ in range(4)]
    first_chunks = [await anext(each) for each in ranges]
    assert [len(each) for each in first_chunks] == [800, 800, 100, 100]
    stored = archive.bucket.objects[located.object_name][:4000]
    for first, rest in zip(first_chunks, ranges, strict=True):
        assert first + await whole(rest) == stored
    assert reader._budget == 5000


async def test_closing_early_leaves_no_read_running() -> None:
    archive = await archive_of(30)
    reader = retriever(archive)
    before = asyncio.all_tasks()
    objects = reader.objects(reader.instances("1.2.3"))
    await anext(objects)
    await objects.aclose()
    assert asyncio.all_tasks() == before
    assert reader._budget == retrieve._MEMORY_BUDGET


async def test_a_missing_object_is_reported_and_the_others_are_yielded() -> None:
    archive = await archive_of(5)
    gone = list(archive.bucket.objects)[2]
    del archive.bucket.objects[gone]
    reader = retriever(archive)
    located = [each.chunks is not None async for each in reader.objects(reader.instances("1.2.3"))]
    assert located == [True, True, False, True, True]


async def test_the_error_of_a_bucket_that_is_down_is_raised() -> None:
    archive = await archive_of(2)
    archive.bucket.refusing = Unavailable("The bucket is down.")
    reader = retriever(archive)
    with pytest.raises(Unavailable, match="down"):
        await anext(reader.objects(reader.instances("1.2.3")))


async def test_a_truncated_object_is_reported_as_damaged() -> None:
    archive = await archive_of(1)
    key = next(iter(archive.bucket.objects))
    archive.bucket.objects[key] = archive.bucket.objects[key][:-1]
    reader = retriever(archive)
    with pytest.raises(DimseFailure, match="shorter than the catalogue says"):
        await anext(reader.objects(reader.instances("1.2.3")))


async def test_one_instance_is_found_by_its_uids_and_no_other() -> None:
    archive = await archive_of(3)
    reader = retriever(archive)
    located = await reader.instance("1.2.3", SERIES, f"{SERIES}.1")
    assert located
    assert by_tag(located.elements)[0x00080018].value == f"{SERIES}.1"
    assert await reader.instance("1.2.3", SERIES, f"{SERIES}.7") is None
    assert await reader.instance("1.2.4", SERIES, f"{SERIES}.1") is None


async def test_a_range_of_a_missing_object_names_the_remedy() -> None:
    archive = await archive_of(1)
    reader = retriever(archive)
    located = await reader.instance("1.2.3", SERIES, f"{SERIES}.0")
    assert located is not None
    archive.bucket.objects.clear()
    with pytest.raises(ObjectMissing, match="rebuild the catalogue"):
        await reader.read(located, 0, 10)


@pytest.mark.parametrize("path", storable(), ids=lambda path: path.name)
async def test_bulk_values_are_those_of_the_data_set_in_little_endian(path: Path) -> None:
    archive = Archive()
    located = await archive.add_file(path)
    reader = retriever(archive)
    if located.transfer_syntax_uid in ("1.2.840.10008.1.2.1.99", BIG_ENDIAN):
        return
    data_set = data_set_of(path)
    for each in located.elements:
        if bulk := each.bulk:
            value = await whole(reader.value(located, each))
            assert value == data_set[bulk.offset : bulk.offset + bulk.length]


@pytest.mark.parametrize(
    ("stored", "plain"),
    [("image_dfl.dcm", None), ("MR_small_bigendian.dcm", "MR_small.dcm")],
)
async def test_deflated_and_big_endian_values_are_converted(stored: str, plain: str | None) -> None:
    paths = {path.name: path for path in storable()}
    archive = Archive()
    located = await archive.add_file(paths[stored])
    pixel_data = by_tag(located.elements)[0x7FE00010]
    value = await whole(retriever(archive).value(located, pixel_data))
    assert value == dcmread(paths[plain or stored]).PixelData

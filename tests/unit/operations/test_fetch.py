import asyncio
from contextlib import aclosing

import pytest

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.operations.fetch import DataSetReader, checked_key
from dimse_ingestion.storage.keys import parse_key
from dimse_ingestion.storage.memory import MemoryBucket
from tests.unit.operations.instances import announced, chunks, data_set, key_of, object_of

PIXELS = bytes(range(256)) * 4096 * 3
CONTENT = data_set(pixels=PIXELS)


async def stored(bucket: MemoryBucket, content: bytes) -> str:
    instance = announced(content)
    whole = object_of(instance, content)
    await bucket.put(key_of(instance), chunks(whole), len(whole))
    return key_of(instance)


async def read(bucket: MemoryBucket, key: str, size: int, offset: int = 0) -> bytes:
    parts = parse_key(key)
    assert parts
    async with aclosing(DataSetReader(bucket).data_set(parts, size, offset)) as pieces:
        return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize("content", [data_set(), CONTENT], ids=["small", "large"])
@pytest.mark.parametrize("offset", [0, 1, 100, 2**20 + 5, 10**9])
async def test_a_data_set_is_read_from_any_byte_without_its_header(
    content: bytes, offset: int
) -> None:
    bucket = MemoryBucket()
    key = await stored(bucket, content)
    assert await read(bucket, key, len(content), offset) == content[offset:]


async def test_a_missing_and_a_short_object_fail() -> None:
    bucket = MemoryBucket()
    key = await stored(bucket, CONTENT)
    with pytest.raises(DimseFailure, match="shorter"):
        await read(bucket, key, len(CONTENT) + 1)
    await bucket.delete(key)
    with pytest.raises(DimseFailure, match="not in the bucket") as raised:
        await read(bucket, key, len(CONTENT))
    assert raised.value.status == Status.PROCESSING_FAILURE
    assert not raised.value.transient


async def test_an_object_that_is_no_dicom_file_fails() -> None:
    bucket = MemoryBucket()
    key = key_of(announced(CONTENT))
    await bucket.put(key, chunks(bytes(1000)), 1000)
    with pytest.raises(DimseFailure, match="not a DICOM file"):
        await read(bucket, key, len(CONTENT))


async def test_a_reader_that_leaves_early_leaves_no_read_behind() -> None:
    bucket = MemoryBucket()
    parts = parse_key(await stored(bucket, CONTENT))
    assert parts
    async with aclosing(DataSetReader(bucket).data_set(parts, len(CONTENT))) as pieces:
        async for _ in pieces:
            break
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_the_key_of_an_instance_is_taken() -> None:
    instance = announced(CONTENT)
    assert str(checked_key(key_of(instance), instance.sha256)) == key_of(instance)


DIGEST = announced(CONTENT).sha256
FOLDER = f"instances/{DIGEST[:2]}/{DIGEST}"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "check/1",
        "../secret",
        f"{FOLDER}/../1.2.3.dcm",
        f"{FOLDER}/./1.2.3.dcm",
        f"{FOLDER}/1.2/...dcm",
        f"{FOLDER}/1.2/../1.2.3.dcm",
        f"{FOLDER}/1.2/1.2.3.dcm\n",
        f"{FOLDER}/1.2/1.2.3.dcm/..",
        f"/{FOLDER}/1.2/1.2.3.dcm",
        f"instances/{'0' * 2}/{DIGEST}/1.2/1.2.3.dcm",
        f"instances/00/{'0' * 64}/1.2/1.2.3.dcm",
        f"{FOLDER}/1.2/{'1' * 65}.dcm",
        f"{FOLDER}/1.2/1.2.3",
    ],
)
def test_any_other_key_is_refused(key: str) -> None:
    with pytest.raises(DimseFailure) as raised:
        checked_key(key, DIGEST)
    assert raised.value.status == Status.PROCESSING_FAILURE

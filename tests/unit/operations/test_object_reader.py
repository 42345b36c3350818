import re
from pathlib import Path

import pydicom
import pytest

from dimse_ingestion.dicom import part10
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.scanner import scan
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.operations.object_reader import read_metadata
from dimse_ingestion.storage.contract import StoredObject
from dimse_ingestion.storage.memory import MemoryBucket
from tests.unit.operations.instances import (
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    announced,
    data_set,
    object_of,
)

MEBIBYTE = 1024 * 1024


class _CountingBucket(MemoryBucket):
    def __init__(self) -> None:
        super().__init__()
        self.read = 0
        self.requests = 0

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        piece = await super().get_range(key, offset, length)
        self.read += len(piece)
        self.requests += 1
        return piece


def bucket_with(content: bytes) -> tuple[_CountingBucket, StoredObject]:
    bucket = _CountingBucket()
    bucket.objects["key"] = content
    return bucket, StoredObject("key", len(content))


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, DEFLATED])
async def test_the_elements_are_those_that_were_stored(syntax: str) -> None:
    content = data_set(syntax=syntax)
    whole = object_of(announced(content, syntax=syntax), content)
    metadata = await read_metadata(*bucket_with(whole))
    assert metadata.elements == scan(content, syntax)
    assert metadata.transfer_syntax_uid == syntax
    assert whole[metadata.header_size :] == content


async def test_a_large_object_costs_two_small_reads() -> None:
    content = data_set(pixels=bytes(64 * MEBIBYTE))
    bucket, stored = bucket_with(object_of(announced(content), content))
    metadata = await read_metadata(bucket, stored)
    assert metadata.elements == scan(content, EXPLICIT)
    assert (bucket.requests, bucket.read) == (1, 64 * 1024)


async def test_elements_after_the_pixels_are_read() -> None:
    behind = b"\xfa\xff\xfa\xffSQ\0\0\0\0\0\0"
    content = data_set(pixels=bytes(4 * MEBIBYTE)) + behind
    bucket, stored = bucket_with(object_of(announced(content), content))
    metadata = await read_metadata(bucket, stored)
    assert (metadata.elements[-1].tag, bucket.requests) == (0xFFFAFFFA, 2)


async def test_large_fragments_are_skipped_and_small_ones_read() -> None:
    head = data_set() + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
    fragments = b"".join(
        b"\xfe\xff\x00\xe0" + size.to_bytes(4, "little") + bytes(size)
        for size in (0, 3 * MEBIBYTE, *[10_000] * 50, 3 * MEBIBYTE)
    )
    content = head + fragments + b"\xfe\xff\xdd\xe0\0\0\0\0"
    jpeg = "1.2.840.10008.1.2.4.70"
    bucket, stored = bucket_with(object_of(announced(content, syntax=jpeg), content))
    metadata = await read_metadata(bucket, stored)
    assert metadata.elements == scan(content, jpeg)
    assert bucket.read < 2 * MEBIBYTE


@pytest.mark.parametrize("left", [0, 100, 200, 400, 1000, 4 * MEBIBYTE])
async def test_a_truncated_object_is_c000(left: int) -> None:
    content = data_set(pixels=bytes(5 * MEBIBYTE))
    with pytest.raises(DimseFailure) as refused:
        await read_metadata(*bucket_with(object_of(announced(content), content)[:left]))
    assert refused.value.status == Status.CANNOT_UNDERSTAND


async def test_an_object_shorter_than_its_listed_size_is_refused() -> None:
    content = data_set(pixels=bytes(1000))
    bucket, stored = bucket_with(object_of(announced(content), content))
    with pytest.raises(DimseFailure, match="shorter"):
        await read_metadata(bucket, StoredObject(stored.key, stored.size + 10))


async def test_an_object_that_does_not_exist_raises_key_error() -> None:
    with pytest.raises(KeyError):
        await read_metadata(MemoryBucket(), StoredObject("key", 1000))


def shipped_files() -> list[bytes]:
    """Return pydicom's files whose file meta information has its length."""
    paths = (Path(pydicom.__file__).parent / "data").rglob("*.dcm")
    contents = [path.read_bytes() for path in sorted(paths)]
    return [each for each in contents if each[128:132] == b"DICM" and each[136:138] == b"UL"]


async def test_every_shipped_file_is_read_as_by_a_single_scan() -> None:
    files = shipped_files()
    assert len(files) > 50
    for file in files:
        offset = part10.data_set_offset(file)
        try:
            expected = scan(file[offset:], part10.transfer_syntax_uid(file[:offset]))
        except DimseFailure as failure:
            with pytest.raises(DimseFailure, match=re.escape(failure.comment)):
                await read_metadata(*bucket_with(file))
            continue
        metadata = await read_metadata(*bucket_with(file))
        assert (metadata.header_size, metadata.elements) == (offset, expected)

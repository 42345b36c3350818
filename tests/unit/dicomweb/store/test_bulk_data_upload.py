"""Spooled parts are found by their URLs and read from their offsets."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from dimse_ingestion.dicomweb.store.bulk_data_upload import BulkDataUpload
from dimse_ingestion.spooling.spool import Limits, Spool


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[BulkDataUpload]:
    spool = Spool(tmp_path, Limits(memory=10))
    spool.prepare()
    bulk = BulkDataUpload(spool.open("operation"), "http://server/dicomweb/studies")
    yield bulk
    bulk.close()
    assert (spool.memory_used, spool.disk_used) == (0, 0)
    spool.close()


async def put(parts: BulkDataUpload, content: bytes, headers: Mapping[str, str]) -> None:
    part = parts.begin(headers)
    for start in range(0, len(content), 7):
        await parts.write(part, content[start : start + 7])


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({"content-location": "http://server/bulk/1"}, "http://server/bulk/1"),
        ({"content-location": "bulk"}, "http://server/dicomweb/bulk"),
        ({"content-location": "http://server/dicomweb/bulk"}, "bulk"),
        ({"content-location": "/bulk"}, "/bulk"),
        ({"content-id": "<name@sender>"}, "cid:name@sender"),
        ({"content-location": "urn:uuid:1"}, "urn:uuid:1"),
    ],
)
async def test_a_part_is_found_by_its_url(
    parts: BulkDataUpload, headers: Mapping[str, str], url: str
) -> None:
    await put(parts, b"another", {})
    await put(parts, b"the value that is meant", headers)
    await parts.seal()
    (part,) = parts.at(url)
    assert list(parts.read(part.reference, 10)) == [b"the value ", b"that is me", b"ant"]


async def test_parts_of_one_url_stay_in_order(parts: BulkDataUpload) -> None:
    for content in (b"one", b"", b"three"):
        await put(parts, content, {"content-location": "frames"})
        await put(parts, b"between", {"content-location": "others"})
    await parts.seal()
    contents = [b"".join(parts.read(each.reference, 100)) for each in parts.at("frames")]
    assert contents == [b"one", b"", b"three"]


async def test_an_unknown_url_finds_no_part(parts: BulkDataUpload) -> None:
    await put(parts, b"unnamed", {})
    assert parts.at("") == parts.at("bulk") == []

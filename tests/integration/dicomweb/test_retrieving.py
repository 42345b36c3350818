"""Whole instances by WADO-RS: as they were stored, streamed, and honest about what is missing."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from dicomweb_client import DICOMwebClient
from pydicom import dcmread
from pydicom.pixels import iter_pixels

from tests.integration.dicomweb.conftest import Space, space_in
from tests.integration.dicomweb.retrieved import (
    FILES,
    data_set_behind,
    of,
    only_file,
    parts_of,
    path_of,
    reads,
    study_of,
)
from tests.storable import data_set_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
EXPLICIT = "1.2.840.10008.1.2.1"
STORED = [
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "image_dfl.dcm",
    "JPEG2000.dcm",
    "SC_rgb_rle_2frame.dcm",
    "emri_small.dcm",
    "test-SR.dcm",
    "rtplan.dcm",
]
DICOM = {"accept": "application/dicom"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def some(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Space]:
    async with space_in(tmp_path_factory.mktemp("some") / "space") as opened:
        for name in STORED:
            await opened.store(FILES[name])
        yield opened


@pytest.mark.parametrize("name", STORED)
async def test_an_instance_is_had_byte_for_byte_alone_and_as_a_part(some: Space, name: str) -> None:
    alone = await some.client.get(path_of(name), headers=DICOM)
    assert alone.status_code == 200
    syntax = of(name).file_meta.TransferSyntaxUID
    assert alone.headers["content-type"] == f"application/dicom; transfer-syntax={syntax}"
    assert alone.headers["content-length"] == str(len(alone.content))
    assert data_set_behind(alone.content) == data_set_of(FILES[name])
    [(content_type, content)] = parts_of(await some.client.get(path_of(name)))
    assert content == alone.content
    assert content_type == alone.headers["content-type"]


@pytest.mark.parametrize("name", STORED)
async def test_dicomweb_client_retrieves_instance_series_and_study(some: Space, name: str) -> None:
    client = DICOMwebClient(some.base)
    stored = of(name)
    study, series = str(stored.StudyInstanceUID), str(stored.SeriesInstanceUID)
    uid = str(stored.SOPInstanceUID)
    any_syntax = (("application/dicom", "*"),)
    one = await asyncio.to_thread(
        client.retrieve_instance, study, series, uid, media_types=any_syntax
    )
    assert one == stored
    of_series = await asyncio.to_thread(
        client.retrieve_series, study, series, media_types=any_syntax
    )
    of_study = await asyncio.to_thread(client.retrieve_study, study, media_types=any_syntax)
    assert stored in of_series
    assert stored in of_study


@pytest.mark.parametrize("name", [each for each in STORED if each != "rtplan.dcm"])
async def test_explicit_little_endian_is_made_on_request(some: Space, name: str) -> None:
    accept = {"accept": f"application/dicom; transfer-syntax={EXPLICIT}"}
    answer = await some.client.get(path_of(name), headers=accept)
    assert answer.status_code == 200, answer.text
    made, stored = dcmread(BytesIO(answer.content)), of(name)
    assert made.file_meta.TransferSyntaxUID == EXPLICIT
    assert made.SOPInstanceUID == stored.SOPInstanceUID
    if "PixelData" in stored:
        for mine, theirs in zip(iter_pixels(made), iter_pixels(stored), strict=True):
            assert (mine == theirs).all()


async def test_a_transfer_syntax_that_can_not_be_made_is_406_and_says_which_can(
    some: Space,
) -> None:
    accept = {"accept": 'multipart/related; type="application/dicom"; transfer-syntax=1.2.3'}
    for path in (path_of("CT_small.dcm"), study_of("CT_small.dcm")):
        answer = await some.client.get(path, headers=accept)
        assert answer.status_code == 406
        assert "transfer-syntax=*" in answer.json()["detail"]


async def test_the_most_wanted_syntax_that_can_be_given_is(some: Space) -> None:
    accept = (
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50, "
        f"application/dicom; transfer-syntax={EXPLICIT}; q=0.5"
    )
    answer = await some.client.get(path_of("JPEG2000.dcm"), headers={"accept": accept})
    assert dcmread(BytesIO(answer.content)).file_meta.TransferSyntaxUID == EXPLICIT


async def test_what_a_client_has_is_not_sent_again(some: Space) -> None:
    path = path_of("CT_small.dcm")
    tag = (await some.client.head(path, headers=DICOM)).headers["etag"]
    before = reads()
    again = await some.client.get(path, headers={**DICOM, "if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert reads() == before


async def test_a_head_tells_the_length_and_opens_nothing(some: Space) -> None:
    before = reads()
    for path in (path_of("CT_small.dcm"), study_of("CT_small.dcm")):
        answer = await some.client.head(path, headers={"accept": "*/*"})
        assert (answer.status_code, answer.content) == (200, b"")
    answer = await some.client.head(path_of("CT_small.dcm"), headers=DICOM)
    assert int(answer.headers["content-length"]) > len(data_set_of(FILES["CT_small.dcm"]))
    assert reads() == before


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [("bytes=0-9", 0, 10), ("bytes=1000-", 1000, None), ("bytes=-5", -5, None)],
)
async def test_ranges(some: Space, asked: str, begin: int, end: int | None) -> None:
    path = path_of("CT_small.dcm")
    whole = (await some.client.get(path, headers=DICOM)).content
    answer = await some.client.get(path, headers={**DICOM, "range": asked})
    assert answer.status_code == 206
    assert answer.content == whole[begin:end]
    start = begin % len(whole)
    last = start + len(answer.content) - 1
    assert answer.headers["content-range"] == f"bytes {start}-{last}/{len(whole)}"


async def test_a_range_beyond_the_end_is_416_with_the_length(some: Space) -> None:
    answer = await some.client.get(
        path_of("CT_small.dcm"), headers={**DICOM, "range": "bytes=9999999-"}
    )
    assert answer.status_code == 416
    assert answer.headers["content-range"].startswith("bytes */")


async def test_a_range_of_what_has_changed_is_the_whole(some: Space) -> None:
    headers = {**DICOM, "range": "bytes=0-9", "if-range": '"another"'}
    answer = await some.client.get(path_of("CT_small.dcm"), headers=headers)
    assert answer.status_code == 200
    assert len(answer.content) > 10


@pytest.mark.parametrize(
    "path", ["/studies/9.9", "/studies/9.9/series/9", "/studies/9.9/series/9/instances/9"]
)
async def test_nothing_stored_is_404(some: Space, path: str) -> None:
    answer = await some.client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_path_that_is_no_uid_is_refused(some: Space) -> None:
    for path in ("/studies/..%2f..%2fetc", "/studies/1.2%00", "/studies/a/series/b"):
        assert (await some.client.get(path)).status_code in (400, 404)


async def study_of_many(space: Space, number: int, folder: Path) -> None:
    """Store so many instances of one study."""
    for path in copies(number, folder):
        await space.store(path)


def copies(number: int, folder: Path) -> list[Path]:
    """The same image under many SOP Instance UIDs."""
    folder.mkdir()
    data_set = of("CT_small.dcm")
    paths = [folder / f"{each}.dcm" for each in range(number)]
    for each, path in enumerate(paths, 1):
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{each}"
        data_set.save_as(path)
    return paths


async def test_a_missing_object_of_a_study_is_left_out_with_206(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space") as opened:
        await study_of_many(opened, 5, tmp_path / "files")
        next((tmp_path / "space" / "bucket").rglob("*.dcm")).unlink()
        answer = await opened.client.get(study_of("CT_small.dcm"))
    assert answer.status_code == 206
    assert "left out" in answer.headers["warning"]
    assert len(parts_of(answer)) == 4


async def test_one_that_is_found_missing_late_breaks_off_and_is_told_the_next_time(
    tmp_path: Path,
) -> None:
    async with space_in(tmp_path / "space") as opened:
        await study_of_many(opened, 40, tmp_path / "files")
        whole = parts_of(await opened.client.get(study_of("CT_small.dcm")))
        last = dcmread(BytesIO(whole[-1][1])).SOPInstanceUID
        next((tmp_path / "space" / "bucket").rglob(f"{last}.dcm")).unlink()
        with pytest.raises(httpx2.RemoteProtocolError):
            await opened.client.get(study_of("CT_small.dcm"))
        answer = await opened.client.get(study_of("CT_small.dcm"))
    assert answer.status_code == 206
    assert len(parts_of(answer)) == 39


async def test_a_single_object_that_is_gone_is_410_with_the_cure(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space") as opened:
        await opened.store(FILES["CT_small.dcm"])
        only_file(tmp_path / "space" / "bucket").unlink()
        for path in (path_of("CT_small.dcm"), study_of("CT_small.dcm")):
            for headers in (DICOM, {}):
                if path.count("/") > 2 or not headers:
                    answer = await opened.client.get(path, headers=headers)
                    assert answer.status_code == 410
                    assert "rebuild the catalogue" in answer.json()["detail"]


async def test_a_bucket_that_is_away_is_503_and_comes_back(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space") as opened:
        await opened.store(FILES["CT_small.dcm"])
        bucket = tmp_path / "space" / "bucket"
        bucket.rename(tmp_path / "away")
        for path in (path_of("CT_small.dcm"), study_of("CT_small.dcm")):
            answer = await opened.client.get(path)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
        (tmp_path / "away").rename(bucket)
        assert (await opened.client.get(path_of("CT_small.dcm"))).status_code == 200

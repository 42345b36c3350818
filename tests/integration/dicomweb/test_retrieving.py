"""Whole instances by WADO-RS: as stored, streamed, with missing ones reported."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from dicomweb_client import DICOMwebClient
from pydicom import dcmread
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID

from tests.integration.dicomweb.conftest import Space, space_in
from tests.integration.dicomweb.retrieved import (
    FILES,
    data_set_after,
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
async def stored_files(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Space]:
    async with space_in(tmp_path_factory.mktemp("some") / "space") as opened:
        for name in STORED:
            await opened.store(FILES[name])
        yield opened


@pytest.mark.parametrize("name", STORED)
async def test_an_instance_is_returned_byte_for_byte_as_body_and_as_part(
    stored_files: Space, name: str
) -> None:
    alone = await stored_files.client.get(path_of(name), headers=DICOM)
    assert alone.status_code == 200
    syntax = of(name).file_meta.TransferSyntaxUID
    assert alone.headers["content-type"] == f"application/dicom; transfer-syntax={syntax}"
    assert alone.headers["content-length"] == str(len(alone.content))
    assert data_set_after(alone.content) == data_set_of(FILES[name])
    [(content_type, content)] = parts_of(await stored_files.client.get(path_of(name)))
    assert content == alone.content
    assert content_type == alone.headers["content-type"]


@pytest.mark.parametrize("name", STORED)
async def test_dicomweb_client_retrieves_instance_series_and_study(
    stored_files: Space, name: str
) -> None:
    client = DICOMwebClient(stored_files.base)
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
async def test_an_instance_is_transcoded_to_explicit_little_endian_on_request(
    stored_files: Space, name: str
) -> None:
    accept = {"accept": f"application/dicom; transfer-syntax={EXPLICIT}"}
    answer = await stored_files.client.get(path_of(name), headers=accept)
    assert answer.status_code == 200, answer.text
    transcoded, stored = dcmread(BytesIO(answer.content)), of(name)
    assert transcoded.file_meta.TransferSyntaxUID == EXPLICIT
    assert transcoded.SOPInstanceUID == stored.SOPInstanceUID
    if "PixelData" in stored:
        for mine, theirs in zip(iter_pixels(transcoded), iter_pixels(stored), strict=True):
            assert (mine == theirs).all()


async def test_an_unsupported_transfer_syntax_is_406_with_the_supported_ones(
    stored_files: Space,
) -> None:
    accept = {"accept": 'multipart/related; type="application/dicom"; transfer-syntax=1.2.3'}
    for path in (path_of("CT_small.dcm"), study_of("CT_small.dcm")):
        answer = await stored_files.client.get(path, headers=accept)
        assert answer.status_code == 406
        assert "transfer-syntax=*" in answer.json()["detail"]


async def test_the_preferred_supported_transfer_syntax_is_returned(stored_files: Space) -> None:
    accept = (
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50, "
        f"application/dicom; transfer-syntax={EXPLICIT}; q=0.5"
    )
    answer = await stored_files.client.get(path_of("JPEG2000.dcm"), headers={"accept": accept})
    assert dcmread(BytesIO(answer.content)).file_meta.TransferSyntaxUID == EXPLICIT


async def test_an_unchanged_instance_is_304(stored_files: Space) -> None:
    path = path_of("CT_small.dcm")
    tag = (await stored_files.client.head(path, headers=DICOM)).headers["etag"]
    before = reads()
    again = await stored_files.client.get(path, headers={**DICOM, "if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert reads() == before


async def test_a_head_request_returns_the_length_without_reading_the_object(
    stored_files: Space,
) -> None:
    before = reads()
    for path in (path_of("CT_small.dcm"), study_of("CT_small.dcm")):
        answer = await stored_files.client.head(path, headers={"accept": "*/*"})
        assert (answer.status_code, answer.content) == (200, b"")
    answer = await stored_files.client.head(path_of("CT_small.dcm"), headers=DICOM)
    assert int(answer.headers["content-length"]) > len(data_set_of(FILES["CT_small.dcm"]))
    assert reads() == before


@pytest.mark.parametrize(
    ("range_", "begin", "end"),
    [("bytes=0-9", 0, 10), ("bytes=1000-", 1000, None), ("bytes=-5", -5, None)],
)
async def test_a_byte_range_is_returned(
    stored_files: Space, range_: str, begin: int, end: int | None
) -> None:
    path = path_of("CT_small.dcm")
    whole = (await stored_files.client.get(path, headers=DICOM)).content
    answer = await stored_files.client.get(path, headers={**DICOM, "range": range_})
    assert answer.status_code == 206
    assert answer.content == whole[begin:end]
    start = begin % len(whole)
    last = start + len(answer.content) - 1
    assert answer.headers["content-range"] == f"bytes {start}-{last}/{len(whole)}"


async def test_a_range_beyond_the_end_is_416_with_the_length(stored_files: Space) -> None:
    answer = await stored_files.client.get(
        path_of("CT_small.dcm"), headers={**DICOM, "range": "bytes=9999999-"}
    )
    assert answer.status_code == 416
    assert answer.headers["content-range"].startswith("bytes */")


async def test_a_range_of_a_changed_instance_is_the_whole_instance(stored_files: Space) -> None:
    headers = {**DICOM, "range": "bytes=0-9", "if-range": '"another"'}
    answer = await stored_files.client.get(path_of("CT_small.dcm"), headers=headers)
    assert answer.status_code == 200
    assert len(answer.content) > 10


@pytest.mark.parametrize(
    "path", ["/studies/9.9", "/studies/9.9/series/9", "/studies/9.9/series/9/instances/9"]
)
async def test_an_unknown_uid_is_404(stored_files: Space, path: str) -> None:
    answer = await stored_files.client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_invalid_uid_in_the_path_is_refused(stored_files: Space) -> None:
    for path in ("/studies/..%2f..%2fetc", "/studies/1.2%00", "/studies/a/series/b"):
        assert (await stored_files.client.get(path)).status_code in (400, 404)


async def study_of_many(space: Space, number: int, folder: Path) -> None:
    """Store a number of instances of one study."""
    for path in copies(number, folder):
        await space.store(path)


def copies(number: int, folder: Path) -> list[Path]:
    """Write the same image with different SOP Instance UIDs."""
    folder.mkdir()
    data_set = of("CT_small.dcm")
    paths = [folder / f"{each}.dcm" for each in range(number)]
    for each, path in enumerate(paths, 1):
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = UID(
            f"1.2.3.{each}"
        )
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


async def test_an_object_found_missing_late_aborts_the_response_and_the_next_is_206(
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


async def test_a_missing_object_of_a_single_instance_is_410_with_the_remedy(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space") as opened:
        await opened.store(FILES["CT_small.dcm"])
        only_file(tmp_path / "space" / "bucket").unlink()
        for path in (path_of("CT_small.dcm"), study_of("CT_small.dcm")):
            for headers in (DICOM, {}):
                if path.count("/") > 2 or not headers:
                    answer = await opened.client.get(path, headers=headers)
                    assert answer.status_code == 410
                    assert "rebuild the catalogue" in answer.json()["detail"]


async def test_a_bucket_that_is_down_is_503_until_it_is_back(tmp_path: Path) -> None:
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

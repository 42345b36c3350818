"""Metadata comes from the catalogue alone, large values by address, and once if unchanged."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from dimse_ingestion.observability import metrics
from tests.instances import event
from tests.integration.dicomweb.conftest import Space, space_in

pytestmark = pytest.mark.asyncio(loop_scope="module")
CT = Path(str(get_testdata_file("CT_small.dcm", download=False)))
MR = Path(str(get_testdata_file("MR_small.dcm", download=False)))
STORED = dcmread(CT)
STUDY = f"/studies/{STORED.StudyInstanceUID}"
SERIES = f"{STUDY}/series/{STORED.SeriesInstanceUID}"
INSTANCE = f"{SERIES}/instances/{STORED.SOPInstanceUID}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Space]:
    async with space_in(tmp_path_factory.mktemp("two") / "space") as opened:
        for path in (CT, MR):
            await opened.store(path)
        yield opened


def reads() -> float:
    return sum(
        sample.value
        for family in metrics.storage_requests.collect()
        for sample in family.samples
        if sample.labels.get("asked") == "get" and sample.name.endswith("_total")
    )


@pytest.mark.parametrize("path", [STUDY, SERIES, INSTANCE])
async def test_every_element_is_there_and_no_object_was_opened(two: Space, path: str) -> None:
    before = reads()
    answer = await two.client.get(f"{path}/metadata")
    assert answer.headers["content-type"] == "application/dicom+json"
    [told] = answer.json()
    assert reads() == before
    known = Dataset.from_json(told, bulk_data_uri_handler=lambda *_: b"")
    missing = {each.tag for each in STORED} - {each.tag for each in known}
    assert missing <= {0xFFFCFFFC}
    assert known.PatientName == STORED.PatientName
    assert known.ImagePositionPatient == STORED.ImagePositionPatient


async def test_large_values_are_told_by_address(two: Space) -> None:
    [told] = (await two.client.get(f"{INSTANCE}/metadata")).json()
    assert told["7FE00010"] == {
        "vr": "OW",
        "BulkDataURI": f"{two.base}{INSTANCE}/bulkdata/7FE00010",
    }


async def test_what_has_not_changed_is_not_sent_again(two: Space) -> None:
    first = await two.client.get(f"{STUDY}/metadata")
    tag = first.headers["etag"]
    again = await two.client.get(f"{STUDY}/metadata", headers={"if-none-match": f'"x", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = await two.client.get(f"{STUDY}/metadata", headers={"if-none-match": '"x"'})
    assert other.json() == first.json()


async def test_the_tag_is_another_for_another_form(two: Space) -> None:
    xml = {"accept": 'multipart/related; type="application/dicom+xml"'}
    tags = {
        (await two.client.get(f"{STUDY}/metadata", headers=headers)).headers["etag"]
        for headers in ({}, xml)
    }
    assert len(tags) == 2


@pytest.mark.parametrize(
    "path", ["/studies/9.9", f"{STUDY}/series/9.9", f"{SERIES}/instances/9.9", "/studies/1.2"]
)
async def test_nothing_stored_is_404_with_a_sentence(two: Space, path: str) -> None:
    answer = await two.client.get(f"{path}/metadata")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "Nothing with these UIDs is stored here."


async def test_a_head_has_no_body(two: Space) -> None:
    answer = await two.client.head(f"{STUDY}/metadata")
    assert (answer.status_code, answer.content) == (200, b"")
    assert "etag" in answer.headers


async def test_a_study_too_long_to_hold_is_streamed_whole(tmp_path: Path) -> None:
    text = "x" * 60_000
    async with space_in(tmp_path / "space") as opened:
        await opened.tell(
            event(instance=f"3.{number}", ImageComments=text, InstanceNumber=str(number))
            for number in range(300)
        )
        answer = await opened.client.get("/studies/1.2.1/metadata")
    told: list[dict[str, Any]] = answer.json()
    assert {each["00200013"]["Value"][0] for each in told} == set(range(300))
    assert "etag" not in answer.headers

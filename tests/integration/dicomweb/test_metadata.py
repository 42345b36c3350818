"""Metadata from the catalogue alone, with URLs for large values and 304 if unchanged."""

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
async def two_instances(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Space]:
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
async def test_metadata_has_every_element_and_reads_no_object(
    two_instances: Space, path: str
) -> None:
    before = reads()
    answer = await two_instances.client.get(f"{path}/metadata")
    assert answer.headers["content-type"] == "application/dicom+json"
    [metadata_] = answer.json()
    assert reads() == before
    known = Dataset.from_json(metadata_, bulk_data_uri_handler=lambda *_: b"")
    missing = {each.tag for each in STORED} - {each.tag for each in known}
    assert missing <= {0xFFFCFFFC}
    assert known.PatientName == STORED.PatientName
    assert known.ImagePositionPatient == STORED.ImagePositionPatient


async def test_large_values_are_replaced_by_urls(two_instances: Space) -> None:
    [metadata_] = (await two_instances.client.get(f"{INSTANCE}/metadata")).json()
    assert metadata_["7FE00010"] == {
        "vr": "OW",
        "BulkDataURI": f"{two_instances.base}{INSTANCE}/bulkdata/7FE00010",
    }


async def test_unchanged_metadata_is_304(two_instances: Space) -> None:
    first = await two_instances.client.get(f"{STUDY}/metadata")
    tag = first.headers["etag"]
    again = await two_instances.client.get(
        f"{STUDY}/metadata", headers={"if-none-match": f'"x", {tag}'}
    )
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = await two_instances.client.get(f"{STUDY}/metadata", headers={"if-none-match": '"x"'})
    assert other.json() == first.json()


async def test_entity_tags_differ_between_media_types(two_instances: Space) -> None:
    xml = {"accept": 'multipart/related; type="application/dicom+xml"'}
    tags = {
        (await two_instances.client.get(f"{STUDY}/metadata", headers=headers)).headers["etag"]
        for headers in ({}, xml)
    }
    assert len(tags) == 2


@pytest.mark.parametrize(
    "path", ["/studies/9.9", f"{STUDY}/series/9.9", f"{SERIES}/instances/9.9", "/studies/1.2"]
)
async def test_metadata_of_an_unknown_uid_is_404(two_instances: Space, path: str) -> None:
    answer = await two_instances.client.get(f"{path}/metadata")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "Nothing with these UIDs is stored here."


async def test_a_head_request_has_no_body(two_instances: Space) -> None:
    answer = await two_instances.client.head(f"{STUDY}/metadata")
    assert (answer.status_code, answer.content) == (200, b"")
    assert "etag" in answer.headers


async def test_long_metadata_is_streamed_completely_with_an_entity_tag(tmp_path: Path) -> None:
    text = "x" * 60_000
    async with space_in(tmp_path / "space") as opened:
        await opened.add_events(
            event(instance=f"3.{number}", ImageComments=text, InstanceNumber=str(number))
            for number in range(300)
        )
        answer = await opened.client.get("/studies/1.2.1/metadata")
    metadata_: list[dict[str, Any]] = answer.json()
    assert {each["00200013"]["Value"][0] for each in metadata_} == set(range(300))
    assert "etag" in answer.headers

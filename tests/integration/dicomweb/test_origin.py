"""Who sent an instance, in an answer that has no address of the imaging zone."""

from pathlib import Path

from pydicom import dcmread
from pydicom.data import get_testdata_file

from dimse_ingestion.events.contract import InstanceOrigin
from tests.integration.dicomweb.conftest import Space

CT = Path(str(get_testdata_file("CT_small.dcm", download=False)))
STORED = dcmread(CT, stop_before_pixels=True)
SERIES = f"/studies/{STORED.StudyInstanceUID}/series/{STORED.SeriesInstanceUID}"
PATH = f"{SERIES}/instances/{STORED.SOPInstanceUID}/origin"
ORIGIN = InstanceOrigin("CT1", "DICOM-INGEST", "ward7", "10.1.2.3", "2026-01-02T03:04:05Z")


async def test_the_origin_of_an_instance_has_titles_proxy_and_time(space: Space) -> None:
    await space.store(CT, ORIGIN)
    answer = await space.client.get(PATH)
    assert answer.json() == {
        "callingAeTitle": "CT1",
        "calledAeTitle": "DICOM-INGEST",
        "proxyId": "ward7",
        "receivedAt": "2026-01-02T03:04:05Z",
    }
    assert "10.1.2.3" not in answer.text


async def test_an_instance_of_unknown_origin_has_an_empty_one(space: Space) -> None:
    await space.store(CT)
    answer = await space.client.get(PATH)
    assert (answer.status_code, answer.json()) == (200, {})


async def test_an_instance_that_is_not_stored_has_no_origin(space: Space) -> None:
    assert (await space.client.get(PATH)).status_code == 404


async def test_searches_and_metadata_have_no_address_of_the_sender(space: Space) -> None:
    await space.store(CT, ORIGIN)
    for path in ("/studies?includefield=all", f"{SERIES}/metadata", f"{SERIES}/instances"):
        answer = await space.client.get(path)
        assert answer.status_code == 200
        assert "10.1.2.3" not in answer.text

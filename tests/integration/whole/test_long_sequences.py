"""Instances with a sequence of 227,000 items take a DICOMweb process little memory.

That is 4 MiB of a data set, the longest sequence whose items are recorded.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import httpx2
import orjson
import pytest

from dimse_ingestion.dicom.dicom_json import to_json
from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.events.cloudevents import CONTENT_TYPE, encode
from dimse_ingestion.events.contract import ImageStoredEvent
from harness.services import ServiceProcess, StorageSpace
from tests.instances import event

ITEMS = 227_000
MOST_MEMORY = 400 * 2**20  # bytes
STUDY = "1.2.5"
METADATA = f"/studies/{STUDY}/metadata"
SEARCH = f"/studies/{STUDY}/instances?includefield=all"
SMALL = "/studies?StudyInstanceUID=1.2.1"


def stored(instance: str) -> ImageStoredEvent:
    items = [[element(0x00080100, "SH", "A")]] * ITEMS
    last = [element(0x00080100, "SH", f"last of {instance}")]
    sequence = Element("0008", "1140", "SQ", items=[*items, last, []])
    return event(
        provider="provider", study=STUDY, series=f"{STUDY}.1", instance=instance, more=[sequence]
    )


@pytest.fixture(scope="module")
def events() -> list[ImageStoredEvent]:
    return [stored(f"{STUDY}.1.{number}") for number in range(5)]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageSpace]:
    started = StorageSpace(tmp_path_factory.mktemp("long") / "space", "")
    yield started
    started.close()


@pytest.fixture(scope="module")
def dicomweb(space: StorageSpace, events: list[ImageStoredEvent]) -> ServiceProcess:
    catalogue = space.catalogue().start().ready()
    address = f"http://127.0.0.1:{catalogue.http_port}/events"
    for each in (event("small", provider="provider"), *events):
        headers = {"content-type": CONTENT_TYPE}
        answer = httpx2.post(address, content=encode(each), headers=headers, timeout=60)
        assert answer.status_code == 202, answer.text
    return space.dicomweb().start().ready()


def get(space: StorageSpace, path: str) -> httpx2.Response:
    headers = {"accept": "application/dicom+json"}
    address = f"http://127.0.0.1:{space.dicomweb_port}/dicomweb{path}"
    return httpx2.get(address, headers=headers, timeout=200)


def expected(events: list[ImageStoredEvent]) -> bytes:
    return orjson.dumps([to_json(each.data.image.elements, "/".join) for each in events])


def bystand(
    space: StorageSpace, dicomweb: ServiceProcess, requests: list[Future[httpx2.Response]]
) -> None:
    """Ask for readiness and a small study until the requests are answered."""
    while not all(each.done() for each in requests):
        assert dicomweb.readiness()[0] == 200
        assert get(space, SMALL).status_code == 200
        wait(requests, timeout=0.5)


@pytest.mark.timeout(400)
def test_long_sequences_are_sent_to_many_at_once_in_little_memory(
    space: StorageSpace, dicomweb: ServiceProcess, events: list[ImageStoredEvent]
) -> None:
    with ThreadPoolExecutor(5) as clients:
        metadata = [clients.submit(get, space, METADATA) for _ in range(3)]
        searches = [clients.submit(get, space, SEARCH) for _ in range(2)]
        bystand(space, dicomweb, [*metadata, *searches])
    body = expected(events)
    assert all(each.result().content == body for each in metadata)
    first, *others = [each.result().content for each in searches]
    assert all(each == first for each in others)
    for each in events:
        sequence = orjson.dumps(to_json([each.data.image.elements[-1]], "/".join))[1:-1]
        assert first.count(sequence) == 1
    assert dicomweb.peak_memory() < MOST_MEMORY


def test_an_instance_s_metadata_is_streamed_if_it_is_long(
    space: StorageSpace, dicomweb: ServiceProcess, events: list[ImageStoredEvent]
) -> None:
    path = f"/studies/{STUDY}/series/{STUDY}.1/instances/{STUDY}.1.3/metadata"
    answer = get(space, path)
    assert answer.content == expected(events[3:4])
    assert "content-length" not in answer.headers
    assert dicomweb.peak_memory() < MOST_MEMORY

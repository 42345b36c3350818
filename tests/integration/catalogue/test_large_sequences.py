"""Instances with a sequence of 227,000 items take little memory and hold up nobody.

That is 4 MiB of a data set, the longest sequence whose items are recorded.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import msgspec
import pytest

from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.events.cloudevents import CONTENT_TYPE, encode
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.queries import wire
from dimse_ingestion.queries.contract import Query
from harness.services import ServiceProcess
from tests.catalogue_cpu import beside, running_catalogue
from tests.instances import PROVIDER, event

HEADERS = {"content-type": CONTENT_TYPE}
ITEMS = 227_000
AT_ONCE = 4  # events of 13 MiB; requests of 64 MiB are taken at once
MOST_MEMORY = 400 * 2**20  # bytes
REFERENCED_IMAGES, CODE = 0x00081140, 0x00080100
STUDY = "1.2.5"
STUDY_KEY = element(0x0020000D, "UI", STUDY)
INSTANCES = [f"{STUDY}.1.{number}" for number in range(5)]


def sequence(*last: Element) -> Element:
    items = [[element(CODE, "SH", "A")]] * ITEMS
    empty = Element("0008", "1115", "SQ", items=[])
    return Element("0008", "1140", "SQ", items=[*items, [empty, *last]])


def stored(instance: str) -> ImageStoredEvent:
    last = element(CODE, "SH", f"last of {instance}")
    nested = Element("0040", "0275", "SQ", items=[[last], []])
    return event(study=STUDY, series=f"{STUDY}.1", instance=instance, more=[sequence(nested, last)])


@pytest.fixture(scope="module")
def events() -> list[ImageStoredEvent]:
    return [stored(each) for each in INSTANCES]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Start a catalogue."""
    with running_catalogue(tmp_path_factory.mktemp("catalogue")) as running:
        yield running


@pytest.fixture(scope="module")
def catalogue(recording: ServiceProcess, events: list[ImageStoredEvent]) -> ServiceProcess:
    """Return a catalogue that was started again after it has recorded the events."""
    asyncio.run(record(recording, events))
    recording.kill()
    return recording.start().ready()


async def record(recording: ServiceProcess, events: list[ImageStoredEvent]) -> None:
    """Record the events, most of them at once, beside queries; memory is bounded meanwhile."""
    async with httpx2.AsyncClient(base_url=address(recording), timeout=60) as client:
        await post(client, event("small", study="1.2.1", instance="1.2.1.1"))
        at_once = asyncio.gather(*(post(client, each) for each in events[:AT_ONCE]))
        await beside(recording, client, at_once)
        for each in events[AT_ONCE:]:
            await post(client, each)
    assert recording.peak_memory() < MOST_MEMORY


async def post(client: httpx2.AsyncClient, sent: ImageStoredEvent) -> None:
    answer = await client.post("/events", content=encode(sent), headers=HEADERS)
    assert answer.status_code == 202, answer.text


def address(service: ServiceProcess) -> str:
    return f"http://127.0.0.1:{service.http_port}"


@pytest.fixture
async def client(catalogue: ServiceProcess) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=address(catalogue), timeout=60) as opened:
        yield opened


async def lines(client: httpx2.AsyncClient, path: str, **attributes: Any) -> list[bytes]:
    sent = Query(scope="IMAGE", **attributes)
    answer = await client.post(path, params={"source": PROVIDER}, content=wire.encode_query(sent))
    *matches, end = answer.content.splitlines()
    assert end == wire.encode_end(len(matches)).strip()
    return matches


def encoded(elements: list[Element]) -> bytes:
    return msgspec.json.encode(sorted(elements, key=lambda each: each.tag))


def whole(of: ImageStoredEvent) -> bytes:
    """Return the match with all elements; ASCII has no Specific Character Set, but a match has."""
    return encoded([*of.data.image.elements, element(0x00080005, "CS")])


async def test_all_elements_come_as_they_were_sent(
    catalogue: ServiceProcess, client: httpx2.AsyncClient, events: list[ImageStoredEvent]
) -> None:
    asked = (lines(client, "/query/instances", keys=[STUDY_KEY], all_keys=True) for _ in range(4))
    for matches in await beside(catalogue, client, asyncio.gather(*asked)):
        assert sorted(matches) == sorted(map(whole, events))
    assert catalogue.peak_memory() < MOST_MEMORY


async def test_objects_come_with_the_elements_as_they_were_sent(
    catalogue: ServiceProcess, client: httpx2.AsyncClient, events: list[ImageStoredEvent]
) -> None:
    asked = (lines(client, "/query/objects", keys=[STUDY_KEY]) for _ in range(4))
    for matches in await beside(catalogue, client, asyncio.gather(*asked)):
        assert len(matches) == len(events)
        for each in events:
            elements = b"[" + msgspec.json.encode(each.data.image.elements) + b","
            assert sum(match.startswith(elements) for match in matches) == 1
    assert catalogue.peak_memory() < MOST_MEMORY


def within(value: str, *, nested: bool) -> Element:
    inner = element(CODE, "SH", value)
    key = Element("0040", "0275", "SQ", items=[[inner]]) if nested else inner
    return Element("0008", "1140", "SQ", items=[[key]])


@pytest.mark.parametrize("nested", [False, True])
async def test_a_key_matches_within_the_last_of_the_items(
    catalogue: ServiceProcess,
    client: httpx2.AsyncClient,
    events: list[ImageStoredEvent],
    *,
    nested: bool,
) -> None:
    for value, number in ((f"last of {INSTANCES[3]}", 1), ("last of*", 5), ("none", 0)):
        keys = [STUDY_KEY, within(value, nested=nested)]
        asked = lines(client, "/query/instances", keys=keys, all_keys=True)
        matches = await beside(catalogue, client, asked)
        assert len(matches) == number
        assert set(matches) <= set(map(whole, events))
    assert catalogue.peak_memory() < MOST_MEMORY

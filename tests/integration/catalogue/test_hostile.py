"""One hostile question or event holds up nobody else, and ends with a status and a sentence."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import msgspec
import pytest

from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.events.cloudevents import CONTENT_TYPE, encode
from dimse_ingestion.failures import Invalid
from dimse_ingestion.queries.contract import Query
from harness.services import ServiceProcess
from tests.catalogue_cpu import beside, matches, running_catalogue
from tests.instances import PROVIDER, event

HEADERS = {"content-type": CONTENT_TYPE}
NAME, COMMENTS, STUDY_DATE, STUDY_UID = 0x00100010, 0x00104000, 0x00080020, 0x0020000D


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with running_catalogue(tmp_path_factory.mktemp("catalogue")) as running:
        yield running


@pytest.fixture
async def client(catalogue: ServiceProcess) -> AsyncIterator[httpx2.AsyncClient]:
    address = f"http://127.0.0.1:{catalogue.http_port}"
    async with httpx2.AsyncClient(base_url=address, timeout=60) as opened:
        for number in range(40):
            stored = event(f"o{number}", study=f"1.2.{number}", instance=f"3.{number}", **STORED)
            answer = await opened.post("/events", content=encode(stored), headers=HEADERS)
            assert answer.status_code == 202, answer.text
        yield opened


STORED: dict[str, Any] = {
    "PatientName": f"Doe^Jane{'^' * 5000}x",
    "PatientID": "1",
    "ImageComments": "a" * 5000,
}


def listed(template: str, number: int) -> str:
    return "\\".join(template.format(each) for each in range(number))


def nested(depth: int) -> Element:
    key = element(0x00080050, "SH", "a")
    for _ in range(depth):
        key = Element("0040", "0275", "SQ", items=[[key]])
    return key


ANSWERED: dict[str, tuple[list[Element], int]] = {
    "absent components": ([element(NAME, "PN", "doe" + "^*" * 2000)], 40),
    "names": ([element(NAME, "PN", listed("Roe^{}", 1000) + "\\Nobody")], 0),
    "name patterns": ([element(NAME, "PN", listed("Roe^{}*", 1100) + "\\doe*")], 40),
    "names of groups": ([element(NAME, "PN", listed("Roe^{}=a", 500) + "\\doe*")], 40),
    "patterns": ([element(0x00100020, "LO", listed("x{}*", 1100) + "\\1*")], 40),
    "UIDs": ([element(STUDY_UID, "UI", listed("1.2.{}", 10_000))], 40),
    "UIDs and more": (
        [
            element(STUDY_UID, "UI", listed("1.2.{}", 5000)),
            *(element(tag, "LO", listed("{}", 5000)) for tag in (0x00100020, 0x00080050)),
            *(element(tag, "SH", listed("{}", 5000)) for tag in (0x00200010, 0x00080050)),
            element(0x00100030, "DA", ""),
        ],
        0,
    ),
    "combining marks": ([element(NAME, "PN", "a" + "\u0301\u0316" * 16_000 + "*")], 0),
    "asterisks": ([element(0x00104000, "LT", "*a" * 16_000 + "*b")], 0),
}
REFUSED: dict[str, list[Element]] = {
    "patterns": [element(0x00100020, "LO", listed("x{}*", 3000))],
    "a long pattern": [element(0x00104000, "LT", "a?" * 20_000 + "*")],
    "dashes": [element(0x0008002A, "DT", "-" * 100_000)],
    "a long date range": [element(STUDY_DATE, "DA", "20260101-" * 20_000)],
    "levels": [nested(40)],
    "items": [Element("0040", "0275", "SQ", items=[[]] * 20_000)],
    "keys": [element(0x00090000 + number, "LO", "a") for number in range(20_000)],
}


@pytest.mark.parametrize("which", ANSWERED)
async def test_a_large_question_is_answered_beside_others(
    catalogue: ServiceProcess, client: httpx2.AsyncClient, which: str
) -> None:
    keys, expected = ANSWERED[which]
    query_sent = matches(client, Query(scope="STUDY", keys=keys))
    assert len(await beside(catalogue, client, query_sent)) == expected


@pytest.mark.parametrize("which", REFUSED)
async def test_a_question_that_would_take_too_long_ends_in_a900(
    catalogue: ServiceProcess, client: httpx2.AsyncClient, which: str
) -> None:
    query_sent = matches(client, Query(scope="STUDY", keys=REFUSED[which]))
    with pytest.raises(Invalid) as failure:
        await beside(catalogue, client, query_sent)
    assert not failure.value.transient
    assert not failure.value.transient


def within(part: bytes) -> bytes:
    """Return an event with something more among its elements."""
    whole = encode(event("hostile"))
    begin = whole.index(b'"elements":[') + len(b'"elements":[')
    return whole[:begin] + part + b"," + whole[begin:]


def renamed(key: str) -> bytes:
    return encode(event(key))


_SEQUENCE = b'{"group":"0008","element":"1140","vr":"SQ","items":['
_ELEMENT = b'{"group":"0010","element":"0010","vr":"PN"},'
_PIXELS = b'{"group":"7FE0","element":"0010","vr":"OB","bulk":{"offset":0,"length":1,"fragments":['
EVENTS: dict[str, Callable[[], bytes]] = {
    "objects": lambda: within(b"{}," * 10_000_000 + b"{}"),
    "elements": lambda: within(_ELEMENT * 700_000 + b'{"group":"zz","element":"0010","vr":"PN"}'),
    "numbers": lambda: within(_PIXELS + b"1," * 10_000_000 + b"1]}}"),
    "items": lambda: within(_SEQUENCE + b"[]," * 10_000_000 + b"[]]}"),
    "depth": lambda: within((_SEQUENCE + b"[") * 5000),
    "levels": lambda: within((_SEQUENCE + b"[") * 90 + b"]]}" * 90),
    "key of a parent": lambda: renamed("../../etc/passwd"),
    "empty part": lambda: renamed("a//b"),
    "NUL": lambda: renamed("a\0"),
    "control character": lambda: renamed("a\nb"),
    "long key": lambda: renamed("a" * 2000),
    "tag": lambda: within(b'{"group":"zz","element":"0010","vr":"PN"}'),
    "surrogate": lambda: within(b'{"group":"0010","element":"0010","vr":"PN","value":"\\ud800"}'),
    "number": lambda: encode(event("a")).replace(b'"size":9', b'"size":' + b"9" * 30),
    "negative": lambda: encode(event("a")).replace(b'"size":9', b'"size":-1'),
}


@pytest.mark.parametrize("which", EVENTS)
async def test_an_impossible_event_is_400_with_a_sentence(
    catalogue: ServiceProcess, client: httpx2.AsyncClient, which: str
) -> None:
    posted = client.post("/events", content=EVENTS[which](), headers=HEADERS)
    answer = await beside(catalogue, client, posted)
    assert answer.status_code == 400, answer.text
    assert answer.json()["title"].endswith(".")


async def test_a_query_of_too_many_keys_or_no_tags_is_400(
    catalogue: ServiceProcess, client: httpx2.AsyncClient
) -> None:
    bodies = [
        b'{"scope":"STUDY","queryAttributes":[' + _SEQUENCE + b"[]," * 1_000_000 + b"[]]}]}",
        b'{"scope":"STUDY","queryAttributes":[{"group":"zz","element":"1","vr":"LO"}]}',
        b'{"scope":"STUDY","queryAttributes":[' + (_SEQUENCE + b"[") * 5000,
    ]
    for body in bodies:
        posted = client.post(f"/query/studies?source={PROVIDER}", content=body)
        answer = await beside(catalogue, client, posted)
        assert answer.status_code == 400, answer.text


async def test_an_event_of_values_that_are_slow_to_compare_is_recorded(
    catalogue: ServiceProcess,
    client: httpx2.AsyncClient,
) -> None:
    odd: dict[str, Any] = {"PatientName": "^" * 60_000 + "a", "PatientID": "\u0301\u0316" * 30_000}
    stored = msgspec.structs.replace(event("odd", study="1.9", instance="3.999", **odd))
    posted = client.post("/events", content=encode(stored), headers=HEADERS)
    assert (await beside(catalogue, client, posted)).status_code == 202

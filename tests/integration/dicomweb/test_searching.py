"""QIDO-RS over HTTP: the matches of C-FIND, in the form of PS3.18."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import httpx2
import pytest
import pytest_asyncio
from dicomweb_client.api import DICOMwebClient

from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.query_levels import UNIQUE_KEYS, levels_to
from dimse_ingestion.dicomweb.http import data_set_body, representations
from dimse_ingestion.dicomweb.search import qido
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.queries.contract import Query
from dimse_ingestion.queries.http_client import HttpQueryClient
from tests.instances import KEYWORDS, Expected, elements, event
from tests.integration.dicomweb.conftest import Space, space_in
from tests.query_examples import INSTANCES, KEYS, LEVELS, SERIES, STUDIES, UNIQUE

pytestmark = pytest.mark.asyncio(loop_scope="module")
SEARCHED = {"STUDY": "/studies", "SERIES": "/series", "IMAGE": "/instances"}
QUESTIONS = [
    (level, keyword, value)
    for level in SEARCHED
    for keyword in LEVELS[level]
    for value in dict.fromkeys([*UNIQUE.get(keyword, []), *KEYS.get(keyword, ([], []))[1]])
]
REQUEST = Element(
    "0040",
    "0275",
    "SQ",
    items=[[element(0x00400007, "LO", "Head"), element(0x00400009, "SH", "STEP1")]],
)


def generated_events() -> list[ImageStoredEvent]:
    """Return events of generated instances, the same in every run."""
    chance = random.Random(18)

    def attributes() -> dict[str, Any]:
        return {
            keyword: chance.choice(values)
            for keyword, (values, _) in KEYS.items()
            if values and keyword not in ("SOPClassUID", "SpecificCharacterSet")
        }

    return [
        event(
            f"o{second}",
            second=second,
            study=chance.choice(STUDIES),
            series=chance.choice(SERIES),
            instance=chance.choice(INSTANCES),
            **attributes(),
        )
        for second in range(40)
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def many_studies(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Space]:
    async with space_in(tmp_path_factory.mktemp("full") / "space") as opened:
        await opened.add_events(generated_events())
        yield opened


def identities(level: str, matches: list[dict[str, dict[str, list[str]]]]) -> list[tuple[str, ...]]:
    tags = [f"{UNIQUE_KEYS[each]:08X}" for each in levels_to(level)[1:]]
    return sorted(tuple(each[tag]["Value"][0] for tag in tags) for each in matches)


def expected_identities(level: str, matches: list[list[Element]]) -> list[tuple[str, ...]]:
    tags = [UNIQUE_KEYS[each] for each in levels_to(level)[1:]]
    values = [{each.tag: each.value for each in match} for match in matches]
    return sorted(tuple(each[tag] for tag in tags) for each in values)


@pytest.mark.parametrize("by", ["keyword", "tag"])
async def test_a_search_finds_what_the_rules_of_the_standard_find(
    many_studies: Space, by: str
) -> None:
    expected = Expected(generated_events(), "latest")
    for level, keyword, value in QUESTIONS if by == "keyword" else QUESTIONS[::7]:
        name = keyword if by == "keyword" else f"{KEYWORDS[keyword][0]:08x}"
        if "," in value:
            continue
        answer = await many_studies.client.get(SEARCHED[level], params={name: value})
        assert answer.status_code in (200, 204), (level, keyword, value, answer.text)
        answered = answer.json() if answer.content else []
        matches = expected.matches(Query(scope=level, keys=elements(**{keyword: value})))
        assert identities(level, answered) == expected_identities(level, matches), (
            level,
            keyword,
            value,
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two_studies(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Space]:
    """Yield two studies; the first has two series, of two instances and of one."""
    async with space_in(tmp_path_factory.mktemp("few") / "space") as opened:
        await store_two_studies(opened)
        yield opened


async def store_two_studies(space: Space) -> None:
    placed = [("1.1", "1.1.1", "3.1"), ("1.1", "1.1.1", "3.2"), ("1.1", "1.1.2", "3.3")]
    placed.append(("1.2", "1.2.1", "3.4"))
    about: dict[str, Any] = {"PatientName": "山田^太郎", "PatientID": "P1", "StudyDate": "20260101"}
    await space.add_events(
        event(
            study=study,
            series=series,
            instance=instance,
            Modality="CT" if series == "1.1.1" else "MR",
            InstanceNumber="7",
            more=[REQUEST],
            **about,
        )
        for study, series, instance in placed
    )


async def test_modalities_in_study_is_left_out_where_it_is_empty(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space") as space:
        await space.add_events([event(study="1.9", series="1.9.1", instance="1.9.1.1")])
        for query_string in ("", "?includefield=00080061", "?includefield=all"):
            (study,) = (await space.client.get(f"/studies{query_string}")).json()
            assert "00080061" not in study


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/studies", 2),
        ("/series", 3),
        ("/instances", 4),
        ("/studies/1.1/series", 2),
        ("/studies/1.1/instances", 3),
        ("/series/1.1.1/instances", 2),
        ("/studies/1.1/series/1.1.1/instances", 2),
        ("/studies/1.2/series/1.1.1/instances", 0),
        ("/studies/9.9/series", 0),
    ],
)
async def test_every_search_path_returns_its_matches(
    two_studies: Space, path: str, number: int
) -> None:
    answer = await two_studies.client.get(path)
    assert answer.status_code == (200 if number else 204)
    assert len(answer.json() if number else []) == number
    assert answer.headers.get("content-type") == ("application/dicom+json" if number else None)


async def test_a_study_has_the_fields_of_the_standard(two_studies: Space) -> None:
    [study] = (await two_studies.client.get("/studies?StudyInstanceUID=1.1")).json()
    assert study["00081190"] == {"vr": "UR", "Value": [f"{two_studies.base}/studies/1.1"]}
    assert study["00080056"]["Value"] == ["ONLINE"]
    assert study["00080061"]["Value"] == ["CT", "MR"]
    assert study["00100010"]["Value"] == [{"Alphabetic": "山田^太郎"}]
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([2], [3])


async def test_a_series_has_the_fields_of_its_study_unless_the_path_names_it(
    two_studies: Space,
) -> None:
    [alone] = (await two_studies.client.get("/series?SeriesInstanceUID=1.1.2")).json()
    assert alone["00081190"]["Value"] == [f"{two_studies.base}/studies/1.1/series/1.1.2"]
    assert alone["00400275"]["Value"][0]["00400009"]["Value"] == ["STEP1"]
    assert "00100010" in alone
    within = (await two_studies.client.get("/studies/1.1/series")).json()
    assert all("00100010" not in each for each in within)


async def test_an_instance_has_its_retrieve_url(two_studies: Space) -> None:
    [match] = (await two_studies.client.get("/studies/1.1/series/1.1.2/instances")).json()
    url = f"{two_studies.base}/studies/1.1/series/1.1.2/instances/3.3"
    assert match["00081190"]["Value"] == [url]
    assert match["00200013"]["Value"] == [7]


async def test_included_fields_are_added_to_the_default_fields(two_studies: Space) -> None:
    path = "/studies/1.1/series/1.1.2/instances"
    for search_query in ("PatientID,00080020", "PatientID&includefield=StudyDate", "all"):
        [match] = (await two_studies.client.get(f"{path}?includefield={search_query}")).json()
        assert match["00100020"]["Value"] == ["P1"], search_query
        assert match["00080020"]["Value"] == ["20260101"], search_query
    [alone] = (await two_studies.client.get(path)).json()
    assert "00100020" not in alone


@pytest.mark.parametrize(
    ("search_query", "number"),
    [
        ("00400275.00400009=STEP1", 3),
        ("RequestAttributesSequence.ScheduledProcedureStepID=STEP*", 3),
        ("00400275.00400009=STEP1&00400275.00400007=Head", 3),
        ("00400275.00400009=STEP1&00400275.00400007=Foot", 0),
        ("00400275.00400009=STEP2", 0),
    ],
)
async def test_attributes_within_sequences_are_matched(
    two_studies: Space, search_query: str, number: int
) -> None:
    answer = await two_studies.client.get(f"/series?{search_query}")
    assert len(answer.json() if answer.content else []) == number


async def test_pages_are_consecutive_and_warn_of_further_results(two_studies: Space) -> None:
    seen = []
    for offset in range(5):
        answer = await two_studies.client.get(f"/instances?limit=1&offset={offset}")
        more = answer.headers.get("warning", "")
        assert (f'299 {two_studies.base} "There are additional' in more) == (offset < 3)
        seen += identities("IMAGE", answer.json() if answer.content else [])
    assert [each[-1] for each in seen] == ["3.1", "3.2", "3.3", "3.4"]
    assert (await two_studies.client.get("/instances?limit=0")).status_code == 204


def study_uids(answer: httpx2.Response) -> list[str]:
    return [each["0020000D"]["Value"][0] for each in answer.json()]


async def test_the_pages_of_studies_are_linked_with_the_newest_first(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space") as opened:
        await opened.add_events(event(study=f"1.{n}", instance=f"3.{n}") for n in range(5))
        seen: list[list[str]] = []
        address, total = "/studies?limit=2&total=true&PatientName=*", ""
        while address:
            answer = await opened.client.get(address)
            total = answer.headers["x-total-count"]
            seen.append(study_uids(answer))
            address = answer.links["next"]["url"].removeprefix(opened.base) if answer.links else ""
        assert (seen, total) == ([["1.4", "1.3"], ["1.2", "1.1"], ["1.0"]], "5")
        plain = await opened.client.get("/studies?limit=5")
        assert "link" not in plain.headers
        assert "x-total-count" not in plain.headers
        offset = await opened.client.get("/studies?limit=2&offset=2")
        assert study_uids(offset) == ["1.2", "1.1"]


async def test_a_total_of_an_invalid_key_is_400_however_many_results_are_wanted(
    two_studies: Space,
) -> None:
    for limit in (0, 1):
        answer = await two_studies.client.get(f"/studies?limit={limit}&total=true&StudyDate=x")
        assert (answer.status_code, "(0008,0020)" in answer.text) == (400, True)


async def test_the_pages_of_instances_are_linked_by_their_offset(two_studies: Space) -> None:
    answer = await two_studies.client.get("/instances?limit=3")
    [last] = (await two_studies.client.get(answer.links["next"]["url"])).json()
    assert identities("IMAGE", [last])[0][-1] == "3.4"


async def test_the_maximum_of_matches_limits_results_with_a_warning(tmp_path: Path) -> None:
    async with space_in(tmp_path / "space", maximum_matches=2) as opened:
        await opened.add_events(event(study=f"1.{n}", instance=f"3.{n}") for n in range(3))
        answer = await opened.client.get("/studies")
    assert len(answer.json()) == 2
    assert "additional results" in answer.headers["warning"]


@pytest.mark.parametrize(
    "accept", ["application/dicom+json", 'multipart/related; type="application/dicom+xml"']
)
@pytest.mark.parametrize(
    "path",
    [
        "/studies",
        "/studies?limit=1",
        "/studies?limit=1&total=true&PatientName=*",
        "/instances?limit=3&includefield=all",
        "/instances?limit=2&offset=1",
        "/instances?limit=4",
        "/instances?limit=1&offset=9",
        "/studies?PatientName=nobody",
    ],
)
async def test_a_streamed_answer_is_that_of_a_whole_one(
    two_studies: Space, path: str, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer() -> tuple[int, bytes, list[str | None]]:
        monkeypatch.setattr(representations, "uuid4", lambda: UUID(int=0))
        got = await two_studies.client.get(path, headers={"accept": accept})
        headers = [got.headers.get(name) for name in ("warning", "link", "x-total-count")]
        if got.status_code == 200:
            assert ("content-length" in got.headers) == (not is_streamed)
        return got.status_code, got.content, headers

    is_streamed = False
    whole = await answer()
    is_streamed = True
    monkeypatch.setattr(qido, "_MOST_BUFFERED", 1)
    assert await answer() == whole


async def test_a_long_answer_to_head_has_no_body(
    two_studies: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qido, "_MOST_BUFFERED", 1)
    answer = await two_studies.client.head("/instances?limit=3")
    assert (answer.status_code, answer.content) == (200, b"")
    assert "additional results" in answer.headers["warning"]


async def breaking_off(
    matches: AsyncGenerator[list[Element], None], after: int
) -> AsyncIterator[list[Element]]:
    for _ in range(after):
        yield await anext(matches)
    await matches.aclose()
    raise Unavailable("The catalogue broke off its answer.")


@pytest.mark.parametrize("after", [0, 1])
async def test_a_long_answer_that_fails_is_a_problem_or_is_broken_off(
    two_studies: Space, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = HttpQueryClient.matches
    calls: list[Query] = []

    def matches(client: HttpQueryClient, query: Query) -> Any:
        calls.append(query)
        found = original(client, query)
        return breaking_off(found, after) if len(calls) == 3 else found

    monkeypatch.setattr(HttpQueryClient, "matches", matches)
    monkeypatch.setattr(qido, "_MOST_BUFFERED", 1)
    monkeypatch.setattr(data_set_body, "_WRITTEN_AT_ONCE", 1)
    if after:
        with pytest.raises(httpx2.RemoteProtocolError):
            await two_studies.client.get("/instances")
    else:
        assert (await two_studies.client.get("/instances")).status_code == 503
    assert len(calls) == 3


async def test_unsupported_parameters_are_warned_of(two_studies: Space) -> None:
    answer = await two_studies.client.get("/studies?fuzzymatching=true&PatientName=*")
    assert len(answer.json()) == 2
    assert "fuzzymatching parameter is not supported" in answer.headers["warning"]
    assert "warning" not in (await two_studies.client.get("/studies?fuzzymatching=false")).headers


@pytest.mark.parametrize(
    ("search_query", "sentence"),
    [
        ("PatientName.PatientID=1", "must have sequences only before its last dot"),
        ("SOPInstanceUID=1.2", "(0008,0018) can't be searched for among studies"),
        ("limit=-1", "limit must be one number"),
        ("limit=1&limit=2", "limit must be one number"),
        ("StudyDate=yesterday", "(0008,0020)"),
        ("fuzzymatching=maybe", "must be true or false"),
        ("PatientID=1&PatientID=2", "occurs twice"),
    ],
)
async def test_an_invalid_search_is_400_with_a_message(
    two_studies: Space, search_query: str, sentence: str
) -> None:
    answer = await two_studies.client.get(f"/studies?{search_query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert sentence in answer.json()["detail"]


@pytest.mark.parametrize("name", ["NoSuchThing", "0010001", "_", "orderby", "%00%C3%A9", "%22"])
async def test_an_unknown_parameter_is_ignored_with_a_warning(
    two_studies: Space, name: str
) -> None:
    plain = await two_studies.client.get("/studies")
    answer = await two_studies.client.get(f"/studies?{name}=1")
    assert (answer.status_code, answer.json()) == (200, plain.json())
    assert "Ignored query parameter" in answer.headers["warning"]


@pytest.mark.parametrize("uid", ["1.2.x", "1" * 65, "%2e%2e%2fetc", "1.2%00"])
async def test_an_invalid_uid_sends_no_query(two_studies: Space, uid: str) -> None:
    answer = await two_studies.client.get(f"/studies/{uid}/series")
    assert answer.status_code in (400, 404)
    assert answer.headers["content-type"] == "application/problem+json"


def parts(content_type: str, body: bytes) -> Iterator[ET.Element]:
    whole = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    assert whole.is_multipart()
    for part in whole.walk():
        if not part.is_multipart():
            assert part.get_content_type() == "application/dicom+xml"
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            yield ET.fromstring(content)


async def test_xml_has_the_same_elements_as_json(two_studies: Space) -> None:
    accept = {"accept": 'multipart/related; type="application/dicom+xml"'}
    answer = await two_studies.client.get("/studies", headers=accept)
    matches = list(parts(answer.headers["content-type"], answer.content))
    json = (await two_studies.client.get("/studies")).json()
    assert [{node.get("tag") for node in each} for each in matches] == [
        each.keys() for each in json
    ]


async def test_other_media_types_are_406(two_studies: Space) -> None:
    answer = await two_studies.client.get("/studies", headers={"accept": "text/html"})
    assert answer.status_code == 406
    assert "application/dicom+json" in answer.json()["detail"]


async def test_responses_are_compressed_on_request(two_studies: Space) -> None:
    answer = await two_studies.client.get("/instances", headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    plain = await two_studies.client.get("/instances", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == answer.json()


async def test_dicomweb_client_searches_studies_series_and_instances(two_studies: Space) -> None:
    def search_query() -> tuple[int, int, int, list[dict[str, dict[str, Any]]]]:
        client = DICOMwebClient(two_studies.base)
        return (
            len(client.search_for_studies(search_filters={"PatientID": "P1"}, fields=["StudyID"])),
            len(client.search_for_series("1.1", get_remaining=True)),
            len(client.search_for_instances("1.1", "1.1.1", limit=1, get_remaining=True)),
            client.search_for_instances(fuzzymatching=True),
        )

    studies, series, instances, everything = await asyncio.to_thread(search_query)
    assert (studies, series, instances, len(everything)) == (2, 2, 2, 4)

"""The catalogue's HTTP API, with the clients that the ingestion service uses."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from sqlalchemy import Engine

from dimse_ingestion.catalogue import query as answering
from dimse_ingestion.catalogue.app import running
from dimse_ingestion.catalogue.database import open_engine
from dimse_ingestion.catalogue.migrate import upgrade
from dimse_ingestion.catalogue.record import record
from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.events.batch_codec import BATCH_TYPE
from dimse_ingestion.events.cloudevents import CONTENT_TYPE, encode
from dimse_ingestion.events.http_sink import HttpSink
from dimse_ingestion.failures import Invalid, LimitExceeded, Refused, Unavailable
from dimse_ingestion.queries import wire
from dimse_ingestion.queries.contract import ObjectsDigest, Query
from dimse_ingestion.queries.http_client import HttpQueryClient
from dimse_ingestion.settings import CatalogueSettings, ConfigurationMistake
from harness.ports import free_port
from harness.postgresql import PostgreSQL
from tests.catalogue_queries import find_all
from tests.instances import PROVIDER, event, query, read

HEADERS = {"content-type": CONTENT_TYPE}


def settings_for(database_url: str, **more: Any) -> CatalogueSettings:
    return CatalogueSettings.load(
        database_url=database_url, http_host="127.0.0.1", http_port=0, **more
    )


async def ready(client: httpx2.AsyncClient, wanted: int = 200, saying: str = "") -> None:
    """Wait until /readyz answers `wanted` with this text."""
    await shown(client, "/readyz", wanted, saying)


async def shown(client: httpx2.AsyncClient, path: str, wanted: int = 200, saying: str = "") -> None:
    """Wait until a GET of `path` answers `wanted` with this text."""
    answer = None
    try:
        async with asyncio.timeout(20):
            while True:
                answer = await client.get(path)
                if answer.status_code == wanted and saying in answer.text:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{path} last answered {answer and answer.text}") from None


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    settings = settings_for(database_url, maximum_event_length=100_000, maximum_matches=1000)
    async with (
        running(settings) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as asking,
    ):
        await ready(asking)
        yield asking


async def find(client: httpx2.AsyncClient, question: Query) -> list[list[Element]]:
    catalogue = HttpQueryClient(str(client.base_url), PROVIDER)
    async with aclosing(catalogue.matches(question)) as found:
        matches = [match async for match in found]
    await catalogue.close()
    return matches


async def test_recorded_events_are_found(client: httpx2.AsyncClient) -> None:
    sink = HttpSink(f"{client.base_url}/events")
    await sink.check()
    await asyncio.gather(
        *(
            sink.accept(event(f"o{n}", instance=f"3.{n}", PatientName="山田^太郎", PatientID="1"))
            for n in range(30)
        )
    )
    await sink.close()
    [match] = await find(
        client, query("STUDY", PatientName="山*", NumberOfStudyRelatedInstances="")
    )
    assert read(match, "NumberOfStudyRelatedInstances") == "30"
    assert len(await find(client, query("IMAGE", limit=7))) == 7
    first = await find(client, query("IMAGE", limit=7, offset=3))
    assert first == (await find(client, query("IMAGE")))[3:10]
    assert await find(client, query("IMAGE", limit=0)) == []


async def test_a_digest_changes_with_an_object_of_the_instances(client: httpx2.AsyncClient) -> None:
    sink = HttpSink(f"{client.base_url}/events")
    catalogue = HttpQueryClient(str(client.base_url), PROVIDER)

    async def digest(study: str) -> ObjectsDigest:
        return await catalogue.digest(query("IMAGE", StudyInstanceUID=study))

    for number in range(3):
        await sink.accept(event(f"o{number}", instance=f"3.{number}"))
    first = await digest("1.2.1")
    assert first == await digest("1.2.1")
    assert first.count == 3
    await sink.accept(event("again", instance="3.1", second=1))
    second = await digest("1.2.1")
    assert (second.count, second.digest != first.digest) == (3, True)
    assert (await digest("9.9")).count == 0
    with pytest.raises(Refused):
        await catalogue.digest(query("IMAGE", PatientName="A*"))
    assert await catalogue.count(query("STUDY", PatientName="")) == 1
    await catalogue.close()
    await sink.close()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"garbage", HEADERS, 400),
        (b"{}", HEADERS, 400),
        (b"{}", {"content-type": "application/json"}, 400),
        (b" " * 100_001, HEADERS, 413),
        (encode(event(instance="none")), HEADERS, 422),
        (encode(event("a")), HEADERS, 202),
    ],
)
async def test_an_event_is_answered_with_what_became_of_it(
    client: httpx2.AsyncClient, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await client.post("/events", content=body, headers=headers)
    assert (answer.status_code, answer.text) == (status, answer.text)


async def test_a_query_that_is_none_is_refused(client: httpx2.AsyncClient) -> None:
    for path, body in (
        ("/query/studies", b'{"scope": "STUDY", "queryAttributes": []}'),
        ("/query/studies?source=a", b'{"scope": "IMAGE", "queryAttributes": []}'),
        ("/query/studies?source=a", b"nothing"),
    ):
        answer = await client.post(path, content=body)
        assert answer.status_code == 400, answer.text


async def test_an_invalid_key_ends_in_a900(client: httpx2.AsyncClient) -> None:
    with pytest.raises(Invalid) as failure:
        await find(client, query("STUDY", StudyDate="yesterday"))
    assert not failure.value.transient


async def test_an_invalid_key_of_matches_to_count_is_not_retried(
    client: httpx2.AsyncClient,
) -> None:
    catalogue = HttpQueryClient(str(client.base_url), PROVIDER)
    with pytest.raises(Invalid, match=r"^Key \(0008,0020\) is no value") as failure:
        await catalogue.count(query("STUDY", StudyDate="yesterday"))
    await catalogue.close()
    assert not failure.value.transient


NUL_IN_QUERIES = {
    path: wire.encode_query(Query(scope=scope, keys=[element(tag, vr, value)]))
    for scope, path in (*wire.PATHS.items(), ("STUDY", wire.COUNT), ("IMAGE", wire.DIGEST))
    for tag, vr, value in (
        (0x00100010, "PN", "a\0*"),
        (0x00100020, "LO", "a\0"),
        (0x00080061, "CS", "\0"),
        (0x0020000D, "UI", "1\0"),
    )
}


@pytest.mark.parametrize("path", NUL_IN_QUERIES)
async def test_a_key_with_nul_matches_nothing(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.post(f"{path}?source=a", content=NUL_IN_QUERIES[path])
    assert answer.status_code == 200
    assert answer.json().get("count", 0) == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/query/missing?source=a", b'{"bucketName":"a\\u0000","objectNames":["a"]}'),
        ("/query/missing?source=a", b'{"bucketName":"a","objectNames":["a","b\\u0000"]}'),
        ("/query/missing?source=%00", b'{"bucketName":"a","objectNames":["a"]}'),
        ("/query/studies?source=a%00", b'{"scope":"STUDY","queryAttributes":[]}'),
        ("/query/count?source=a%00", b'{"scope":"STUDY","queryAttributes":[]}'),
        (
            "/query/studies?source=a",
            b'{"scope":"STUDY","queryAttributes":[],"newestFirst":true,"after":"1\\u0000"}',
        ),
        ("/query/studies?source=a", b'{"scope":"STUDY\\u0000","queryAttributes":[]}'),
    ],
)
async def test_nul_in_a_name_is_refused(client: httpx2.AsyncClient, path: str, body: bytes) -> None:
    answer = await client.post(path, content=body)
    assert answer.status_code == 400, answer.text


async def test_too_many_matches_end_in_a700_not_in_memory(
    client: httpx2.AsyncClient, database_url: str
) -> None:
    engine = open_engine(database_url)
    events = [event(f"o{n}", instance=f"3.{n}") for n in range(1001)]
    await asyncio.to_thread(record, engine, events, "latest")
    engine.dispose()
    with pytest.raises(LimitExceeded, match="More than 1000") as failure:
        await find(client, query("IMAGE"))
    assert not failure.value.transient
    assert len(await find(client, query("IMAGE", limit=1000))) == 1000


async def test_an_asker_who_leaves_ends_the_query(
    client: httpx2.AsyncClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(database_url)
    events = [event(f"o{n}", instance=f"3.{n}", ImageComments="x" * 4000) for n in range(900)]
    await asyncio.to_thread(record, engine, events, "latest")
    engine.dispose()
    monkeypatch.setattr(answering, "_LARGEST_PAGE", 1)
    monkeypatch.setattr(answering, "_FIRST_PAGE", 1)
    catalogue = HttpQueryClient(str(client.base_url), PROVIDER)
    async with aclosing(catalogue.matches(query("IMAGE", ImageComments=""))) as found:
        await anext(found)
    await catalogue.close()

    await shown(client, "/metrics", saying='outcome="left"')


async def test_probes_and_metrics(client: httpx2.AsyncClient) -> None:
    await client.post("/events", content=encode(event("a")), headers=HEADERS)
    assert (await client.get("/livez")).status_code == 200
    assert (await client.get("/readyz")).status_code == 200
    assert "dimse_catalogue_events_total" in (await client.get("/metrics")).text


async def test_what_was_taken_is_committed_before_the_end(
    database_url: str, engine: Engine
) -> None:
    async with running(settings_for(database_url)) as port:
        posting = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)
        await ready(posting)
        sent = [
            asyncio.create_task(
                posting.post(
                    "/events", content=encode(event(f"o{n}", instance=f"3.{n}")), headers=HEADERS
                )
            )
            for n in range(50)
        ]
        await asyncio.wait(sent, return_when=asyncio.FIRST_COMPLETED)
    answers = await asyncio.gather(*sent, return_exceptions=True)
    await posting.aclose()
    accepted = sum(isinstance(each, httpx2.Response) and each.is_success for each in answers)
    assert accepted > 0
    assert len(await asyncio.to_thread(find_all, engine, query("IMAGE"))) >= accepted


async def test_a_locked_database_is_503_and_then_well_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dimse_ingestion.catalogue.database._LOCK_TIMEOUT", 0.2)
    path = tmp_path / "catalogue.db"
    async with (
        running(settings_for(f"sqlite:///{path}")) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        await ready(client)
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await client.post("/events", content=encode(event("a")), headers=HEADERS)
            assert (answer.status_code, answer.json()["title"]) == (
                503,
                "The catalogue's database is locked.",
            )
            assert "retry-after" in answer.headers
            await ready(client, 503, "locked")
        other.close()
        answer = await client.post("/events", content=encode(event("a")), headers=HEADERS)
        assert answer.status_code == 202
        await ready(client)


def test_a_full_database_is_503_and_nothing_is_half(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 4}")
    bulky = [event(f"o{n}", instance=f"3.{n}", PatientName=f"{n}" * 2000) for n in range(50)]
    with pytest.raises(Unavailable, match="full") as failure:
        record(engine, bulky, "latest")
    assert failure.value.transient
    assert find_all(engine, query("IMAGE")) == []
    engine.dispose()


async def test_the_catalogue_waits_for_its_database(server: PostgreSQL, tmp_path: Path) -> None:
    absent = PostgreSQL(tmp_path / "late", port=free_port())
    async with (
        running(settings_for(absent.url())) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        await ready(client, 503, "can't be reached")
        answer = await client.post("/events", content=encode(event("a")), headers=HEADERS)
        assert answer.status_code == 503
        for path, scope in ((wire.COUNT, "STUDY"), (wire.DIGEST, "IMAGE")):
            answer = await client.post(f"{path}?source=a", content=wire.encode_query(query(scope)))
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        with pytest.raises(Unavailable, match="can't be reached") as failure:
            await find(client, query("STUDY"))
        assert failure.value.transient
        try:
            await asyncio.to_thread(absent.start)
            await ready(client)
            answer = await client.post("/events", content=encode(event("a")), headers=HEADERS)
            assert answer.status_code == 202
            await asyncio.to_thread(absent.kill)
            answer = await client.post("/events", content=encode(event("b")), headers=HEADERS)
            assert answer.status_code == 503
            await ready(client, 503)
            await asyncio.to_thread(absent.start)
            await ready(client)
            assert len(await find(client, query("IMAGE"))) == 1
        finally:
            absent.stop()


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://user:secret@host/name", "sqlite://", "postgresql://u:secret@h:x/y"]
)
async def test_a_url_that_is_no_database_is_a_mistake_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationMistake, match="DATABASE_URL") as mistake:
        async with running(settings_for(url)):
            pass
    assert "secret" not in str(mistake.value)


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/deep/catalogue.db")
    upgrade(engine)
    assert (tmp_path / "deep" / "catalogue.db").stat().st_mode & 0o077 == 0
    engine.dispose()


async def test_instances_are_found_with_the_objects_that_answer(
    client: httpx2.AsyncClient,
) -> None:
    sink = HttpSink(f"{client.base_url}/events")
    events = [
        event(f"o{n}", instance=f"3.{n}", PatientID="1", ImageComments="fine") for n in range(3)
    ]
    for each in events:
        await sink.accept(each)
    await sink.close()
    catalogue = HttpQueryClient(str(client.base_url), PROVIDER)
    found = [each async for each in catalogue.objects(query("IMAGE", SOPInstanceUID="3.1"))]
    await catalogue.close()
    assert [each.object_name for each in found] == [events[1].data.store.object_name]
    assert found[0].elements == events[1].data.image.elements
    assert found[0].transfer_syntax_uid == events[1].data.image.transfer_syntax_uid


@pytest.mark.parametrize(
    ("level", "comments"), [("STUDY", False), ("SERIES", False), ("IMAGE", True)]
)
async def test_all_keys_gives_what_a_level_knows(
    client: httpx2.AsyncClient, level: str, comments: bool
) -> None:
    sink = HttpSink(f"{client.base_url}/events")
    await sink.accept(event("o1", instance="3.1", PatientID="1", StudyID="7", ImageComments="fine"))
    await sink.close()
    everything = msgspec.structs.replace(query(level), all_keys=True)
    [match] = await find(client, everything)
    assert read(match, "PatientID") == "1"
    assert (read(match, "ImageComments") is not None) == comments
    assert (read(match, "ModalitiesInStudy") is not None) == (level == "STUDY")


async def test_objects_without_an_entry_are_listed(client: httpx2.AsyncClient) -> None:
    sink = HttpSink(f"{client.base_url}/events")
    for name in ("a", "b"):
        await sink.accept(event(name, instance=f"3.{name == 'a':d}"))
    await sink.close()
    catalogue = HttpQueryClient(str(client.base_url), PROVIDER)
    assert await catalogue.missing("space", ["a", "c", "b", "d"]) == ["c", "d"]
    assert await catalogue.missing("elsewhere", ["a"]) == ["a"]
    assert await catalogue.missing("space", []) == []
    with pytest.raises(Refused, match="refuses the query"):
        await catalogue.missing("space", ["a"] * 1001)
    await catalogue.close()
    page = (await client.get("/metrics")).text
    for outcome in ("known", "missing"):
        assert f'dimse_catalogue_compared_total{{outcome="{outcome}"}}' in page
    elsewhere = HttpQueryClient(str(client.base_url), "cardiology")
    assert await elsewhere.missing("space", ["a"]) == ["a"]
    await elsewhere.close()


async def test_names_that_are_none_are_refused(client: httpx2.AsyncClient) -> None:
    for path, body in (
        ("/query/missing", b'{"bucketName":"a","objectNames":[]}'),
        ("/query/missing?source=a", b"{}"),
        ("/query/missing?source=a", b"[" * 100),
    ):
        answer = await client.post(path, content=body)
        assert answer.status_code == 400, answer.text


BATCH = {"content-type": BATCH_TYPE}


def batch_of(*events: bytes) -> bytes:
    return b"[" + b",".join(events) + b"]"


async def test_batches_are_announced(client: httpx2.AsyncClient) -> None:
    answer = await client.options("/events")
    assert answer.status_code == 204
    assert answer.headers["allow"] == "POST, OPTIONS"
    assert answer.headers["accept-post"] == f"{CONTENT_TYPE}, {BATCH_TYPE}"


async def test_each_event_of_a_batch_has_a_result_of_its_own(client: httpx2.AsyncClient) -> None:
    body = batch_of(
        encode(event("a", instance="3.1")),
        b'{"id": 1}',
        encode(event("b", instance="none")),
        encode(event("c", instance="3.2")),
        encode(event("a", instance="3.1")),
    )
    answer = await client.post("/events", content=body, headers=BATCH)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [each["status"] for each in results] == [202, 400, 422, 202, 202]
    assert [bool(each.get("detail")) for each in results] == [False, True, True, False, False]
    assert len(await find(client, query("IMAGE"))) == 2


async def test_batches_and_repeated_events_leave_one_entry_for_each_object(
    client: httpx2.AsyncClient,
) -> None:
    sink = HttpSink(f"{client.base_url}/events")
    await sink.check()
    events = [event(f"o{n}", instance=f"3.{n}", study=f"1.{n % 7}") for n in range(300)]
    await asyncio.gather(*(sink.accept(each) for each in events * 3))
    await sink.close()
    assert len(await find(client, query("IMAGE"))) == 300
    assert len(await find(client, query("STUDY"))) == 7


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[]", 200),
        (b"", 400),
        (b"{}", 400),
        (b"[" + b"1," * 1000 + b"1]", 400),
        (b" " * 100_001, 413),
    ],
)
async def test_what_is_no_batch_is_refused_as_a_whole(
    client: httpx2.AsyncClient, body: bytes, status: int
) -> None:
    answer = await client.post("/events", content=body, headers=BATCH)
    assert answer.status_code == status, answer.text


async def test_the_events_of_a_batch_fail_for_now_without_a_database(
    server: PostgreSQL, tmp_path: Path
) -> None:
    absent = PostgreSQL(tmp_path / "absent", port=free_port())
    async with (
        running(settings_for(absent.url())) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        await ready(client, 503, "can't be reached")
        body = batch_of(encode(event("a")), encode(event("b", instance="3.2")))
        answer = await client.post("/events", content=body, headers=BATCH)
    assert [each["status"] for each in answer.json()["results"]] == [503, 503]

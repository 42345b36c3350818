"""Memory of a page of matches; matching itself is tested with both databases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine
from sqlalchemy import event as sqlalchemy_event

from dimse_ingestion.catalogue.database import open_engine
from dimse_ingestion.catalogue.migrate import upgrade
from dimse_ingestion.catalogue.query import count_matches, located_pages
from dimse_ingestion.catalogue.record import record
from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.queries.contract import Query
from dimse_ingestion.queries.wire import EncodedLocated
from tests.catalogue_queries import find_all
from tests.instances import PROVIDER, event, query, read

ABOUT_3_MIB = [Element("5200", "9230", "SQ", items=[[element(0x00180050, "DS", "0.625")]] * 50_000)]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_engine(f"sqlite:///{tmp_path}/catalogue.db")
    upgrade(opened)
    yield opened
    opened.dispose()


async def pages(engine: Engine, limit: int | None = None) -> list[list[str | None]]:
    with ThreadPoolExecutor(1) as executor:
        found = located_pages(engine, query("IMAGE", limit), PROVIDER, executor, 60.0)
        return [[_uid(each) for each in page] async for page in found]


def _uid(located: EncodedLocated) -> str | None:
    elements = msgspec.json.decode(located.elements, type=list[Element])
    return read(elements, "SOPInstanceUID")


async def test_large_instances_come_a_few_at_a_time_and_all(engine: Engine) -> None:
    uids = [f"1.2.1.1.{number}" for number in range(7)]
    events = [event(instance=uid, more=ABOUT_3_MIB) for uid in uids]
    small = event(instance="1.2.1.1.9")
    record(engine, [*events, small], "latest")
    found = await pages(engine)
    assert sorted(uid or "" for page in found for uid in page) == [*uids, "1.2.1.1.9"]
    assert max(map(len, found)) <= 4
    assert sum(map(len, await pages(engine, limit=4))) == 4


async def test_small_instances_come_in_one_page(engine: Engine) -> None:
    record(engine, [event(instance=f"1.2.1.1.{number}") for number in range(40)], "latest")
    assert [len(page) for page in await pages(engine)] == [40]


async def test_locations_alone_have_the_uids_of_class_and_levels(engine: Engine) -> None:
    record(engine, [event(instance="1.2.1.1.1", more=ABOUT_3_MIB)], "latest")
    wanted = Query(scope="IMAGE", keys=[], locations_only=True)
    with ThreadPoolExecutor(1) as executor:
        found = located_pages(engine, wanted, PROVIDER, executor, 60.0)
        ((located,),) = [page async for page in found]
    elements = msgspec.json.decode(located.elements, type=list[Element])
    assert [each.tag for each in elements] == [0x00080016, 0x00080018, 0x0020000D, 0x0020000E]
    uids = [each.value for each in elements]
    assert uids[1:] == ["1.2.1.1.1", "1.2.1", "1.2.1.1"]
    assert located.object_name


def key(instance: str) -> Query:
    return Query(scope="IMAGE", keys=[element(0x00080018, "UI", instance)], limit=1)


async def test_an_instance_by_its_uid_takes_one_statement(engine: Engine) -> None:
    record(engine, [event(instance=f"1.2.1.1.{number}") for number in range(3)], "latest")
    statements: list[str] = []
    engine.dispose()  # the next connections are traced
    sqlalchemy_event.listen(
        engine, "connect", lambda driver, _: driver.set_trace_callback(statements.append)
    )
    with ThreadPoolExecutor(1) as executor:
        found = located_pages(engine, key("1.2.1.1.1"), PROVIDER, executor, 60.0)
        assert [[_uid(each) for each in page] async for page in found] == [["1.2.1.1.1"]]
        selects = [each for each in statements if each.startswith("SELECT")]
        assert len(selects) == 1
        nothing = located_pages(engine, key("1.2.1.1.7"), PROVIDER, executor, 60.0)
        assert [page async for page in nothing] == []


async def test_more_unique_keys_than_a_page_has_rows_come_in_order(engine: Engine) -> None:
    uids = [f"1.2.1.1.{number}" for number in range(120)]
    record(engine, [event(instance=uid) for uid in uids], "latest")
    wanted = Query(scope="IMAGE", keys=[element(0x00080018, "UI", "\\".join(reversed(uids)))])
    with ThreadPoolExecutor(1) as executor:
        found = located_pages(engine, wanted, PROVIDER, executor, 60.0)
        assert [_uid(each) for page in [each async for each in found] for each in page] == uids


STUDIES = [f"1.2.{number}" for number in range(1, 8)]


@pytest.fixture
def seven_studies(engine: Engine) -> Engine:
    events = [
        event(study=uid, series=f"{uid}.1", instance=f"{uid}.1.1", PatientName=f"N^{uid}")
        for uid in STUDIES
    ]
    record(engine, events, "latest")
    return engine


def newest(after: str = "", limit: int | None = None, offset: int = 0) -> Query:
    return Query(
        scope="STUDY",
        keys=[element(0x0020000D, "UI")],
        limit=limit,
        offset=offset,
        newest_first=True,
        after=after,
    )


def studies(engine: Engine, wanted: Query) -> list[str | None]:
    return [read(each, "StudyInstanceUID") for each in find_all(engine, wanted)]


def test_studies_come_with_the_newest_first(seven_studies: Engine) -> None:
    assert studies(seven_studies, newest()) == STUDIES[::-1]
    assert studies(seven_studies, newest(limit=2, offset=3)) == ["1.2.4", "1.2.3"]


def test_a_page_begins_behind_a_study(seven_studies: Engine) -> None:
    assert studies(seven_studies, newest("1.2.4", limit=2)) == ["1.2.3", "1.2.2"]
    assert studies(seven_studies, newest("1.2.1")) == []
    assert studies(seven_studies, newest("1.2.4", offset=2)) == ["1.2.1"]
    assert studies(seven_studies, newest("9.9")) == []


def test_a_page_of_matches_begins_behind_a_study(seven_studies: Engine) -> None:
    names = [element(0x00100010, "PN", "N^*")]
    wanted = Query(scope="STUDY", keys=names, newest_first=True, after="1.2.4", limit=2)
    assert studies(seven_studies, wanted) == ["1.2.3", "1.2.2"]


def test_a_new_study_moves_no_page(seven_studies: Engine) -> None:
    record(seven_studies, [event(study="1.2.9", instance="1.2.9.1")], "latest")
    assert studies(seven_studies, newest("1.2.4", limit=2)) == ["1.2.3", "1.2.2"]


def test_matches_are_counted_where_few_rows_are_decoded(seven_studies: Engine) -> None:
    def count(wanted: Query, most: int = 100) -> int | None:
        return count_matches(seven_studies, wanted, PROVIDER, 30.0, most)

    assert count(newest(), most=0) == 7
    assert count(query("STUDY", PatientName="N^1.2.3")) == 1
    assert count(query("STUDY", PatientName="N^*")) == 7
    assert count(query("STUDY", PatientName="N^*"), most=6) is None
    assert count(query("STUDY", StudyInstanceUID="1.2.3"), most=0) == 1
    assert count(query("STUDY", StudyInstanceUID="9.9")) == 0
    assert count_matches(seven_studies, newest(), "another", 30.0, 100) == 0


async def test_the_last_page_is_known_to_be_the_last(engine: Engine) -> None:
    record(engine, [event(instance=f"1.2.1.1.{number}") for number in range(60)], "latest")
    with ThreadPoolExecutor(1) as executor:
        for limit, lasts in ((None, [False, True]), (50, [True]), (7, [True])):
            found = located_pages(engine, query("IMAGE", limit), PROVIDER, executor, 60.0)
            assert [page.is_last async for page in found] == lasts

"""Statements by the driver give what they give by SQLAlchemy, whatever the criteria."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dimse_ingestion.catalogue.database import open_engine, read_connection
from dimse_ingestion.catalogue.migrate import upgrade
from dimse_ingestion.catalogue.record import record
from dimse_ingestion.catalogue.sql_execution import Statement
from dimse_ingestion.catalogue.sql_statements import RowSelection, count_related
from dimse_ingestion.dicom.criteria import criteria
from tests.instances import PROVIDER, elements, event

_DAYS = [f"202611{day:02}" for day in range(1, 8)]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = open_engine(f"sqlite:///{tmp_path}/catalogue.db")
    upgrade(engine)
    events = [
        event(
            study=f"1.2.{number}",
            series=f"1.2.{number}.1",
            instance=f"1.2.{number}.1.1",
            PatientID=f"P{number}",
            PatientName=f"Name^{number}",
            StudyDate=day,
            Modality="CT" if number % 2 else "MR",
        )
        for number, day in enumerate(_DAYS)
    ]
    record(engine, events, "latest")
    with read_connection(engine, 60, Event()) as opened:
        yield opened
    engine.dispose()


def selection(level: str, **values: str) -> RowSelection:
    return RowSelection(level, PROVIDER, criteria(elements(**values)))


def both(statement: Statement, connection: Connection) -> list[dict[str, object]]:
    """Return the rows by the driver, which are those by SQLAlchemy."""
    by_sqlalchemy = replace(statement, is_prepared=False).rows(connection)
    rows = [dict(each) for each in statement.rows(connection)]
    assert rows == [dict(each) for each in by_sqlalchemy]
    return rows


@pytest.mark.parametrize(
    ("values", "number"),
    [
        ({}, 7),
        ({"PatientID": "P3"}, 1),
        ({"PatientID": "P1\\P2\\P5"}, 3),
        ({"StudyDate": "20261102-20261104"}, 3),
        ({"StudyDate": "20261103", "PatientID": "P1\\P2"}, 1),
        ({"ModalitiesInStudy": "MR"}, 4),
        ({"StudyInstanceUID": "1.2.1\\1.2.2\\9.9"}, 2),
        ({"PatientName": "Name^4"}, 1),
        ({"PatientName": "Name*"}, 7),
    ],
)
@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_rows_are_those_of_sqlalchemy(
    connection: Connection, level: str, values: dict[str, str], number: int
) -> None:
    chosen = selection(level, **values)
    places = list(chosen.candidates(100).column(connection))
    assert len(places) == number
    assert len(both(chosen.page(None, 100), connection)) == number
    assert len(both(chosen.rows_at(places), connection)) == number
    assert both(chosen.count(), connection)[0].popitem()[1] == number


def test_a_list_of_any_length_finds_each_row_once(connection: Connection) -> None:
    chosen = selection("STUDY")
    places = list(chosen.candidates(100).column(connection))
    for length in (0, 1, 3, 7):
        rows = chosen.rows_at(places[:length]).rows(connection)
        assert [each["place"] for each in rows] == places[:length]
    assert len(chosen.rows_at(places + [0] * 2000).rows(connection)) == 7


def test_criteria_of_one_shape_share_a_statement() -> None:
    first, second = (selection("STUDY", PatientID=each).candidates(1) for each in ("A", "B\\C"))
    assert first.select is second.select
    pattern = selection("STUDY", PatientID="A*").candidates(1)
    assert not pattern.is_prepared


def test_an_error_of_the_driver_is_sqlalchemys_and_has_no_value(connection: Connection) -> None:
    wrong = Statement(count_related("STUDY", "SERIES"), {"source": object(), "identities": [1]})
    with pytest.raises(DBAPIError) as raised:
        wrong.rows(connection)
    assert "object at" not in str(raised.value.statement)


def test_statements_of_a_page_see_one_state(connection: Connection) -> None:
    before = selection("STUDY").count().column(connection)
    record(connection.engine, [event(study="1.9", instance="1.9.1.1", series="1.9.1")], "latest")
    assert selection("STUDY").count().column(connection) == before

"""Prepared statements: rows by lists of values, ids in order, and errors without values."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from dimse_ingestion.catalogue.database import open_engine, write_transaction
from dimse_ingestion.catalogue.migrate import upgrade
from dimse_ingestion.catalogue.prepared import Insertion, Lookup, Replacement, Row
from dimse_ingestion.catalogue.tables import studies

_INSERTION = Insertion(studies)
_BY_KEYS = Lookup(studies.c, studies.c.source, studies.c.study_instance_uid)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = open_engine(f"sqlite:///{tmp_path}/catalogue.db")
    upgrade(engine)
    with write_transaction(engine) as opened:
        yield opened
    engine.dispose()


def study(uid: str, source: str = "space") -> Row:
    texts = {each.name: "" for each in studies.c if each.name not in ("id", "elements")}
    return texts | {"study_instance_uid": uid, "source": source, "elements": b"j[]"}


@pytest.mark.parametrize("number", [0, 1, 2, 3, 7, 1500])
def test_any_number_of_rows_is_inserted_and_found(connection: Connection, number: int) -> None:
    uids = [f"1.2.{each}" for each in range(number)]
    ids = _INSERTION.ids(connection, [study(uid) for uid in uids])
    found = {
        each.study_instance_uid: each.id for each in _BY_KEYS.rows(connection, ["space"], uids)
    }
    assert [found[uid] for uid in uids] == list(ids)
    assert len(found) == number


def test_a_row_is_found_only_if_each_key_is_in_its_list(connection: Connection) -> None:
    _INSERTION.ids(connection, [study("1.1"), study("1.2", "other"), study("1.3")])
    found = _BY_KEYS.rows(connection, ["space"], ["1.1", "1.2"])
    assert [each.study_instance_uid for each in found] == ["1.1"]


def test_a_replacement_of_one_column_leaves_the_others(connection: Connection) -> None:
    first, second = _INSERTION.ids(connection, [study("1.1"), study("1.2")])
    changed = study("1.1") | {"rank": "2", "patient_id": "ignored"}
    Replacement(studies, "rank").execute(connection, [(first, changed)])
    rows = {each.id: each for each in _BY_KEYS.rows(connection, ["space"], ["1.1", "1.2"])}
    assert (rows[first].rank, rows[first].patient_id) == ("2", "")
    assert rows[second].rank == ""


def test_a_replacement_of_all_columns_replaces_them(connection: Connection) -> None:
    (identity,) = _INSERTION.ids(connection, [study("1.1")])
    Replacement(studies).execute(connection, [(identity, study("1.1") | {"patient_id": "P"})])
    (row,) = _BY_KEYS.rows(connection, ["space"], ["1.1"])
    assert row.patient_id == "P"


def test_an_error_of_the_driver_is_sqlalchemys_and_has_no_values(connection: Connection) -> None:
    with pytest.raises(IntegrityError) as refused:
        _INSERTION.ids(connection, [study("1.2.826", "secret"), study("1.2.826", "secret")])
    assert "1.2.826" not in str(refused.value)
    assert "secret" not in str(refused.value)

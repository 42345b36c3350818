"""Prepared statements: rows by lists of values, ids in order, and errors without values."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import BindParameter, Engine, bindparam, delete, select
from sqlalchemy.exc import IntegrityError

from dimse_ingestion.catalogue.database import events_transaction, open_engine
from dimse_ingestion.catalogue.migrate import upgrade
from dimse_ingestion.catalogue.prepared import (
    Insertion,
    Lookup,
    Replacement,
    Row,
    Statement,
    Transaction,
)
from dimse_ingestion.catalogue.tables import studies

_INSERTION = Insertion(studies)
_BY_KEYS = Lookup(studies.c, studies.c.source, studies.c.study_instance_uid)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_engine(f"sqlite:///{tmp_path}/catalogue.db")
    upgrade(opened)
    yield opened
    opened.dispose()


@pytest.fixture
def transaction(engine: Engine) -> Iterator[Transaction]:
    with events_transaction(engine) as opened:
        yield opened


def study(uid: str, source: str = "space") -> Row:
    texts = {each.name: "" for each in studies.c if each.name not in ("id", "elements")}
    return texts | {"study_instance_uid": uid, "source": source, "elements": b"j[]"}


@pytest.mark.parametrize("number", [0, 1, 2, 3, 7, 1500])
def test_any_number_of_rows_is_inserted_and_found(transaction: Transaction, number: int) -> None:
    uids = [f"1.2.{each}" for each in range(number)]
    ids = _INSERTION.ids(transaction, [study(uid) for uid in uids])
    found = {
        each.study_instance_uid: each.id for each in _BY_KEYS.rows(transaction, ["space"], uids)
    }
    assert [found[uid] for uid in uids] == list(ids)
    assert len(found) == number


def test_a_row_is_found_only_if_each_key_is_in_its_list(transaction: Transaction) -> None:
    _INSERTION.ids(transaction, [study("1.1"), study("1.2", "other"), study("1.3")])
    found = _BY_KEYS.rows(transaction, ["space"], ["1.1", "1.2"])
    assert [each.study_instance_uid for each in found] == ["1.1"]


def test_a_replacement_of_one_column_leaves_the_others(transaction: Transaction) -> None:
    first, second = _INSERTION.ids(transaction, [study("1.1"), study("1.2")])
    changed = study("1.1") | {"rank": "2", "patient_id": "ignored"}
    Replacement(studies, "rank").execute(transaction, [(first, changed)])
    rows = {each.id: each for each in _BY_KEYS.rows(transaction, ["space"], ["1.1", "1.2"])}
    assert (rows[first].rank, rows[first].patient_id) == ("2", "")
    assert rows[second].rank == ""


def test_a_replacement_of_all_columns_replaces_them(transaction: Transaction) -> None:
    (identity,) = _INSERTION.ids(transaction, [study("1.1")])
    Replacement(studies).execute(transaction, [(identity, study("1.1") | {"patient_id": "P"})])
    (row,) = _BY_KEYS.rows(transaction, ["space"], ["1.1"])
    assert row.patient_id == "P"


def test_an_error_of_the_driver_is_sqlalchemys_and_has_no_values(engine: Engine) -> None:
    with pytest.raises(IntegrityError) as refused, events_transaction(engine) as transaction:
        _INSERTION.ids(transaction, [study("1.2.826", "secret"), study("1.2.826", "secret")])
    assert "1.2.826" not in str(refused.value)
    assert "secret" not in str(refused.value)
    with events_transaction(engine) as transaction:
        assert _BY_KEYS.rows(transaction, ["secret"], ["1.2.826"]) == []


def test_a_row_that_is_known_is_left_out(transaction: Transaction) -> None:
    insertion = Insertion(studies, unless_known=True)
    [first] = insertion.ids(transaction, [study("1.1")])
    again, second = insertion.ids(transaction, [study("1.1"), study("1.2")])
    assert again is None
    assert second > first


def test_a_statement_takes_its_values_by_name(transaction: Transaction) -> None:
    first, second = _INSERTION.ids(transaction, [study("1.1"), study("1.2")])
    uid: BindParameter[str] = bindparam("uid")
    identity: BindParameter[int] = bindparam("identity")
    where = studies.c.study_instance_uid == uid, studies.c.id == identity
    find = Statement(select(studies.c.id).where(*where))
    remove = Statement(delete(studies).where(studies.c.id == identity))
    assert find.execute(transaction, uid="1.1", identity=second).fetchone() is None
    assert find.execute(transaction, uid="1.1", identity=first).fetchone() == (first,)
    remove.execute(transaction, identity=first)
    assert find.execute(transaction, uid="1.1", identity=first).fetchone() is None

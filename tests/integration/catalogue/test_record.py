"""What the catalogue makes of events: each object once, in any order, and one bad one alone."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import permutations
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, Table, func, select

from dimse_ingestion.catalogue import hierarchy
from dimse_ingestion.catalogue import record as recording
from dimse_ingestion.catalogue.database import open_engine
from dimse_ingestion.catalogue.event_rows import EventRows, extract_rows
from dimse_ingestion.catalogue.record import record
from dimse_ingestion.catalogue.tables import instances, objects, series, studies
from dimse_ingestion.dicom.elements import BulkReference, Element
from dimse_ingestion.events.contract import ImageStoredEvent, InstanceOrigin
from dimse_ingestion.queries.contract import Query
from dimse_ingestion.queries.wire import encode_match
from tests.catalogue_queries import find_all, located_all
from tests.instances import event, query, read


def count(engine: Engine, table: Table) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_a_repeated_event_changes_nothing(engine: Engine) -> None:
    rows = event("a", PatientID="1")
    assert record(engine, [rows, rows], "latest") == ["new", "known"]
    again = msgspec.structs.replace(rows, id="another", time="2027-01-01T00:00:00Z")
    assert record(engine, [rows, again], "latest") == ["known", "known"]
    assert count(engine, objects) == count(engine, instances) == 1


def test_one_object_name_in_two_buckets_or_spaces_is_two_objects(engine: Engine) -> None:
    rows = event("a")
    other = msgspec.structs.replace(rows.data.store, bucket_name="other")
    moved = msgspec.structs.replace(rows, data=msgspec.structs.replace(rows.data, store=other))
    elsewhere = event("a", provider="cardiology")
    assert record(engine, [rows, moved, elsewhere], "latest") == ["new", "new", "new"]
    assert len(find_all(engine, query("IMAGE"))) == 1
    assert len(find_all(engine, query("IMAGE"), "cardiology")) == 1
    assert find_all(engine, query("IMAGE"), "nobody") == []


@pytest.mark.parametrize(("duplicates", "expected"), [("latest", "third"), ("first", "first")])
def test_which_object_answers_goes_by_when_it_was_stored(
    engine: Engine, duplicates: hierarchy.Duplicates, expected: str
) -> None:
    rows = [
        event(name, second=second, StudyDescription=name)
        for second, name in enumerate(["first", "second", "third"])
    ]
    for number, order in enumerate(permutations(rows)):
        provider = f"space{number}"
        stores = [msgspec.structs.replace(each.data.store, provider=provider) for each in order]
        for each, store in zip(order, stores, strict=True):
            data = msgspec.structs.replace(each.data, store=store)
            record(engine, [msgspec.structs.replace(each, data=data)], duplicates)
        [match] = find_all(engine, query("STUDY", StudyDescription=""), provider)
        assert read(match, "StudyDescription") == expected
    assert count(engine, objects) == 18


def test_an_instance_that_moves_leaves_no_empty_study_behind(engine: Engine) -> None:
    record(engine, [event("a", study="1.1", series="2.1", PatientID="A")], "latest")
    moved = event("b", second=1, study="1.2", series="2.2", PatientID="B")
    record(engine, [moved], "latest")
    assert [read(each, "PatientID") for each in find_all(engine, query("PATIENT"))] == ["B"]
    assert count(engine, studies) == count(engine, series) == 1
    assert count(engine, objects) == 2


def test_a_study_that_loses_its_latest_instance_says_what_the_others_say(engine: Engine) -> None:
    record(
        engine,
        [
            event("a", second=1, instance="3.1", StudyDescription="before"),
            event("b", second=2, instance="3.2", StudyDescription="wrong"),
        ],
        "latest",
    )
    record(engine, [event("c", second=3, study="1.9", instance="3.2")], "latest")
    [match] = find_all(engine, query("STUDY", StudyInstanceUID="1.2.1", StudyDescription=""))
    assert read(match, "StudyDescription") == "before"


def test_studies_without_a_patient_id_are_not_taken_for_one_patient(engine: Engine) -> None:
    rows = [
        event("a", study="1.1", instance="3.1", PatientID="", PatientName="Doe^Jane"),
        event("b", study="1.2", instance="3.2", PatientName="Roe^Richard"),
    ]
    record(engine, rows, "latest")
    names = sorted(str(read(each, "PatientName")) for each in find_all(engine, _named("")))
    assert names == ["Doe^Jane", "Roe^Richard"]


def _named(pattern: str) -> Query:
    return query("PATIENT", PatientName=pattern)


def test_a_name_corrected_later_holds_for_the_study_and_its_instances(engine: Engine) -> None:
    record(engine, [event("a", instance="3.1", PatientID="1", PatientName="Sm1th")], "latest")
    late = event("b", second=5, instance="3.2", PatientID="1", PatientName="Smith")
    record(engine, [late], "latest")
    for scope, expected in (("PATIENT", 1), ("STUDY", 1), ("SERIES", 1), ("IMAGE", 2)):
        found = find_all(engine, query(scope, PatientName="smith"))
        assert [read(each, "PatientName") for each in found] == ["Smith"] * expected
        assert find_all(engine, query(scope, PatientName="sm1th")) == []


@pytest.mark.parametrize(
    "bad",
    [
        event("bad", instance="not a uid"),
        event("bad", study=""),
        event("bad", series="1." * 40),
        event("x" * 1100),
        event("bad", provider=""),
    ],
)
def test_a_bad_event_is_refused_alone(engine: Engine, bad: ImageStoredEvent) -> None:
    outcomes = record(engine, [event("a"), bad, event("b", instance="3.2")], "latest")
    assert outcomes[0] == outcomes[2] == "new"
    assert isinstance(outcomes[1], ValueError)


def test_what_only_the_database_refuses_is_refused_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(rows: ImageStoredEvent) -> EventRows:
        original = extract_rows(rows)
        if rows.data.store.object_name == "bad":
            return replace(original, object=original.object | {"size": None})
        return original

    monkeypatch.setattr(recording, "extract_rows", spoiled)
    rows = [event("a"), event("bad", instance="3.3"), event("b", instance="3.2")]
    outcomes = record(engine, rows, "latest")
    assert outcomes[0] == outcomes[2] == "new"
    assert isinstance(outcomes[1], ValueError)
    assert count(engine, objects) == count(engine, instances) == 2


def test_values_that_databases_refuse_are_stored_and_found(engine: Engine) -> None:
    odd: dict[str, Any] = {
        "PatientName": "Nul\0in^Name",
        "PatientID": "A\0B",
        "AccessionNumber": "x" * 40_000,
        "StudyID": "\ud7ff\U0010ffff",
        "InstanceNumber": "1e999999999",
        "StudyDate": "99999999",
    }
    rows = event("a\0", **odd, more=[Element("0008", "103E", "LO", bulk=BulkReference(1, 2))])
    assert record(engine, [rows], "latest") == ["new"]
    for keyword, value in odd.items():
        [match] = find_all(engine, query("IMAGE", **{keyword: value}))
        assert read(match, keyword) == value
    for pattern in ("Nul\0in*", "Nul\0in^Name=\0*"):
        assert len(find_all(engine, query("IMAGE", PatientName=pattern))) == (pattern[-2:] == "n*")


def test_replicas_record_at_once(database_url: str, engine: Engine) -> None:
    """Two engines, as two replicas have, record the same events in different orders."""
    rows = [
        event(f"o{number}", second=number, study=f"1.{number % 3}", instance=f"3.{number % 20}")
        for number in range(60)
    ]
    other = open_engine(database_url)
    batches = [rows[start : start + 7] for start in range(0, 60, 7)]
    with ThreadPoolExecutor(2) as executor:
        ours = executor.map(lambda batch: record(engine, batch, "latest"), batches)
        theirs = executor.map(lambda batch: record(other, batch, "latest"), reversed(batches))
        outcomes = [each for batch in (*ours, *theirs) for each in batch]
    other.dispose()
    assert (outcomes.count("new"), outcomes.count("known")) == (60, 60)
    assert count(engine, objects) == 60
    assert len(find_all(engine, query("IMAGE"))) == 20


def test_who_sent_an_object_is_recorded_and_returned_without_its_address(engine: Engine) -> None:
    origin = InstanceOrigin("CT1", "DICOM-INGEST", "ward7", "10.1.2.3", "2026-01-02T03:04:05Z")
    sent = event("a")
    with_origin = msgspec.structs.replace(sent.data, origin=origin)
    record(engine, [msgspec.structs.replace(sent, data=with_origin)], "latest")
    with engine.connect() as connection:
        assert connection.execute(select(objects.c.peer_address)).scalar_one() == "10.1.2.3"
    (located,) = located_all(engine, query("IMAGE"))
    assert (located.calling_ae_title, located.called_ae_title) == ("CT1", "DICOM-INGEST")
    assert (located.proxy_id, located.received_at) == ("ward7", "2026-01-02T03:04:05Z")
    assert b"10.1.2.3" not in encode_match(located)

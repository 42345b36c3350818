"""Rows of each level from an event."""

from typing import Any

import msgspec
import pytest

from dimse_ingestion.catalogue.event_rows import (
    decode_elements,
    decompress,
    decompress_short,
    encode_elements,
    extract_rows,
    json_length,
)
from dimse_ingestion.dicom.elements import by_tag
from tests.instances import CT_IMAGE, elements, event


def test_keys_are_stored_normalized_for_comparison() -> None:
    study = extract_rows(
        event(
            PatientName="Yamada^Tarou^=山田^太郎=やまだ", StudyDate="2026.01.02", StudyTime="1030"
        )
    ).study()
    assert study["patient_name"] == "yamada^tarou=山田^太郎=やまだ"
    assert study["patient_name_ideographic"] == "山田^太郎"
    assert study["patient_name_phonetic"] == "やまだ"
    assert (study["study_date"], study["study_time"]) == ("20260102", "103000000000")


@pytest.mark.parametrize("value", ["A\\B", "x" * 301])
def test_what_sql_cant_compare_is_null(value: str) -> None:
    assert extract_rows(event(AccessionNumber=value)).study()["accession_number"] is None


def test_what_is_absent_is_empty_which_no_key_matches() -> None:
    assert extract_rows(event()).study()["accession_number"] == ""
    assert extract_rows(event(AccessionNumber="")).study()["accession_number"] == ""


def test_each_level_has_its_own_elements_and_the_object_all() -> None:
    rows = extract_rows(event(PatientID="1", StudyID="2", Modality="CT", ImageComments="3"))
    assert {each.value for each in decode_elements(rows.study()["elements"])} == {"1", "2", "1.2.1"}
    assert {each.value for each in decode_elements(rows.series()["elements"])} == {"CT", "1.2.1.1"}
    assert len(decode_elements(rows.object["elements"])) == 8
    assert rows.instance["sop_class_uid"] == CT_IMAGE


def test_a_patient_is_identified_by_id_and_issuer_or_by_the_study() -> None:
    same = [extract_rows(event(study=uid, PatientID=" 1 ")).study()["patient_key"] for uid in "12"]
    assert same[0] == same[1]
    issued = extract_rows(event(PatientID="1", IssuerOfPatientID="H")).study()["patient_key"]
    assert issued != same[0]
    assert len({extract_rows(event(study=uid)).study()["patient_key"] for uid in "12"}) == 2


def test_the_rank_goes_by_the_time_of_storing_in_any_zone() -> None:
    later = extract_rows(event(second=1)).rank
    earlier = msgspec.structs.replace(event(), time="2026-01-01T01:00:00+01:00")
    assert extract_rows(earlier).rank == extract_rows(event()).rank < later


@pytest.mark.parametrize(
    "time", ["", "yesterday", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+09:00"]
)
def test_an_invalid_or_future_time_counts_as_now(time: str) -> None:
    odd = msgspec.structs.replace(event(), time=time)
    assert extract_rows(event(second=1)).rank < extract_rows(odd).rank < "2999"


@pytest.mark.parametrize("keyword", ["study", "series", "instance"])
def test_an_event_without_a_uid_is_refused_with_the_tag(keyword: str) -> None:
    invalid: dict[str, Any] = {keyword: "1.2/3"}
    with pytest.raises(ValueError, match=r"\(00[02][08],"):
        extract_rows(event(**invalid))


def test_elements_are_decoded_as_they_were_encoded() -> None:
    few, many = elements(PatientName="山田"), elements(ImageComments="long " * 1000)
    assert decode_elements(encode_elements(few)) == few
    assert decode_elements(encode_elements(many)) == many
    assert len(encode_elements(many)) < 500
    assert by_tag(decode_elements(encode_elements([*few, *few]))) == by_tag(few)


@pytest.mark.parametrize("length", [1, 2000, 3_000_000])
def test_the_length_of_json_is_known_before_it_is_in_memory(length: int) -> None:
    stored = encode_elements(elements(ImageComments="a" * length))
    json = decompress(stored)
    assert json_length(stored) == len(json)
    assert decompress_short(stored, len(json)) == json
    assert decompress_short(stored, len(json) - 1) is None
    assert decompress_short(stored, 0) is None

"""SQL conditions exclude no match, and are ranges where an index can help."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from dimse_ingestion.catalogue.sql_conditions import _begins, _successor, conditions
from dimse_ingestion.catalogue.tables import studies
from dimse_ingestion.dicom.criteria import criteria
from dimse_ingestion.dicom.elements import element
from tests.instances import elements

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)


@given(TEXT, TEXT)
def test_texts_that_begin_alike_lie_before_the_successor(beginning: str, rest: str) -> None:
    after = _successor(beginning)
    text = beginning + rest
    assert not after or beginning <= text < after
    assert not after or not after.startswith(beginning)


@pytest.mark.parametrize(
    ("text", "after"),
    [("a", "b"), ("az", "a{"), ("\ud7ff", "\ue000"), ("a\U0010ffff", "b"), ("\U0010ffff", "")],
)
def test_the_successor_skips_what_is_no_text(text: str, after: str) -> None:
    assert _successor(text) == after


def sql(level: str, **values: str) -> str:
    made = conditions(level, criteria(elements(**values)))
    return " AND ".join(
        str(each.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
        for each in made
    )


def test_a_key_of_another_vr_than_its_column_is_left_to_python() -> None:
    assert list(conditions("STUDY", criteria([element(0x00080050, "PN", "A")]))) == []


def test_a_key_without_a_column_is_left_to_python() -> None:
    assert sql("STUDY", StudyDescription="Head") == ""


def test_very_many_values_are_left_to_python() -> None:
    assert sql("STUDY", StudyInstanceUID="\\".join(map(str, range(5001)))) == ""


@pytest.mark.parametrize(
    "values",
    [
        {"PatientName": "\\".join(f"Name{number}" for number in range(101))},
        {"PatientName": "\\".join(f"Name{number}*" for number in range(101))},
        {"PatientName": "\\".join(f"Name{number}=a" for number in range(101))},
        {"AccessionNumber": "\\".join(f"A{number}*" for number in range(101))},
        {"AccessionNumber": "%*" * 501},
        {"AccessionNumber": "a\0b"},
        {"AccessionNumber": "a\0*"},
        {"PatientName": "a\0b=c"},
    ],
)
def test_criteria_too_large_for_a_statement_are_left_to_python(values: dict[str, str]) -> None:
    assert sql("STUDY", **values) == ""


def test_all_values_together_fit_a_statement() -> None:
    values = "\\".join(map(str, range(5000)))
    keys = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "PatientID")
    made = conditions("IMAGE", criteria(elements(**dict.fromkeys(keys, values))))
    assert len(list(made)) == 4


def test_unique_keys_are_compared_without_null() -> None:
    assert sql("STUDY", StudyInstanceUID="1.2") == "studies.study_instance_uid IN ('1.2')"


def test_null_passes_and_wild_cards_are_escaped() -> None:
    found = sql("STUDY", AccessionNumber="5%_*")
    assert "accession_number IS NULL" in found
    assert "accession_number >= '5%_'" in found
    assert "'5\\%\\_%' ESCAPE '\\'" in found


def test_names_with_several_groups_must_begin_with_each() -> None:
    found = sql("PATIENT", PatientName="Yamada^*=山田")
    assert "patient_name >= 'yamada'" in found
    assert "patient_name_ideographic >= '山田'" in found
    assert "phonetic" not in found


def test_a_text_of_the_last_character_alone_has_no_end() -> None:
    made = _begins(studies.c.patient_name, "\U0010ffff")
    assert "<" not in str(made.compile(dialect=sqlite.dialect()))

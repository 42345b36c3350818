from collections.abc import Sequence

import pytest

from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.query_levels import parse_query
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicom.uids import PATIENT_ROOT_FIND, STUDY_ROOT_FIND

LEVEL, PATIENT_ID, STUDY, SERIES = 0x00080052, 0x00100020, 0x0020000D, 0x0020000E
UNIQUE = {"PATIENT": (PATIENT_ID, "LO"), "STUDY": (STUDY, "UI"), "SERIES": (SERIES, "UI")}


def identifier(level: str, *above: str, keys: Sequence[Element] = ()) -> list[Element]:
    unique = [element(*UNIQUE[each], "1.2") for each in above]
    return [element(LEVEL, "CS", level), *unique, *keys]


@pytest.mark.parametrize(
    ("model", "level", "above"),
    [
        (PATIENT_ROOT_FIND, "PATIENT", ()),
        (PATIENT_ROOT_FIND, "STUDY", ("PATIENT",)),
        (PATIENT_ROOT_FIND, "IMAGE", ("PATIENT", "STUDY", "SERIES")),
        (STUDY_ROOT_FIND, "STUDY", ()),
        (STUDY_ROOT_FIND, "SERIES", ("STUDY",)),
        (STUDY_ROOT_FIND, "IMAGE", ("STUDY", "SERIES")),
    ],
)
def test_each_level_of_each_model_can_be_queried(
    model: str, level: str, above: tuple[str, ...]
) -> None:
    question = parse_query(identifier(level, *above), model)
    assert question.level == level
    assert len(question.keys) == len(above)
    assert question.unsupported == []


@pytest.mark.parametrize(
    ("model", "level", "above", "sentence"),
    [
        (STUDY_ROOT_FIND, "PATIENT", (), "0008,0052"),
        (STUDY_ROOT_FIND, "", (), "0008,0052"),
        (STUDY_ROOT_FIND, "WORLD", (), "0008,0052"),
        (STUDY_ROOT_FIND, "SERIES", (), "0020,000D"),
        (STUDY_ROOT_FIND, "IMAGE", ("STUDY",), "0020,000E"),
        (PATIENT_ROOT_FIND, "STUDY", (), "0010,0020"),
    ],
)
def test_a_level_without_what_it_needs_is_refused(
    model: str, level: str, above: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(DimseFailure, match=sentence) as failure:
        parse_query(identifier(level, *above), model)
    assert failure.value.status == Status.DOES_NOT_MATCH_SOP_CLASS


@pytest.mark.parametrize("value", ["1.2\\1.3", "1.*", ""])
def test_a_unique_key_above_must_have_one_value(value: str) -> None:
    keys = [element(LEVEL, "CS", "SERIES"), element(STUDY, "UI", value)]
    with pytest.raises(DimseFailure, match="one value"):
        parse_query(keys, STUDY_ROOT_FIND)
    assert parse_query(keys, STUDY_ROOT_FIND, relational=True).level == "SERIES"


def test_unsupported_keys_are_listed_separately() -> None:
    rows, private = element(0x00280010, "US"), element(0x00091001, "LO")
    question = parse_query(identifier("STUDY", keys=[rows, private]), STUDY_ROOT_FIND)
    assert question.unsupported == [rows, private]
    question = parse_query(identifier("IMAGE", "STUDY", "SERIES", keys=[rows]), STUDY_ROOT_FIND)
    assert question.unsupported == []

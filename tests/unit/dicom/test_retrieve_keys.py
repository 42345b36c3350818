import pytest

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.retrieve_keys import parse_retrieve
from dimse_ingestion.dicom.status import Status

LEVEL, PATIENT, STUDY, SERIES, IMAGE = 0x00080052, 0x00100020, 0x0020000D, 0x0020000E, 0x00080018


def identifier(level: str, **values: str) -> list[Element]:
    tags = {"patient": PATIENT, "study": STUDY, "series": SERIES, "image": IMAGE}
    keys = [element(tags[n], "LO" if n == "patient" else "UI", v) for n, v in values.items()]
    return [element(LEVEL, "CS", level), *keys, element(0x00100010, "PN", "Doe^*")]


@pytest.mark.parametrize(
    ("root", "level", "values", "keys"),
    [
        (uids.PATIENT_ROOT_GET, "PATIENT", {"patient": "4711 "}, {PATIENT: "4711"}),
        (
            uids.PATIENT_ROOT_MOVE,
            "STUDY",
            {"patient": "P", "study": "1.2\\1.3"},
            {PATIENT: "P", STUDY: "1.2\\1.3"},
        ),
        (uids.STUDY_ROOT_GET, "STUDY", {"patient": "", "study": "1.2"}, {STUDY: "1.2"}),
        (uids.STUDY_ROOT_GET, "STUDY", {"study": "1.2\0", "series": ""}, {STUDY: "1.2"}),
        (
            uids.STUDY_ROOT_GET,
            "SERIES",
            {"study": "1.2", "series": "1\\2\\1\\"},
            {STUDY: "1.2", SERIES: "1\\2"},
        ),
        (
            uids.STUDY_ROOT_MOVE,
            "IMAGE",
            {"study": "1.2", "series": "1.3", "image": "1.4\\1.5"},
            {STUDY: "1.2", SERIES: "1.3", IMAGE: "1.4\\1.5"},
        ),
    ],
)
def test_unique_keys_select_and_other_keys_are_ignored(
    root: str, level: str, values: dict[str, str], keys: dict[int, str]
) -> None:
    parsed = parse_retrieve(identifier(level, **values), root)
    assert (parsed.level, {each.tag: each.value for each in parsed.keys}) == (level, keys)


@pytest.mark.parametrize(
    ("root", "level", "values", "named"),
    [
        (uids.STUDY_ROOT_GET, "STUDY", {}, "(0020,000D)"),
        (uids.STUDY_ROOT_GET, "STUDY", {"study": ""}, "(0020,000D)"),
        (uids.STUDY_ROOT_GET, "STUDY", {"study": "\\"}, "(0020,000D)"),
        (uids.STUDY_ROOT_GET, "STUDY", {"study": "*"}, "(0020,000D)"),
        (uids.STUDY_ROOT_GET, "STUDY", {"study": "1.2\\1.?"}, "(0020,000D)"),
        (uids.STUDY_ROOT_GET, "SERIES", {"series": "1.2"}, "(0020,000D)"),
        (uids.STUDY_ROOT_GET, "SERIES", {"study": "1\\2", "series": "1.2"}, "(0020,000D)"),
        (uids.STUDY_ROOT_GET, "IMAGE", {"study": "1", "image": "1"}, "(0020,000E)"),
        (uids.PATIENT_ROOT_GET, "PATIENT", {"patient": ""}, "(0010,0020)"),
        (uids.PATIENT_ROOT_GET, "PATIENT", {"patient": "a\\b"}, "(0010,0020)"),
        (uids.PATIENT_ROOT_GET, "PATIENT", {"patient": "4*"}, "(0010,0020)"),
        (uids.PATIENT_ROOT_GET, "STUDY", {"study": "1.2"}, "(0010,0020)"),
        (uids.STUDY_ROOT_GET, "PATIENT", {"patient": "4711"}, "(0008,0052)"),
        (uids.STUDY_ROOT_GET, "", {"study": "1"}, "(0008,0052)"),
    ],
)
def test_a_key_that_selects_nothing_or_too_much_is_refused_with_its_tag(
    root: str, level: str, values: dict[str, str], named: str
) -> None:
    with pytest.raises(DimseFailure) as raised:
        parse_retrieve(identifier(level, **values), root)
    assert raised.value.status == Status.DOES_NOT_MATCH_SOP_CLASS
    assert named in raised.value.comment


def test_a_relational_retrieve_needs_the_key_of_its_level_alone() -> None:
    parsed = parse_retrieve(
        identifier("IMAGE", study="", image="1.4"), uids.STUDY_ROOT_GET, relational=True
    )
    assert [(each.tag, each.value) for each in parsed.keys] == [(IMAGE, "1.4")]
    with pytest.raises(DimseFailure, match="0008,0018"):
        parse_retrieve(
            identifier("IMAGE", study="1.2", image=""), uids.STUDY_ROOT_GET, relational=True
        )


def test_another_sop_class_is_refused() -> None:
    with pytest.raises(DimseFailure) as raised:
        parse_retrieve(identifier("STUDY", study="1"), uids.STUDY_ROOT_FIND)
    assert raised.value.status == Status.SOP_CLASS_NOT_SUPPORTED

import pytest

from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicomweb.problems import Problem
from dimse_ingestion.dicomweb.searching import search


def test_tags_keywords_and_case_are_one() -> None:
    for name in ("PatientName", "00100010"):
        assert search("STUDY", [(name, "Doe*")]).keys == [element(0x00100010, "PN", "Doe*")]
    assert search("STUDY", [("0020000d", "1.2")]).keys == [element(0x0020000D, "UI", "1.2")]


def test_lists_of_uids_and_codes_have_commas() -> None:
    asked = [("StudyInstanceUID", "1.2,1.3"), ("ModalitiesInStudy", "CT,MR"), ("StudyID", "a,b")]
    assert [each.value for each in search("STUDY", asked).keys] == ["1.2\\1.3", "CT\\MR", "a,b"]


def test_what_is_within_one_sequence_is_asked_of_one_item() -> None:
    asked = [
        ("00400275.00400009", "S"),
        ("RequestAttributesSequence.ScheduledProtocolCodeSequence.CodeValue", "C"),
    ]
    within = [element(0x00080100, "SH", "C")]
    item = [element(0x00400009, "SH", "S"), Element("0040", "0008", "SQ", items=[within])]
    assert search("SERIES", asked).keys == [Element("0040", "0275", "SQ", items=[item])]


def test_what_is_included() -> None:
    asked = [("includefield", "PatientSex, 00081030"), ("includefield", "00400275.00400009")]
    found = search("STUDY", asked)
    assert found.included == {0x00100040, 0x00081030, 0x00400275}
    assert not found.everything
    assert search("STUDY", [("includefield", "all")]).everything


def test_pages_and_what_is_answered_elsewhere() -> None:
    found = search("STUDY", [("limit", "5"), ("offset", "10"), ("accept", "x"), ("charset", "y")])
    assert (found.limit, found.offset, found.keys, found.warnings) == (5, 10, [], [])


@pytest.mark.parametrize(
    "asked",
    [
        [("", "x")],
        [(".", "x")],
        [("PatientName.", "x")],
        [("00091001", "x")],
        [("00020010", "x")],
        [("RequestAttributesSequence", "x")],
        [("RequestAttributesSequence", ""), ("00400275.00400009", "x")],
        [("limit", "1e3")],
        [("PatientName", "\0")],
        [("PatientName", "a\x1bb")],
        [("RequestAttributesSequence.00400009", "\0")],
        [("limit", "\u0663")],
        [("includefield", ",".join(["PatientID"] * 300))],
    ],
)
def test_what_is_no_search_is_400_without_its_values(asked: list[tuple[str, str]]) -> None:
    with pytest.raises(Problem) as raised:
        search("IMAGE", asked)
    assert raised.value.status == 400

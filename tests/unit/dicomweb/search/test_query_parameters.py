import pytest

from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.search.query_parameters import search


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
        [("00091001", "x")],
        [("00020010", "x")],
        [("RequestAttributesSequence", "x")],
        [("RequestAttributesSequence", ""), ("00400275.00400009", "x")],
        [("limit", "1e3")],
        [("PatientName", "\0")],
        [("PatientName", "a\x1bb")],
        [("RequestAttributesSequence.00400009", "\0")],
        [("limit", "\u0663")],
        [("limit", "-1")],
        [("offset", "")],
        [("limit", "1"), ("limit", "1")],
        [("PatientID", "a"), ("PatientID", "b")],
        [("PatientID", "a"), ("00100020", "b")],
        [("fuzzymatching", "maybe")],
        [(f"x{number}", "") for number in range(300)],
        [("includefield", ",".join(["PatientID"] * 300))],
    ],
)
def test_what_is_no_search_is_400_without_its_values(asked: list[tuple[str, str]]) -> None:
    with pytest.raises(Problem) as raised:
        search("IMAGE", asked)
    assert raised.value.status == 400


@pytest.mark.parametrize(
    "name", ["_", "orderby", "NoSuchKeyword", "", ".", "PatientName.", "x" * 30_000, "\0é", "a,b"]
)
def test_a_parameter_that_names_no_attribute_is_ignored_with_a_warning(name: str) -> None:
    found = search("STUDY", [("PatientID", "1"), (name, "x")])
    assert found.keys == [element(0x00100020, "LO", "1")]
    (sentence,) = found.warnings
    assert "Ignored query parameter" in sentence
    assert len(sentence) < 200
    assert sentence.isprintable()
    assert sentence.isascii()


def test_an_includefield_that_names_no_attribute_is_ignored_with_a_warning() -> None:
    found = search("STUDY", [("includefield", "PatientSex,NoSuchKeyword,,all")])
    assert found.included == {0x00100040}
    assert found.everything
    assert found.warnings == [
        "Ignored includefield, which is no attribute of PS3.6: NoSuchKeyword."
    ]


def test_many_ignored_names_are_one_short_warning() -> None:
    (sentence,) = search("STUDY", [(f"x{number}", "") for number in range(100)]).warnings
    assert sentence.endswith("x0, x1, x2, x3, x4, and others.")


@pytest.mark.parametrize("value", ["true", "TRUE", "True"])
def test_true_is_read_in_any_case(value: str) -> None:
    (sentence,) = search("STUDY", [("fuzzymatching", value)]).warnings
    assert "fuzzymatching parameter is not supported" in sentence


def test_a_number_with_many_digits_is_bounded() -> None:
    assert search("STUDY", [("limit", "9" * 100), ("offset", "0" * 50 + "7")]).offset == 7

import pytest

from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.search.query_parameters import parse_search


def test_an_attribute_is_named_by_tag_in_any_case_or_by_keyword() -> None:
    for name in ("PatientName", "00100010"):
        assert parse_search("STUDY", [(name, "Doe*")]).keys == [element(0x00100010, "PN", "Doe*")]
    assert parse_search("STUDY", [("0020000d", "1.2")]).keys == [element(0x0020000D, "UI", "1.2")]


def test_commas_separate_the_values_of_uids_and_codes_only() -> None:
    parameters = [
        ("StudyInstanceUID", "1.2,1.3"),
        ("ModalitiesInStudy", "CT,MR"),
        ("StudyID", "a,b"),
    ]
    assert [each.value for each in parse_search("STUDY", parameters).keys] == [
        "1.2\\1.3",
        "CT\\MR",
        "a,b",
    ]


def test_keys_within_one_sequence_are_matched_against_one_item() -> None:
    parameters = [
        ("00400275.00400009", "S"),
        ("RequestAttributesSequence.ScheduledProtocolCodeSequence.CodeValue", "C"),
    ]
    within = [element(0x00080100, "SH", "C")]
    item = [element(0x00400009, "SH", "S"), Element("0040", "0008", "SQ", items=[within])]
    assert parse_search("SERIES", parameters).keys == [Element("0040", "0275", "SQ", items=[item])]


def test_includefield_lists_tags_keywords_and_all() -> None:
    parameters = [("includefield", "PatientSex, 00081030"), ("includefield", "00400275.00400009")]
    search = parse_search("STUDY", parameters)
    assert search.included == {0x00100040, 0x00081030, 0x00400275}
    assert not search.all_fields
    assert parse_search("STUDY", [("includefield", "all")]).all_fields


def test_limit_and_offset_are_read_and_accept_and_charset_ignored() -> None:
    search = parse_search(
        "STUDY", [("limit", "5"), ("offset", "10"), ("accept", "x"), ("charset", "y")]
    )
    assert (search.limit, search.offset, search.keys, search.warnings) == (5, 10, [], [])


def test_pages_and_totals_are_of_studies_only() -> None:
    parameters = [("after", "1.2.3"), ("total", "true")]
    search = parse_search("STUDY", parameters)
    assert (search.after, search.with_total, search.warnings) == ("1.2.3", True, [])
    search = parse_search("SERIES", parameters)
    assert (search.after, search.with_total) == ("", False)
    assert "after" in search.warnings[0]


@pytest.mark.parametrize(
    "parameters", [[("after", "*")], [("after", "1.2"), ("after", "1.3")], [("total", "1")]]
)
def test_an_invalid_page_or_total_is_400(parameters: list[tuple[str, str]]) -> None:
    with pytest.raises(Problem) as raised:
        parse_search("STUDY", parameters)
    assert raised.value.status == 400


@pytest.mark.parametrize(
    "parameters",
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
def test_an_invalid_search_is_400(parameters: list[tuple[str, str]]) -> None:
    with pytest.raises(Problem) as raised:
        parse_search("IMAGE", parameters)
    assert raised.value.status == 400


@pytest.mark.parametrize(
    "name", ["_", "orderby", "NoSuchKeyword", "", ".", "PatientName.", "x" * 30_000, "\0é", "a,b"]
)
def test_a_parameter_that_names_no_attribute_is_ignored_with_a_warning(name: str) -> None:
    search = parse_search("STUDY", [("PatientID", "1"), (name, "x")])
    assert search.keys == [element(0x00100020, "LO", "1")]
    (sentence,) = search.warnings
    assert "Ignored query parameter" in sentence
    assert len(sentence) < 200
    assert sentence.isprintable()
    assert sentence.isascii()


def test_an_includefield_that_names_no_attribute_is_ignored_with_a_warning() -> None:
    search = parse_search("STUDY", [("includefield", "PatientSex,NoSuchKeyword,,all")])
    assert search.included == {0x00100040}
    assert search.all_fields
    assert search.warnings == [
        "Ignored includefield, which is not an attribute of PS3.6: NoSuchKeyword."
    ]


def test_many_ignored_names_are_one_short_warning() -> None:
    (sentence,) = parse_search("STUDY", [(f"x{number}", "") for number in range(100)]).warnings
    assert sentence.endswith("x0, x1, x2, x3, x4, and others.")


@pytest.mark.parametrize("value", ["true", "TRUE", "True"])
def test_true_is_read_in_any_case(value: str) -> None:
    (sentence,) = parse_search("STUDY", [("fuzzymatching", value)]).warnings
    assert "fuzzymatching parameter is not supported" in sentence


def test_a_number_with_many_digits_is_bounded() -> None:
    assert parse_search("STUDY", [("limit", "9" * 100), ("offset", "0" * 50 + "7")]).offset == 7

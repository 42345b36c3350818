import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimse_ingestion.dicom import comparison


@pytest.mark.parametrize(
    ("vr", "text", "low", "high"),
    [
        ("DA", "2020", "20200101", "20201231"),
        ("DA", "202002", "20200201", "20200231"),
        ("DA", "2020.02.03", "20200203", "20200203"),
        ("TM", "10", "100000000000", "105959999999"),
        ("TM", "10:30", "103000000000", "103059999999"),
        ("TM", "103015.5", "103015500000", "103015599999"),
        ("DT", "2020", "20200101000000000000", "20201231235959999999"),
        ("DT", "20200203101530.25", "20200203101530250000", "20200203101530259999"),
        ("DT", "20200203101530+0130", "20200203084530000000", "20200203084530999999"),
        ("DT", "20200101003000+0100", "20191231233000000000", "20191231233000999999"),
    ],
)
def test_partial_precision_stands_for_all_moments_it_covers(
    vr: str, text: str, low: str, high: str
) -> None:
    assert comparison.is_temporal(text, vr)
    assert (comparison.lowest(text, vr), comparison.highest(text, vr)) == (low, high)


@pytest.mark.parametrize(
    ("vr", "text"),
    [("DA", "20"), ("DA", "2020-01-01"), ("TM", "1"), ("TM", "10.5"), ("DT", "+0100"), ("DT", "x")],
)
def test_invalid_dates_and_times_are_recognized(vr: str, text: str) -> None:
    assert not comparison.is_temporal(text, vr)


@pytest.mark.parametrize(
    ("vr", "one", "other"),
    [
        ("IS", "007", "7"), ("IS", "+7", "7"), ("DS", "1.50", "1.5"), ("DS", "1.5E1", "15"),
        ("LO", " a b ", "a b"), ("UI", "1.2.3\0", "1.2.3"), ("PN", "DOE^JANE^^^", "doe^jane"),
        ("PN", "Ｄｏｅ^Ｊａｎｅ", "doe^jane"), ("PN", "A=B=", "a=b"),
        ("TM", "10:30:00", "103000.000000"),
    ],
)  # fmt: skip
def test_values_that_mean_the_same_compare_as_equal(vr: str, one: str, other: str) -> None:
    assert comparison.comparable(one, vr) == comparison.comparable(other, vr)


@given(st.text(max_size=30))
def test_folding_a_name_twice_changes_nothing(name: str) -> None:
    folded = comparison.folded_name(name)
    assert comparison.folded_name(folded) == folded
    assert "=".join(comparison.name_groups(name)).rstrip("=") == folded


@given(st.text(max_size=30), st.sampled_from(["DA", "TM", "DT", "IS", "DS", "PN", "LO", "UI"]))
def test_no_text_is_beyond_comparing(text: str, vr: str) -> None:
    assert isinstance(comparison.comparable(text, vr), str)

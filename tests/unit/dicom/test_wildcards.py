"""Wild cards match as PS3.4 defines, in time that is linear in the length of the text."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimse_ingestion.dicom.wildcards import any_of, has_wildcards, matcher

PATTERN, TEXT = (st.text(alphabet=letters, max_size=10) for letters in ("ab*?", "ab"))


@given(PATTERN, TEXT)
def test_wild_cards_mean_what_a_plain_expression_says(pattern: str, text: str) -> None:
    plain = pattern.replace("*", ".*").replace("?", ".")
    assert matcher(pattern)(text) == bool(re.fullmatch(plain, text))


@given(st.text(alphabet="ab", max_size=4), st.text(alphabet="ab?", max_size=4), TEXT)
def test_a_part_with_question_marks_is_found_where_it_stands_first(
    first: str, part: str, text: str
) -> None:
    pattern = f"{first}*{part}*a?*b"
    plain = pattern.replace("*", ".*").replace("?", ".")
    assert matcher(pattern)(text) == bool(re.fullmatch(plain, text))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("*a" * 60 + "*b", "a" * 60_000),
        ("*a" * 10_000 + "*b", "a" * 60_000),
        ("*" + "a?" * 2000 + "b*", "a" * 60_000),
        ("*" * 30_000 + "b", "a" * 60_000),
        ("?" * 30_000 + "*", "a" * 60_000),
        ("*" + "?" * 30_000 + "b*", "a" * 60_000),
    ],
)
@pytest.mark.no_cover  # it measures CPU time
def test_no_pattern_takes_long(pattern: str, text: str) -> None:
    began = time.process_time()
    assert matcher(pattern)(text) == (pattern[-2:] == "?*")
    assert time.process_time() - began < 5


def test_any_pattern_may_match() -> None:
    test = any_of(["a*", "?b"])
    assert test("ac")
    assert test("cb")
    assert not test("cba")
    assert not any_of([])("")


def test_what_is_a_pattern() -> None:
    assert has_wildcards("a*")
    assert has_wildcards("?")
    assert not has_wildcards("a%_.")

"""A Warning header is valid whatever text of a request its sentence repeats."""

import pytest

from dimse_ingestion.dicomweb.http.warning_headers import warning


def test_the_sentence_is_quoted_after_the_agent() -> None:
    assert warning("http://server", "It is so.") == '299 http://server "It is so."'


@pytest.mark.parametrize(
    ("sentence", "escaped"),
    [
        ("a\0b", "a?b"),
        ("a\r\nX: y", "a??X: y"),
        ("a\x7f\t\u00e9\u20ac", "a????"),
        ('a "b"', r"a \"b\""),
        ("a\\", r"a\\"),
    ],
)
def test_nothing_in_a_sentence_breaks_the_header(sentence: str, escaped: str) -> None:
    assert warning("server", sentence) == f'299 server "{escaped}"'

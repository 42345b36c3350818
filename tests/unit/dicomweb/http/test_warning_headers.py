"""A Warning header is one that every client can read, whatever a request put into its sentence."""

import pytest

from dimse_ingestion.dicomweb.http.warning_headers import warning


def test_a_sentence_stands_in_quotes_behind_who_says_it() -> None:
    assert warning("http://door", "It is so.") == '299 http://door "It is so."'


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("a\0b", "a?b"),
        ("a\r\nX: y", "a??X: y"),
        ("a\x7f\t\u00e9\u20ac", "a????"),
        ('a "b"', r"a \"b\""),
        ("a\\", r"a\\"),
    ],
)
def test_nothing_in_a_sentence_breaks_the_header(sentence: str, told: str) -> None:
    assert warning("door", sentence) == f'299 door "{told}"'

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimse_ingestion.dicomweb.http.header_values import media_type, split_unquoted, warning


def test_a_media_type_has_its_parameters() -> None:
    parsed = media_type('Multipart/Related; Type="application/dicom"; boundary="a b"')
    assert parsed == ("multipart/related", {"type": "application/dicom", "boundary": "a b"})
    assert media_type("application/dicom") == ("application/dicom", {})
    assert media_type("a/b;;c=d; ;e") == ("a/b", {"c": "d", "e": ""})


@pytest.mark.parametrize("text", ["", "nonsense", "a/", "/b", "a/b/c", "a b/c", ";", "a/b,c/d"])
def test_text_without_a_media_type_gives_none(text: str) -> None:
    assert media_type(text) == ("", {})


def test_quotes_hide_separators_and_backslashes_escape() -> None:
    assert media_type(r'a/b; c="d;\"e\\"; f=g') == ("a/b", {"c": r'd;"e\ '.rstrip(), "f": "g"})
    assert split_unquoted(r'a, "b,\"c" ,, d', ",") == ["a", r'"b,\"c"', "d"]


@pytest.mark.parametrize("text", ["a/b; x*=a; x*0=b", "a/b; x*=%FF''%; x*1*=b", "a/b; x*0*=utf-9'"])
def test_continuations_of_mail_are_plain_names(text: str) -> None:
    name, parameters = media_type(text)
    assert name == "a/b"
    assert all(name.startswith("x*") for name in parameters)


@given(st.text(st.sampled_from("a/;=\"\\*0' ,é\0\x7f"), max_size=40))
def test_any_text_is_parsed(text: str) -> None:
    name, parameters = media_type(text)
    assert name or not parameters


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

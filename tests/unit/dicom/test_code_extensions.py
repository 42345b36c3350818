"""Switching character sets within a value (PS3.5 6.1.2.5)."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimse_ingestion.dicom.code_extensions import (
    JIS_X_0208,
    JIS_X_0212,
    KATAKANA,
    LATIN_1,
    CodedSet,
    decode,
    decode_bytes,
    encode,
)

NAME_ENDS = "\t\n\f\r\\^="
CYRILLIC, KOREAN, GREEK = CodedSet(g1="iso8859_5"), CodedSet(g1="euc_kr"), CodedSet(g1="iso8859_7")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"\x1b$B@b", "説"),
        (b"\x1b$@;3ED\x1b(B", "山田"),
        (b"\x1b$B@b  ", "説  "),
        (b"\x1b$B;3ED^\x1b$BB@O:", "山田^太郎"),
        (b"\x1b$B;3ED=\x1b(BDoe", "山田=Doe"),
        (b"\x1b$B;3ED\nDoe", "山田\nDoe"),
        (b"\x1b$B;3EDx", "山田x"),
        (b"\x1b$(D0!\x1b(B", b"\x8f\xb0\xa1".decode("euc_jp")),
        (b"\x1b)I\xd4\xcf^\xe9", "\uff94\uff8f^\xe9"),
        (b"\x1b)I\xd4\x1b$B;3\x1b(J\xcf", "\uff94山\uff8f"),
        (b"\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1", "张^小"),
        (b"\x1b-A\xe9\x1b-F\xe1=\xe9", "\xe9\u03b1=\xe9"),
        (b"\x1b$B-!\x1b(B", "\u2460"),  # row 13, a vendor's extension of JIS X 0208
        (b"\x1b$)C\xb0\xa1\x8c\x63", b"\xb0\xa1\x8c\x63".decode("cp949")),
        (b"\x1b%Gabc", "\x1b%Gabc"),
        (b"\x1b", "\x1b"),
        (b"\x1b$", "\x1b$"),
        (b"\x1b$B\x7f\x7f\x1b(B.", "\x7f\x7f."),
        (b"\x1b$B(b(b;3", "\N{REPLACEMENT CHARACTER}" * 2 + "山"),
    ],
)
def test_a_value_with_escape_sequences_is_read(value: bytes, text: str) -> None:
    assert decode(value, LATIN_1, NAME_ENDS) == text


def test_a_delimiter_within_a_pair_is_none() -> None:
    pair = "覆".encode("euc_jp")  # its bytes in JIS X 0208 are 4A 24
    assert decode(b"\x1b$B" + bytes(b & 0x7F for b in pair) + b"=^", LATIN_1, NAME_ENDS) == (
        "覆" + b"\xbd\xde".decode("euc_jp")
    )


@pytest.mark.parametrize(
    ("text", "first", "others", "value"),
    [
        ("山田^太郎", None, [JIS_X_0208], b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        ("山a", CodedSet(g1=KATAKANA), [JIS_X_0208], b"\x1b$B;3\x1b(Ja"),
        ("\uff94山", CodedSet(g1=KATAKANA), [JIS_X_0208], b"\xd4\x1b$B;3\x1b(J"),
        (
            "\uff94山\uff8f",
            CodedSet(g1=KATAKANA),
            [JIS_X_0208],
            b"\xd4\x1b$B;3\x1b(J\x1b)I\xcf",
        ),
        ("\xe9^Л^\xe9", CodedSet(g1=LATIN_1), [CYRILLIC], b"\xe9^\x1b-L\xbb^\xe9"),
        ("\xe9Л\xe9", CodedSet(g1=LATIN_1), [CYRILLIC], b"\xe9\x1b-L\xbb\x1b-A\xe9"),
        ("김^희", None, [KOREAN], b"\x1b$)C\xb1\xe8^\x1b$)C\xc8\xf1"),
    ],
)
def test_a_value_is_written_with_the_escape_sequences_it_needs(
    text: str, first: CodedSet | None, others: list[CodedSet], value: bytes
) -> None:
    assert encode(text, first, others, NAME_ENDS) == value


def test_a_character_that_no_set_has_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode("Ж", None, [KOREAN.__class__(g1="iso8859_7")], NAME_ENDS)


@settings(deadline=None)
@given(st.text(alphabet="aZ ^=\\\n~éüЛюαβ김희山田説\uff94丂", max_size=30))
def test_what_is_written_is_read_again(text: str) -> None:
    sets = [JIS_X_0208, CYRILLIC, GREEK, KOREAN, JIS_X_0212, CodedSet(g1=KATAKANA)]
    written = encode(text, CodedSet(g1=LATIN_1), sets, NAME_ENDS)
    assert decode(written, LATIN_1, NAME_ENDS) == text


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"\x1b$B", b"\x1b(B", b"\x1b$)C", b"\x1b)I", b"^", b"=", b"\xb1", b";3", b"a"]
        )
        | st.binary(max_size=4),
        max_size=20,
    )
)
def test_no_bytes_are_beyond_reading(pieces: list[bytes]) -> None:
    assert isinstance(decode(b"".join(pieces), "euc_kr", NAME_ENDS), str)


@pytest.mark.parametrize(
    "piece", [b"\x1b$B^", b"\x1b$B~~", b"\x1b-L\xbb^", b"\x1b", b"\x1b$B \xff!"]
)
def test_a_value_of_many_escape_sequences_takes_linear_time(piece: bytes) -> None:
    value = piece * (64 * 1024 // len(piece))
    begin = time.thread_time()
    decode(value, LATIN_1, NAME_ENDS)
    assert time.thread_time() - begin < 2.0


def test_a_vendors_extension_is_read_where_the_set_itself_has_no_such_bytes() -> None:
    assert decode_bytes(b"\x87\x40", KATAKANA) == "\u2460"
    assert decode_bytes(b"\xff", "iso8859_7") == "\N{REPLACEMENT CHARACTER}"

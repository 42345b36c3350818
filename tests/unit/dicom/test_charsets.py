import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_charset_files

from dimse_ingestion.dicom import charsets
from dimse_ingestion.dicom.elements import by_tag, element
from dimse_ingestion.dicom.encoder import SPECIFIC_CHARACTER_SET, encode, response_character_set
from dimse_ingestion.dicom.scanner import scan
from tests.storable import data_set_of

PATIENT_NAME = 0x00100010
FILES = [name for name in get_charset_files("*.dcm") if "SQEncoding" not in name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.rpartition("/")[2])
def test_a_name_comes_back_in_its_own_character_set(path: str) -> None:
    data_set = dcmread(path)
    name = str(data_set.PatientName)
    terms = data_set.SpecificCharacterSet
    stored = terms if isinstance(terms, str) else "\\".join(terms)
    answer = [element(PATIENT_NAME, "PN", name)]
    chosen = response_character_set(answer, stored)
    assert chosen in (stored, charsets.UTF_8)
    written = encode(answer, "1.2.840.10008.1.2.1", chosen)
    (_, read) = scan(written, "1.2.840.10008.1.2.1")
    assert read.value.rstrip("=") == name.rstrip("=")


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("山田^太郎", "\\ISO 2022 IR 87"),
        ("김희중", "\\ISO 2022 IR 149"),
        ("Люкceмбypг", "ISO_IR 144"),
        ("Διονυσιος", "ISO_IR 126"),
        ("قباني^لنزار", "ISO_IR 127"),
        ("שרון^דבורה", "ISO_IR 138"),
        ("王^小东", "GB18030"),
    ],
)
def test_the_stored_character_set_is_used_if_it_has_every_character(name: str, stored: str) -> None:
    assert response_character_set([element(PATIENT_NAME, "PN", name)], stored) == stored


@pytest.mark.parametrize("spelling", ["ISO_IR {}", "ISO 2022 IR {}", "ISO_IR_{}", "ISO-IR {}"])
@pytest.mark.parametrize(
    ("number", "codec", "name"),
    [
        (13, "shift_jis", "ﾔﾏﾀﾞ"),
        (100, "latin_1", "Äneas"),
        (101, "iso8859_2", "Čapek"),
        (109, "iso8859_3", "Ħaż"),
        (110, "iso8859_4", "Ķīlis"),
        (126, "iso8859_7", "Διονυσιος"),
        (127, "iso8859_6", "قباني"),
        (138, "iso8859_8", "שרון"),
        (144, "iso8859_5", "Люк"),
        (148, "iso8859_9", "Çavuşoğlu"),
        (166, "tis_620", "กมล"),
        (192, "utf_8", "山田"),
        (203, "iso8859_15", "Œuvrard"),
    ],
)
def test_each_single_term_is_read_however_it_is_spelt(
    number: int, codec: str, name: str, spelling: str
) -> None:
    term, value = spelling.format(number).encode(), name.encode(codec)
    data_set = b"".join(
        tag + vr + struct.pack("<H", len(each) + len(each) % 2) + each + b" " * (len(each) % 2)
        for tag, vr, each in (
            (b"\x08\0\x05\0", b"CS", term),
            (b"\x10\0\x10\0", b"PN", value),
        )
    )
    (_, read) = scan(data_set, "1.2.840.10008.1.2.1")
    assert read.value.rstrip(" =") == name


def test_utf_8_where_the_stored_character_set_lacks_a_character() -> None:
    mixed = [element(PATIENT_NAME, "PN", "山田"), element(PATIENT_NAME, "PN", "Διονυσιος")]
    assert response_character_set(mixed, "ISO_IR 126") == charsets.UTF_8


def test_no_character_set_for_ascii() -> None:
    assert response_character_set([element(PATIENT_NAME, "PN", "DOE^JANE")], "ISO_IR 100") == ""


@pytest.mark.parametrize(
    "terms",
    [
        "",
        "   ",
        "NONSENSE",
        "ISO_IR 999",
        "ISO_IR 100\\NONSENSE",
        "idna",
        "utf-16",
        "\0",
        "A" * 9999,
    ],
)
def test_unknown_terms_still_give_text(terms: str) -> None:
    assert charsets.decode(b"DOE^J\xe9", "PN", charsets.codecs(terms)).startswith("DOE^J")


@pytest.mark.parametrize(
    "path", get_charset_files("*.dcm"), ids=lambda path: path.rpartition("/")[2]
)
def test_all_text_of_a_file_is_pydicoms_and_can_be_written_again(path: str) -> None:
    theirs = dcmread(path)
    syntax = theirs.file_meta.TransferSyntaxUID
    mine = scan(data_set_of(Path(path)), syntax)
    texts = [each for each in mine if each.vr in ("PN", "LO", "SH", "LT", "ST", "UT") or each.items]
    stored = by_tag(mine)[SPECIFIC_CHARACTER_SET].value if "SQEnc" not in path else ""
    chosen = response_character_set(texts, stored)
    again = scan(encode(texts, syntax, chosen), syntax)
    names = [(each.tag, each.value) for each in texts if each.vr == "PN"]
    assert names == [(each.tag, each.value) for each in again if each.vr == "PN"]
    assert "\ufffd" not in "".join(value for _, value in names)
    for tag, value in names:
        expected = theirs[tag].value
        assert [each.rstrip("=") for each in value.split("\\")] == list(
            map(str, expected if theirs[tag].VM > 1 else [expected])
        )


@pytest.mark.parametrize(
    ("terms", "value", "text"),
    [
        ("ISO_IR 192", "Wang^XiaoDong=王^小东=", "Wang^XiaoDong=王^小东="),
        ("GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
        ("GBK", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
        (
            "\\ISO 2022 IR 58",
            b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
            "Zhang^XiaoDong=张^小东=",
        ),
        (
            "\\ISO 2022 IR 149",
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            "Hong^Gildong=洪^吉洞=홍^길동",
        ),
        (
            "\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        (
            "ISO 2022 IR 13\\ISO 2022 IR 87",
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        ),
    ],
)
def test_the_standards_own_examples(terms: str, value: bytes | str, text: str) -> None:
    """PS3.5 annexes H, I, J and K."""
    value = value.encode() if isinstance(value, str) else value
    codecs = charsets.codecs(terms)
    assert charsets.decode(value, "PN", codecs) == text
    assert charsets.can_encode(text, "PN", terms)
    assert charsets.decode(charsets.encode(text, "PN", terms), "PN", codecs) == text


def test_simplified_chinese_is_announced_in_each_component() -> None:
    written = charsets.encode("Zhang=张^小东", "PN", "\\ISO 2022 IR 58")
    assert written == b"Zhang=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab"


def test_each_component_begins_in_the_first_character_set_again() -> None:
    written = charsets.encode("山田^太郎", "PN", "\\ISO 2022 IR 87")
    assert written == b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_utf_8_carries_every_text(text: str) -> None:
    text = text.rstrip(" ")
    codecs = charsets.codecs(charsets.UTF_8)
    assert charsets.decode(charsets.encode(text, "LT", charsets.UTF_8), "LT", codecs) == text


@given(
    st.binary(max_size=40),
    st.sampled_from(["\\ISO 2022 IR 87", "GB18030", "\\ISO 2022 IR 149", ""]),
)
def test_no_bytes_are_beyond_reading(value: bytes, terms: str) -> None:
    assert isinstance(charsets.decode(value, "PN", charsets.codecs(terms)), str)


LATIN, KOREAN, CYRILLIC = "Müller", "김희중", "Люкceмбypг"


@pytest.mark.parametrize(
    ("written", "term", "codec", "text"),
    [
        ("ISO_IR_192", "ISO_IR 192", "utf-8", "山田"),
        ("ISO-IR 192", "ISO_IR 192", "utf-8", "山田"),
        ("iso_ir 192", "ISO_IR 192", "utf-8", "山田"),
        ("ISO IR 192", "ISO_IR 192", "utf-8", "山田"),
        ("ISOIR192", "ISO_IR 192", "utf-8", "山田"),
        ("ISO 2022 IR 192", "ISO_IR 192", "utf-8", "山田"),
        ("ISO_IR 192\\ISO 2022 IR 87", "ISO_IR 192", "utf-8", "山田"),
        ("UTF-8", "ISO_IR 192", "utf-8", "山田"),
        ("utf8\0", "ISO_IR 192", "utf-8", "山田"),
        ("gb18030", "GB18030", "gb18030", "王小东"),
        ("GB 18030", "GB18030", "gb18030", "王小东"),
        ("ISO 2022 GBK", "GBK", "gbk", "王小东"),
        ("gbk", "GBK", "gbk", "王小东"),
        ("GB2312", "\\ISO 2022 IR 58", "gb2312", "王小东"),
        ("ISO-IR 149", "\\ISO 2022 IR 149", "euc_kr", KOREAN),
        ("ISO_IR 149", "\\ISO 2022 IR 149", "euc_kr", KOREAN),
        ("ISO 2022 IR 149", "\\ISO 2022 IR 149", "euc_kr", KOREAN),
        ("\\ISO_2022_IR_149", "\\ISO 2022 IR 149", "euc_kr", KOREAN),
        ("euc-kr", "\\ISO 2022 IR 149", "euc_kr", KOREAN),
        ("ISO 2022 IR 6", "", "latin-1", LATIN),
        ("ISO_IR 6", "", "latin-1", LATIN),
        ("iso_ir_100", "ISO_IR 100", "latin-1", LATIN),
        ("ISO_IR100", "ISO_IR 100", "latin-1", LATIN),
        ("ISO 2022 IR 100", "ISO_IR 100", "latin-1", LATIN),
        ("ISO-8859-1", "ISO_IR 100", "latin-1", LATIN),
        ("ISO8859-5", "ISO_IR 144", "iso8859-5", CYRILLIC),
        ("ISO_IR  144", "ISO_IR 144", "iso8859-5", CYRILLIC),
        ("ISO_IR 203", "ISO_IR 203", "iso8859-15", "€URO^œ"),
        ("ISO-IR-203", "ISO_IR 203", "iso8859-15", "€URO^œ"),
        ("windows-1251", "", "cp1251", CYRILLIC),
        ("\\ISO_IR 192", "", "utf-8", "山田"),
        ("ISO_IR 100\\ISO_IR 192", "", "utf-8", "山田"),
        ("ISO_IR 100\\ISO_IR 192", "", "latin-1", LATIN),
    ],
)
def test_terms_are_understood_in_the_spellings_of_the_field(
    written: str, term: str, codec: str, text: str
) -> None:
    read = charsets.decode(text.encode(codec), "PN", charsets.codecs(written))
    assert read == text
    assert charsets.defined_terms(written) == term
    assert response_character_set([element(PATIENT_NAME, "PN", text)], written) in (
        term,
        charsets.UTF_8,
    )


@pytest.mark.parametrize(
    ("terms", "value", "text"),
    [
        ("ISO 2022 IR 6\\ISO 2022 IR 87", b"A^B=\x1b$B@b ", "A^B=説"),
        ("\\ISO 2022 IR 87", b"A^B=\x1b$B@b\x1b(J", "A^B=説"),
        ("\\ISO 2022 IR 87", b"A\x1b(JB^C", "AB^C"),
        ("ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "山田^太郎"),
        ("", b"\x1b$B;3ED\x1b(B", "山田"),
        ("ISO_IR 203", b"\xa4URO^\xbd", "€URO^œ"),
        ("\\ISO 2022 IR 203", b"\x1b-b\xa4URO^\x1b-b\xbd", "€URO^œ"),
        (
            "ISO 2022 IR 100\\ISO 2022 IR 144",
            b"M\xfcller^\x1b-L\xbb\xee^\xfc",
            "Müller^Лю^ü",
        ),
        ("\\ISO 2022 IR 149", b"\x1b$)C\xb1\xe8^\xc8\xf1\xc1\xdf", "김^희중"),
        ("ISO_IR 192", "山\x1b田".encode(), "山\x1b田"),
        ("GB18030", b"\xcd\xf5^\x81\x5c", "王^" + b"\x81\x5c".decode("gb18030")),
    ],
)
def test_text_is_read_as_the_field_writes_it(terms: str, value: bytes, text: str) -> None:
    assert charsets.decode(value, "PN", charsets.codecs(terms)) == text


def test_a_misspelt_term_is_answered_as_the_standard_spells_it() -> None:
    japanese = [element(PATIENT_NAME, "PN", "山田")]
    assert response_character_set(japanese, "ISO_2022_IR_6\\ISO_2022_IR_87") == (
        "ISO 2022 IR 6\\ISO 2022 IR 87"
    )


def test_what_no_named_set_has_is_written_as_a_question_mark() -> None:
    assert charsets.encode("Müller 山", "LO", "ISO_IR 100") == "Müller ?".encode("latin-1")
    assert charsets.encode("Ω", "LO", "\\ISO 2022 IR 144") == b"?"

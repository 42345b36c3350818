from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_charset_files

from dimse_ingestion.dicom import charsets
from dimse_ingestion.dicom.elements import by_tag, element
from dimse_ingestion.dicom.encoding import SPECIFIC_CHARACTER_SET, answer_character_set, encoded
from dimse_ingestion.dicom.scanning import scanned
from tests.storable import data_set_of

PATIENT_NAME = 0x00100010
FILES = [name for name in get_charset_files("*.dcm") if "SQEncoding" not in name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.rpartition("/")[2])
def test_a_name_comes_back_in_its_own_character_set(path):
    data_set = dcmread(path)
    name = str(data_set.PatientName)
    terms = data_set.SpecificCharacterSet
    stored = terms if isinstance(terms, str) else "\\".join(terms)
    answer = [element(PATIENT_NAME, "PN", name)]
    chosen = answer_character_set(answer, stored)
    assert chosen in (stored, charsets.UTF_8)
    written = encoded(answer, "1.2.840.10008.1.2.1", chosen)
    (_, read) = scanned(written, "1.2.840.10008.1.2.1")
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
def test_the_stored_character_set_is_kept_if_it_has_every_character(name, stored):
    assert answer_character_set([element(PATIENT_NAME, "PN", name)], stored) == stored


def test_utf_8_where_the_stored_character_set_lacks_a_character():
    mixed = [element(PATIENT_NAME, "PN", "山田"), element(PATIENT_NAME, "PN", "Διονυσιος")]
    assert answer_character_set(mixed, "ISO_IR 126") == charsets.UTF_8


def test_no_character_set_for_ascii():
    assert answer_character_set([element(PATIENT_NAME, "PN", "DOE^JANE")], "ISO_IR 100") == ""


@pytest.mark.parametrize("terms", ["", "   ", "NONSENSE", "ISO_IR 999", "ISO_IR 100\\NONSENSE"])
def test_unknown_terms_still_give_text(terms):
    assert charsets.decoded(b"DOE^J\xe9", "PN", charsets.codecs(terms)).startswith("DOE^J")


@pytest.mark.parametrize(
    "path", get_charset_files("*.dcm"), ids=lambda path: path.rpartition("/")[2]
)
def test_all_text_of_a_file_is_pydicoms_and_can_be_written_again(path):
    theirs = dcmread(path)
    syntax = theirs.file_meta.TransferSyntaxUID
    mine = scanned(data_set_of(Path(path)), syntax)
    texts = [each for each in mine if each.vr in ("PN", "LO", "SH", "LT", "ST", "UT") or each.items]
    stored = by_tag(mine)[SPECIFIC_CHARACTER_SET].value if "SQEnc" not in path else ""
    chosen = answer_character_set(texts, stored)
    again = scanned(encoded(texts, syntax, chosen), syntax)
    names = [(each.tag, each.value) for each in texts if each.vr == "PN"]
    assert names == [(each.tag, each.value) for each in again if each.vr == "PN"]
    assert "\ufffd" not in "".join(value for _, value in names)
    for tag, value in names:
        told = theirs[tag].value
        assert [each.rstrip("=") for each in value.split("\\")] == list(
            map(str, told if theirs[tag].VM > 1 else [told])
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
def test_the_standards_own_examples(terms, value, text):
    """PS3.5 annexes H, I, J and K."""
    value = value.encode() if isinstance(value, str) else value
    codecs = charsets.codecs(terms)
    assert charsets.decoded(value, "PN", codecs) == text
    assert charsets.can_write(text, "PN", terms)
    assert charsets.decoded(charsets.encoded(text, "PN", terms), "PN", codecs) == text


def test_simplified_chinese_is_announced_in_each_component():
    written = charsets.encoded("Zhang=张^小东", "PN", "\\ISO 2022 IR 58")
    assert written == b"Zhang=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab"


def test_each_component_begins_in_the_first_character_set_again():
    written = charsets.encoded("山田^太郎", "PN", "\\ISO 2022 IR 87")
    assert written == b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_utf_8_carries_every_text(text):
    text = text.rstrip(" ")
    codecs = charsets.codecs(charsets.UTF_8)
    assert charsets.decoded(charsets.encoded(text, "LT", charsets.UTF_8), "LT", codecs) == text


@given(
    st.binary(max_size=40),
    st.sampled_from(["\\ISO 2022 IR 87", "GB18030", "\\ISO 2022 IR 149", ""]),
)
def test_no_bytes_are_beyond_reading(value, terms):
    assert isinstance(charsets.decoded(value, "PN", charsets.codecs(terms)), str)

import pytest
from pydicom import dcmread
from pydicom.data import get_charset_files

from dimse_ingestion.dicom import charsets
from dimse_ingestion.dicom.elements import element
from dimse_ingestion.dicom.encoding import answer_character_set, encoded
from dimse_ingestion.dicom.scanning import scanned

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

from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.encoder import encode
from dimse_ingestion.dicom.scanner import scan
from dimse_ingestion.dicom.uids import IDENTIFIER_SYNTAXES

PLAIN = st.text(alphabet="ABCdef 0123", max_size=16).map(str.strip)
ANSWER = st.fixed_dictionaries(
    {
        (0x00080020, "DA"): st.sampled_from(["", "20200131"]),
        (0x00080061, "CS"): st.sampled_from(["", "CT", "CT\\MR"]),
        (0x00100010, "PN"): PLAIN,
        (0x00100020, "LO"): PLAIN,
        (0x0020000D, "UI"): st.sampled_from(["1.2.3", "1.2.34"]),
        (0x00200013, "IS"): st.integers(0, 10**6).map(str),
        (0x00280009, "AT"): st.just("00181063"),
        (0x00280010, "US"): st.integers(0, 65535).map(str),
    }
)


@settings(max_examples=60, deadline=None)
@given(ANSWER, st.sampled_from(sorted(IDENTIFIER_SYNTAXES)))
def test_what_is_written_is_read_again(answer: dict[tuple[int, str], str], syntax: str) -> None:
    elements = [element(tag, vr, value) for (tag, vr), value in sorted(answer.items())]
    assert scan(encode(elements, syntax), syntax) == elements


@pytest.mark.parametrize("syntax", sorted(IDENTIFIER_SYNTAXES))
def test_sequences_are_written_with_their_items(syntax: str) -> None:
    item = [element(0x00080100, "SH", "CODE"), element(0x00080104, "LO", "Meaning")]
    sequence = Element("0008", "1032", "SQ", items=[item, item])
    assert scan(encode([sequence], syntax), syntax) == [sequence]


def test_a_transfer_syntax_that_encapsulates_is_refused() -> None:
    with pytest.raises(ValueError, match="identifier"):
        encode([], "1.2.840.10008.1.2.4.50")


@pytest.mark.parametrize(("vr", "value"), [("US", "many"), ("US", "70000"), ("AT", "none")])
def test_a_value_that_is_not_what_its_vr_says_is_refused(vr: str, value: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode([element(0x00280010, vr, value)], "1.2.840.10008.1.2.1")


@pytest.mark.parametrize("syntax", sorted(IDENTIFIER_SYNTAXES))
def test_binary_values_are_written_in_the_byte_order_of_the_transfer_syntax(syntax: str) -> None:
    words = Element("0028", "1201", "OW", inline_binary=b64encode(b"\x02\x01\x04\x03").decode())
    written = encode([words], syntax)
    assert scan(written, syntax) == [words]
    if syntax == "1.2.840.10008.1.2.2":
        assert written.endswith(b"\x01\x02\x03\x04")

"""Long JSON of elements is refused for the same reasons as short, and leaves as we encode it."""

import json

import msgspec
import pytest

from dimse_ingestion.dicom import element_json
from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.raw_items import LONG, RawElement, RawItems, encoder
from dimse_ingestion.dicom.raw_validation import validate

CODE = 0x00080100
RAW = msgspec.json.Decoder(list[RawElement])
MANY = [[element(CODE, "SH", 'A "\\é"')]] * 5000


def sequence(*items: list[Element]) -> Element:
    return Element("0008", "1140", "SQ", items=[*items])


def nested(levels: int, *, within: Element) -> Element:
    for _ in range(levels):
        within = sequence([within])
    return within


VALID = [
    [element(0x00100010, "PN", "Doe^Jane"), sequence(*MANY, [], [sequence([], *MANY)])],
    [sequence([element(CODE, "LT", "a" * LONG)], [])],
    [sequence(*MANY), sequence([]), Element("0008", "1115", "SQ", items=[])],
    [nested(40, within=sequence(*MANY))],
    [Element("0009", "1001", "OB", inline_binary="AAE=")],
]


@pytest.mark.parametrize("elements", VALID)
def test_valid_elements_have_the_same_json(elements: list[Element]) -> None:
    encoded = msgspec.json.encode(elements)
    assert encoder.encode(validate(RAW.decode(encoded))) == encoded
    spaced = json.dumps(json.loads(encoded), indent=1).encode()
    assert encoder.encode(validate(RAW.decode(spaced))) == encoded


def test_only_items_of_long_sequences_stay_json() -> None:
    short, long, none = sequence([]), sequence(*MANY), element(CODE, "SH", "A")
    validated = validate(RAW.decode(msgspec.json.encode([short, long, none])))
    assert validated[::2] == [short, none]
    assert isinstance(validated[1].items, RawItems)
    assert list(validated[1].items) == long.items


def test_fields_and_nulls_that_we_would_not_write_are_left_out() -> None:
    items = msgspec.json.encode(MANY)[1:-1]
    body = (
        b'[{"group":"0008","element":"1140","vr":"SQ","items":null,"more":1},'
        b'{"group":"0008","element":"1140","vr":"SQ","items":[' + items + b',[{"group":"0008",'
        b'"element":"0100","vr":"SH","value":"","items":null,"more":[{}]}]]}]'
    )
    expected = [Element("0008", "1140", "SQ"), sequence(*MANY, [element(CODE, "SH")])]
    assert encoder.encode(validate(RAW.decode(body))) == msgspec.json.encode(expected)


INVALID = {
    "tag": [sequence(*MANY, [Element("zz", "0100", "SH")])],
    "tag within": [sequence(*MANY, [sequence([Element("zz", "0100", "SH")], *MANY)])],
    "VR of the sequence": [Element("0008", "1140", "sq", items=MANY)],
    "base64": [sequence(*MANY, [Element("0009", "1001", "OB", inline_binary="A")])],
    "levels": [nested(70, within=sequence(*MANY))],
    "levels in short items": [sequence(*MANY, [nested(70, within=element(CODE, "SH"))])],
}


@pytest.mark.parametrize("which", INVALID)
def test_invalid_elements_are_refused(which: str) -> None:
    raw = RAW.decode(msgspec.json.encode(INVALID[which]))
    with pytest.raises(ValueError, match=r"invalid|base64|deeper") as refused:
        validate(raw)
    with pytest.raises(ValueError, match=r"invalid|base64|deeper") as expected:
        element_json.check(INVALID[which])
    assert str(refused.value) == str(expected.value)


@pytest.mark.parametrize(
    "wrong",
    [b"[{}]", b'["A"]', b"{}", b'[{"group":1}]', b'[{"group":"\\ud800"}]', b'[{"group":"\xff"}]'],
)
def test_json_that_has_no_elements_is_refused(wrong: bytes) -> None:
    items = msgspec.json.encode(MANY)[:-1] + b"," + wrong + b"]"
    body = b'[{"group":"0008","element":"1140","vr":"SQ","items":' + items + b"}]"
    with pytest.raises(ValueError, match=r"required field|Expected|malformed JSON"):
        decode_and_validate(body)


def decode_and_validate(body: bytes) -> list[Element]:
    raw: list[RawElement] = element_json.decode(RAW, body, 100_000)
    return validate(raw)

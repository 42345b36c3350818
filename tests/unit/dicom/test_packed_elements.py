"""Packed elements are the same as decoded ones: their JSON, their items and what they match."""

import msgspec
import pytest

from dimse_ingestion.dicom.elements import Element, by_tag, element
from dimse_ingestion.dicom.matching import predicate
from dimse_ingestion.dicom.packed_elements import PACKED_FROM, PackedElement, decode_elements

CODE = 0x00080100
NESTED = Element("0040", "0275", "SQ", items=[[], [element(CODE, "SH", 'deep "é" []{},\\')]])
ITEMS = [*([[element(CODE, "SH", "A")]] * 2000), [NESTED, element(CODE, "SH", "last")], []]
ELEMENTS = [
    element(0x00080005, "CS"),
    Element("0008", "1140", "SQ", items=ITEMS),
    Element("0008", "1115", "SQ", items=[]),
    Element("0009", "1001", "OB", inline_binary="AAE="),
    element(0x00100010, "PN", "Doe^Jane"),
]
JSON = msgspec.json.encode(ELEMENTS)


def test_long_json_is_packed_and_encoded_as_it_was() -> None:
    assert len(JSON) > PACKED_FROM
    packed = decode_elements(JSON)
    assert all(isinstance(each, PackedElement) for each in packed)
    assert msgspec.json.encode(packed) == JSON


def test_short_json_is_decoded() -> None:
    assert decode_elements(msgspec.json.encode(ELEMENTS[-1:])) == ELEMENTS[-1:]


@pytest.mark.parametrize("place", range(len(ELEMENTS)))
def test_a_packed_element_has_what_the_element_has(place: int) -> None:
    packed, plain = decode_elements(JSON)[place], ELEMENTS[place]
    assert packed.items == plain.items
    assert list(packed.each_item()) == list(plain.each_item())
    assert (packed.tag, packed.vr, packed.values) == (plain.tag, plain.vr, plain.values)
    assert packed.inline_binary == plain.inline_binary


@pytest.mark.parametrize(
    ("key", "is_match"),
    [
        (element(CODE, "SH", "last"), True),
        (element(CODE, "SH", "B"), False),
        (Element("0040", "0275", "SQ", items=[[element(CODE, "SH", "deep*")]]), True),
        (Element("0040", "0275", "SQ", items=[[element(CODE, "SH", "last")]]), False),
    ],
)
def test_a_key_matches_within_packed_items_as_within_items(key: Element, *, is_match: bool) -> None:
    matches = predicate([Element("0008", "1140", "SQ", items=[[key]])])
    assert matches(by_tag(decode_elements(JSON))) == matches(by_tag(ELEMENTS)) == is_match

import msgspec
import pytest

from dimse_ingestion.dicom.elements import BulkReference, Element, by_tag, element, is_large
from dimse_ingestion.dicom.matching import predicate
from dimse_ingestion.dicom.raw_items import RawItems, decode_elements, encoder
from dimse_ingestion.failures import Unavailable

CODE = element(0x00080100, "SH", "Ünal")
BULK = Element("0042", "0011", "OB", bulk=BulkReference(1, 9, (0, 8)))
ITEMS = [[CODE], [], [BULK, Element("0008", "0102", "UN", inline_binary="AA==")]] * 1000
WITHIN = Element("0008", "1140", "SQ", items=ITEMS)
ELEMENTS = [
    element(0x00080005, "CS", "ISO_IR 192"),
    WITHIN,
    Element("0008", "1199", "SQ", items=[[CODE]]),
    Element("0008", "1200", "SQ", items=[]),
    Element("5200", "9230", "SQ", items=[[CODE, WITHIN]]),
    BULK,
]


def test_elements_are_the_same_whether_their_items_are_decoded_or_not() -> None:
    json = msgspec.json.encode(ELEMENTS)
    for data in (json, bytearray(json), msgspec.Raw(json)):
        assert decode_elements(data) == ELEMENTS
    assert decode_elements(msgspec.json.encode(ELEMENTS[2:4])) == ELEMENTS[2:4]


def test_elements_are_encoded_as_they_were() -> None:
    json = msgspec.json.encode(ELEMENTS)
    assert encoder.encode(decode_elements(json)) == json


@pytest.mark.parametrize(
    ("key", "is_match"),
    [
        (element(0x00080100, "SH", "last"), True),
        (element(0x00080100, "SH", "B"), False),
        (Element("0040", "0275", "SQ", items=[[element(0x00080100, "SH", "deep*")]]), True),
        (Element("0040", "0275", "SQ", items=[[element(0x00080100, "SH", "last")]]), False),
    ],
)
def test_a_key_matches_items_whether_they_are_decoded_or_not(key: Element, is_match: bool) -> None:
    deep = Element("0040", "0275", "SQ", items=[[], [element(0x00080100, "SH", 'deep "é" {},\\')]])
    items = [*([[CODE]] * 2000), [deep, element(0x00080100, "SH", "last")], []]
    stored = [Element("0008", "1140", "SQ", items=items)]
    raw = decode_elements(msgspec.json.encode(stored))
    assert isinstance(raw[0].items, RawItems)
    matches = predicate([Element("0008", "1140", "SQ", items=[[key]])])
    assert matches(by_tag(raw)) == matches(by_tag(stored)) == is_match


def test_items_of_long_sequences_stay_json_at_every_depth() -> None:
    read = decode_elements(msgspec.json.encode(ELEMENTS))
    assert [type(each.items) for each in read] == [
        *(type(None), RawItems, list),
        *(list, RawItems, type(None)),
    ]
    outer = read[4].items
    assert outer is not None
    assert isinstance(outer[0][1].items, RawItems)


def test_items_are_read_like_those_of_a_list() -> None:
    items = decode_elements(msgspec.json.encode(ELEMENTS))[1].items
    assert items
    assert (len(items), items[0], items[2:4]) == (3000, ITEMS[0], ITEMS[2:4])
    assert [*items] == ITEMS
    assert items == ITEMS
    assert items != ITEMS[1:]
    assert is_large([Element("0008", "1140", "SQ", items=items)])


@pytest.mark.parametrize("item", [b"1", b'[{"group":1}]', b'[{"group":"\xff"}]'])
def test_what_is_no_item_is_noticed_when_it_is_read(item: bytes) -> None:
    items = b",".join([b"[]"] * 40_000 + [item])
    json = b'[{"group":"0008","element":"1140","vr":"SQ","items":[%s]}]' % items
    read = decode_elements(json)[0].items
    assert read is not None
    with pytest.raises(Unavailable, match="malformed"):
        list(read)

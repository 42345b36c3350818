"""Elements that are cached by their bytes must mean the same in every data set."""

import struct

import pytest

from dimse_ingestion.dicom import short_elements
from dimse_ingestion.dicom.scanner import scan
from dimse_ingestion.dicom.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN


def encoded(tag: int, vr: str, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def values(*elements: bytes, transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN) -> list[str]:
    return [each.value for each in scan(b"".join(elements), transfer_syntax_uid)]


@pytest.fixture(autouse=True)
def decoded_elements(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, object]:
    """Begin without elements of other tests, and return those that are cached in little endian."""
    cached: dict[bytes, object] = {}
    monkeypatch.setattr(short_elements, "_decoded", {"<": cached, ">": {}})
    return cached


NAME = encoded(0x00100010, "PN", b"Bench^P1")
PADDING = encoded(0x00200013, "IS", b"1 ") * 2  # a value is short only where 12 bytes follow it


def test_the_same_bytes_are_decoded_once(decoded_elements: dict[bytes, object]) -> None:
    first, again = (scan(NAME + PADDING, EXPLICIT_VR_LITTLE_ENDIAN) for _ in range(2))
    assert NAME in decoded_elements
    assert first == again
    assert first[0] is again[0]


def test_a_value_is_decoded_in_the_character_set_of_its_own_data_set() -> None:
    name = encoded(0x00100010, "PN", b"M\xfcller^A ")
    sets = (b"ISO_IR 100", b"ISO_IR 144") * 2
    decoded = [values(encoded(0x00080005, "CS", each), name, PADDING)[1] for each in sets]
    assert decoded == ["Müller^A", "Mќller^A"] * 2


def test_text_with_code_extensions_is_decoded_each_time(
    decoded_elements: dict[bytes, object],
) -> None:
    sets = encoded(0x00080005, "CS", b"ISO 2022 IR 6\\ISO 2022 IR 87 ")
    name = encoded(0x00100010, "PN", b"\x1b$B;3ED\x1b(B^")
    assert values(sets, name, PADDING)[1] == "山田^"
    assert name not in decoded_elements


def test_numbers_of_one_byte_order_are_not_those_of_the_other() -> None:
    little, big = EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN
    rows = struct.pack("<HH", 0x0028, 0x0010) + b"US"
    assert values(rows + b"\x02\0\x01\x02", PADDING, transfer_syntax_uid=little)[0] == "513"
    swapped = encoded(0x00280010, "US", b"\x01\x02", ">")
    padding = encoded(0x00200013, "IS", b"1 ", ">") * 2
    assert values(swapped, padding, transfer_syntax_uid=big)[0] == "258"
    # bytes that are an element in either byte order: group 0x0808, two bytes in little endian
    either = b"\x08\x08\x01\x01US\x02\0\x01\x02"
    assert values(either, PADDING)[0] == "513"
    assert values(b"\x08\x08\x01\x01US\0\x02\x01\x02", padding, transfer_syntax_uid=big)[0] == "258"


def test_a_repeated_tag_is_still_a_duplicate() -> None:
    assert values(NAME, NAME, encoded(0x00100020, "LO", b"ID"), PADDING)[:2] == ["Bench^P1", "ID"]


def test_the_number_of_elements_that_are_kept_is_bounded(
    decoded_elements: dict[bytes, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_elements, "_MOST_CACHED", 10)
    for number in range(100):
        element = encoded(0x00200011, "IS", f"{number:04}".encode())
        assert values(element, PADDING)[0] == f"{number:04}"
        assert len(decoded_elements) <= 10
    long = encoded(0x00100020, "LO", b"1" * 100)
    assert values(long, PADDING)[0] == "1" * 100
    assert long not in decoded_elements

"""Value representations (PS3.5 section 6.2): tables, VRs of tags, and binary numbers as text.

`charsets` converts text.
"""

import struct
from functools import lru_cache

from dimse_ingestion.dicom.data_dictionary import attribute

LONG_LENGTH = frozenset(
    ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]
)
"""VRs whose explicit length has 32 bits (PS3.5 7.1.2)."""

TEXT = frozenset(
    [
        "AE",
        "AS",
        "CS",
        "DA",
        "DS",
        "DT",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "ST",
        "TM",
        "UC",
        "UI",
        "UR",
        "UT",
    ]
)
SINGLE_VALUED = frozenset({"LT", "ST", "UR", "UT"})
"""VRs of text with a single value, in which a backslash is a character."""

NUMBERS = {
    "US": "H",
    "SS": "h",
    "UL": "I",
    "SL": "i",
    "UV": "Q",
    "SV": "q",
    "FL": "f",
    "FD": "d",
}
"""VRs of binary numbers and their struct formats."""

SHORT_LENGTH = (TEXT | frozenset(NUMBERS) | {"AT"}) - LONG_LENGTH
"""VRs whose explicit length has 16 bits (PS3.5 7.1.2)."""

_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_WORDS |= {vr: struct.calcsize(f"<{code}") for vr, code in NUMBERS.items()} | {"AT": 2}

_AMBIGUOUS = {
    "US or SS": ("US", "SS"),
    "OB or OW": ("OW", "OW"),
    "US or OW": ("OW", "OW"),
    "US or SS or OW": ("OW", "OW"),
}
"""Ambiguous VR in PS3.6 → (for unsigned pixels, for signed pixels)."""


@lru_cache(maxsize=8192)
def vr_of(tag: int, *, signed: bool = False) -> str:
    """Return the VR of a tag by PS3.6, or UN for an unknown tag.

    `signed` is whether Pixel Representation (0028,0103) is 1.
    """
    if tag & 0xFFFF == 0:
        return "UL"
    if (tag >> 16) & 1:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    standard = attribute(tag)
    if standard is None:
        return "UN"
    unsigned_and_signed = _AMBIGUOUS.get(standard.vr)
    return unsigned_and_signed[signed] if unsigned_and_signed else standard.vr


def numbers_as_text(value: bytes, vr: str, order: str) -> str:
    """Convert binary numbers to decimal, joined by a backslash; `order` is `<` or `>`."""
    code = NUMBERS[vr]
    count = len(value) // struct.calcsize(f"{order}{code}")
    numbers = struct.unpack_from(f"{order}{count}{code}", value)
    return "\\".join(map(repr if vr in ("FL", "FD") else str, numbers))


def tags_as_text(value: bytes, order: str) -> str:
    """Convert AT values to eight hexadecimal digits each, joined by a backslash."""
    halves = struct.unpack_from(f"{order}{len(value) // 4 * 2}H", value)
    pairs = zip(halves[::2], halves[1::2], strict=True)
    return "\\".join(f"{group:04X}{element:04X}" for group, element in pairs)


def text_as_numbers(value: str, vr: str, order: str) -> bytes:
    """Convert decimal numbers to binary; raises ValueError for a number that does not fit."""
    read = float if vr in ("FL", "FD") else int
    try:
        return b"".join(struct.pack(order + NUMBERS[vr], read(n)) for n in value.split("\\"))
    except (struct.error, OverflowError) as mistake:
        raise ValueError(str(mistake)) from mistake


def text_as_tags(value: str, order: str) -> bytes:
    """Convert hexadecimal tags to AT values; raises ValueError."""
    tags = [int(one, 16) for one in value.split("\\")]
    return b"".join(struct.pack(f"{order}HH", tag >> 16 & 0xFFFF, tag & 0xFFFF) for tag in tags)


def little_endian(value: bytes, vr: str) -> bytes:
    """Return a big-endian value of whole words in little endian (PS3.5 7.3)."""
    return in_byte_order(value, vr, ">")


def in_byte_order(value: bytes, vr: str, order: str) -> bytes:
    """Return a value of whole words in little endian from struct's `order`, or the reverse.

    Only VRs of words longer than one byte differ: OB and UN have none (PS3.5 7.3).
    """
    size = _WORDS.get(vr, 1)
    if size == 1 or order == "<":
        return value
    swapped = bytearray(value)
    whole = len(value) // size * size
    for place in range(size):
        swapped[place:whole:size] = value[size - 1 - place : whole : size]
    return bytes(swapped)

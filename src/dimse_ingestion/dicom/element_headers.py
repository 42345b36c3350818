"""Element headers: tag, VR and length in each transfer syntax (PS3.5 section 7.1).

They are read from bytes as they arrive; `parser` reads the values.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom import value_representations as representations
from dimse_ingestion.dicom.byte_feed import ByteFeed
from dimse_ingestion.dicom.elements import BulkReference, Element

ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
_DELIMITERS = 0xFFFE
_UNDEFINED = 0xFFFFFFFF
SHORTEST = 8
LONGEST = 12
"""Minimum and maximum bytes of a header."""

_SHORT_VRS = {vr.encode(): vr for vr in representations.SHORT_LENGTH}
_LONG_VRS = {vr.encode(): vr for vr in representations.LONG_LENGTH}
_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
DATA_SET_TRAILING_PADDING = 0xFFFCFFFC
DECIDED_BY_TAG = _PIXEL_DATA | {DATA_SET_TRAILING_PADDING}
"""The tags of values that are referred to or skipped, whatever VR and length are written."""


@dataclass(frozen=True, slots=True)
class Syntax:
    """The encoding of elements; `order` is struct's `<` or `>`."""

    explicit: bool
    order: str
    tag_and_length: struct.Struct
    tag_vr_and_length: struct.Struct
    """With a length of 16 bits."""
    short_length: struct.Struct
    long_length: struct.Struct


def _layout(order: str, *, explicit: bool) -> Syntax:
    layouts = (struct.Struct(order + fields) for fields in ("HHI", "HH2sH", "H", "I"))
    return Syntax(explicit, order, *layouts)


IMPLICIT_LITTLE = _layout("<", explicit=False)
_EXPLICIT_LITTLE = _layout("<", explicit=True)
_EXPLICIT_BIG = _layout(">", explicit=True)


def syntax_of(transfer_syntax_uid: str) -> Syntax:
    """Return a transfer syntax's encoding; all but two use explicit VR little endian (PS3.5 A)."""
    named = {
        uids.IMPLICIT_VR_LITTLE_ENDIAN: IMPLICIT_LITTLE,
        uids.EXPLICIT_VR_BIG_ENDIAN: _EXPLICIT_BIG,
    }
    return named.get(transfer_syntax_uid, _EXPLICIT_LITTLE)


class Header(NamedTuple):
    """The header of an element; `length` in bytes."""

    tag: int
    vr: str
    length: int

    @property
    def is_undefined(self) -> bool:
        """Return whether the value ends at a delimiter."""
        return self.length == _UNDEFINED

    @property
    def is_pixel_data(self) -> bool:
        """Return whether this is Pixel Data, Float Pixel Data or Double Float Pixel Data."""
        return self.tag in _PIXEL_DATA

    @property
    def is_delimiter(self) -> bool:
        """Return whether this is the start or end of an item, or the end of a sequence."""
        return self.tag >> 16 == 0xFFFE

    def element(self, value: str = "") -> Element:
        """Return the element with a text value."""
        group, number = digits(self.tag)
        return Element(group, number, self.vr, value)

    def sequence(self, items: list[list[Element]]) -> Element:
        """Return the element with items."""
        group, number = digits(self.tag)
        return Element(group, number, "SQ", items=items)

    def binary(self, base64: str) -> Element:
        """Return the element with a short binary value."""
        group, number = digits(self.tag)
        return Element(group, number, self.vr, inline_binary=base64)

    def reference(self, begin: int, end: int) -> Element:
        """Return the element whose value is between two offsets of the data set."""
        return self.referring(BulkReference(begin, end - begin))

    def referring(self, bulk: BulkReference) -> Element:
        """Return the element with a reference to its value."""
        group, number = digits(self.tag)
        return Element(group, number, self.vr, bulk=bulk)


@lru_cache(maxsize=8192)
def digits(tag: int) -> tuple[str, str]:
    """Return group and element number of a tag as four hexadecimal digits each."""
    return f"{tag >> 16:04X}", f"{tag & 0xFFFF:04X}"


def read_available(source: ByteFeed, syntax: Syntax, *, signed: bool) -> Header:
    """Return the next header, all of whose bytes must be available.

    `signed` decides VRs that depend on Pixel Representation, in implicit VR.
    """
    buffer, start = source.buffer, source.start
    if not syntax.explicit:
        return _of_tag(source, syntax, signed=signed)
    group, number, written, length = syntax.tag_vr_and_length.unpack_from(buffer, start)
    if group == _DELIMITERS:
        return _of_tag(source, syntax, signed=signed)
    tag = group << 16 | number
    if vr := _SHORT_VRS.get(written):
        source.start = start + SHORTEST
        source.offset += SHORTEST
        return Header(tag, vr, length)
    if vr := _LONG_VRS.get(written):
        (length,) = syntax.long_length.unpack_from(buffer, start + SHORTEST)
        source.advance(LONGEST)
        return Header(tag, vr, length)
    return _of_unknown_vr(source, syntax, tag, bytes(buffer[start + 4 : start + 8]), signed=signed)


def _of_tag(source: ByteFeed, syntax: Syntax, *, signed: bool) -> Header:
    """Return a header without a written VR; the VR follows from the tag."""
    group, number, length = syntax.tag_and_length.unpack_from(source.buffer, source.start)
    source.advance(SHORTEST)
    tag = group << 16 | number
    vr = "" if group == _DELIMITERS else representations.vr_of(tag, signed=signed)
    return Header(tag, vr, length)


def _of_unknown_vr(
    source: ByteFeed, syntax: Syntax, tag: int, written: bytes, *, signed: bool
) -> Header:
    """Return a header with an unknown VR; the VR follows from the tag.

    Two capital letters are a VR of a future edition: its length has 32 bits (PS3.5 7.1.2), unless
    the reserved bytes hold a length of 16 bits. Other text (`??`, `--`, blanks) comes from senders
    that don't know the VR, with a length of 16 bits. Other bytes are a length of 32 bits, from
    writers that omitted the VR.
    """
    start = source.start
    if _is_long_by_unknown_vr(written):
        (length,) = syntax.long_length.unpack_from(source.buffer, start + SHORTEST)
        source.advance(LONGEST)
    elif _is_placeholder(written):
        length = syntax.tag_vr_and_length.unpack_from(source.buffer, start)[3]
        source.advance(SHORTEST)
    else:
        return _of_tag(source, syntax, signed=signed)
    vr = representations.vr_of(tag, signed=signed)
    return Header(tag, "UN" if vr == "SQ" else vr, length)


def is_long(source: ByteFeed, syntax: Syntax) -> bool:
    """Return whether the header whose first 8 bytes are available has 12 bytes."""
    start = source.start
    if not syntax.explicit or syntax.tag_and_length.unpack_from(source.buffer, start)[0] == (
        _DELIMITERS
    ):
        return False
    written = bytes(source.buffer[start + 4 : start + 8])
    return written[:2] in _LONG_VRS or (
        written[:2] not in _SHORT_VRS and _is_long_by_unknown_vr(written)
    )


def _is_long_by_unknown_vr(written: bytes) -> bool:
    return _is_capital(written[:2]) and written[2:] == b"\0\0"


def _is_capital(vr: bytes) -> bool:
    return vr.isalpha() and vr.isupper()


def _is_placeholder(written: bytes) -> bool:
    """Return whether text, or NULs before a length, are in the place of a VR."""
    vr, length = written[:2], written[2:]
    return all(0x20 <= byte < 0x7F for byte in vr) or (vr == b"\0\0" and length != b"\0\0")

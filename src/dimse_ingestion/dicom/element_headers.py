"""Tag, VR and length, as each transfer syntax writes them before a value (PS3.5 section 7.1).

Read from bytes as they arrive. What the value means is `scanning`'s matter.
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
"""Bytes of a header, at the least and the most."""

_SHORT_VRS = {vr.encode(): vr for vr in representations.SHORT_LENGTH}
_LONG_VRS = {vr.encode(): vr for vr in representations.LONG_LENGTH}
_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})


@dataclass(frozen=True, slots=True)
class Syntax:
    """How elements are written; `order` is struct's `<` or `>`."""

    explicit: bool
    order: str
    tag_and_length: struct.Struct
    tag_vr_and_length: struct.Struct
    """With a length of 16 bits."""
    long_length: struct.Struct


def _layout(order: str, *, explicit: bool) -> Syntax:
    layouts = (struct.Struct(order + fields) for fields in ("HHI", "HH2sH", "I"))
    return Syntax(explicit, order, *layouts)


IMPLICIT_LITTLE = _layout("<", explicit=False)
_EXPLICIT_LITTLE = _layout("<", explicit=True)
_EXPLICIT_BIG = _layout(">", explicit=True)


def syntax_of(transfer_syntax_uid: str) -> Syntax:
    """What a transfer syntax writes; all but two write explicit VR little endian (PS3.5 A)."""
    named = {
        uids.IMPLICIT_VR_LITTLE_ENDIAN: IMPLICIT_LITTLE,
        uids.EXPLICIT_VR_BIG_ENDIAN: _EXPLICIT_BIG,
    }
    return named.get(transfer_syntax_uid, _EXPLICIT_LITTLE)


class Header(NamedTuple):
    """What stands before a value; `length` in bytes."""

    tag: int
    vr: str
    length: int

    @property
    def is_undefined(self) -> bool:
        """Whether a delimiter ends the value."""
        return self.length == _UNDEFINED

    @property
    def is_pixel_data(self) -> bool:
        """Pixel Data, Float Pixel Data or Double Float Pixel Data."""
        return self.tag in _PIXEL_DATA

    @property
    def is_delimiter(self) -> bool:
        """Whether this begins or ends an item, or ends a sequence."""
        return self.tag >> 16 == 0xFFFE

    def element(self, value: str = "") -> Element:
        """The element with a text value."""
        group, number = _digits(self.tag)
        return Element(group, number, self.vr, value)

    def sequence(self, items: list[list[Element]]) -> Element:
        """The element with items."""
        group, number = _digits(self.tag)
        return Element(group, number, "SQ", items=items)

    def binary(self, base64: str) -> Element:
        """The element with a short binary value."""
        group, number = _digits(self.tag)
        return Element(group, number, self.vr, inline_binary=base64)

    def reference(self, begin: int, end: int) -> Element:
        """The element whose value stands between two offsets of the data set."""
        return self.referring(BulkReference(begin, end - begin))

    def referring(self, bulk: BulkReference) -> Element:
        """The element whose value stands elsewhere."""
        group, number = _digits(self.tag)
        return Element(group, number, self.vr, bulk=bulk)


@lru_cache(maxsize=8192)
def _digits(tag: int) -> tuple[str, str]:
    return f"{tag >> 16:04X}", f"{tag & 0xFFFF:04X}"


def read_available(source: ByteFeed, syntax: Syntax, *, signed: bool) -> Header:
    """Return the next header, of which all bytes have come.

    `signed` settles VRs that depend on Pixel Representation, where none is written.
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
    """Return a header without a VR, of the VR that its tag has."""
    group, number, length = syntax.tag_and_length.unpack_from(source.buffer, source.start)
    source.advance(SHORTEST)
    tag = group << 16 | number
    vr = "" if group == _DELIMITERS else representations.vr_of(tag, signed=signed)
    return Header(tag, vr, length)


def _of_unknown_vr(
    source: ByteFeed, syntax: Syntax, tag: int, written: bytes, *, signed: bool
) -> Header:
    """Return a header whose VR no edition of PS3.5 has, of the VR that its tag has.

    One of capital letters is of an edition yet to come: its length has 32 bits (PS3.5 7.1.2),
    unless bytes that are reserved there hold one of 16. Others (`??`, `--`, blanks) come from
    senders that know no VR, with a length of 16 bits; bytes that are no text are a length of 32
    bits, from writers that forgot the VR.
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
    """Return whether the header whose first 8 bytes have come has 12."""
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
    """Whether text, or NULs before a length, stand where a VR should."""
    vr, length = written[:2], written[2:]
    return all(0x20 <= byte < 0x7F for byte in vr) or (vr == b"\0\0" and length != b"\0\0")

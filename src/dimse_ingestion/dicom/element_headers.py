"""Tag, VR and length, as each transfer syntax writes them before a value (PS3.5 section 7.1).

Read from bytes as they arrive. What the value means is `scanning`'s matter.
"""

import struct
from collections.abc import Generator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom import value_representations as representations
from dimse_ingestion.dicom.arriving import Arriving
from dimse_ingestion.dicom.elements import BulkReference, Element

ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})


@dataclass(frozen=True, slots=True)
class Syntax:
    """How elements are written; `order` is struct's `<` or `>`."""

    explicit: bool
    order: str
    tag_and_length: struct.Struct
    tag_and_short_length: struct.Struct
    long_length: struct.Struct


def _layout(order: str, *, explicit: bool) -> Syntax:
    layouts = (struct.Struct(order + fields) for fields in ("HHI", "HH2xH", "I"))
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


def read(source: Arriving, syntax: Syntax, *, signed: bool) -> Generator[None, None, Header]:
    """The next header; raises Ended when it doesn't come whole.

    `signed` settles VRs that depend on Pixel Representation, where none is written.
    """
    raw = yield from source.take(8)
    group, number, length = syntax.tag_and_length.unpack(raw)
    tag = group << 16 | number
    vr = raw[4:6].decode("latin-1")
    if not syntax.explicit or not _is_vr(vr) or group == 0xFFFE:
        return Header(tag, representations.vr_of(tag, signed=signed), length)
    length = syntax.tag_and_short_length.unpack(raw)[2]
    if vr in representations.LONG_LENGTH or (
        vr not in representations.SHORT_LENGTH and not length  # of a VR yet to come, 7.1.2
    ):
        (length,) = syntax.long_length.unpack((yield from source.take(4)))
    return Header(tag, vr, length)


@lru_cache(maxsize=1024)
def _is_vr(written: str) -> bool:
    """Two capital letters; other bytes are a length, from writers that forgot the VR."""
    return written.isascii() and written.isalpha() and written.isupper()

"""Encoding of elements as a data set: identifiers of C-FIND responses (PS3.4 C.4.1.1.3.2).

The reverse of `scanner` for data sets without pixels, in any transfer syntax without
encapsulation. It chooses the character set of a response and writes sequences with explicit
lengths. `composer` uses it to write data sets with bulk data.
"""

import struct
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import attrgetter

from dimse_ingestion.dicom import charsets, uids
from dimse_ingestion.dicom import value_representations as representations
from dimse_ingestion.dicom.elements import Element, element

SPECIFIC_CHARACTER_SET = 0x00080005
GROUP_AND_ELEMENT = attrgetter("group", "element")
"""Sort key for the order of tags, without converting them to numbers."""
_LONGEST_SHORT_VALUE = 0xFFFE


def response_character_set(elements: Iterable[Element], stored: str) -> str:
    """Return the Specific Character Set of a response.

    It is empty for ASCII, the stored one if it can encode every value, or else UTF-8. Misspelt
    terms are corrected to the standard's spelling.
    """
    texts = [(text, vr) for text, vr in _texts(elements) if not text.isascii()]
    if not texts:
        return ""
    terms = charsets.defined_terms(stored)
    if terms and all(charsets.can_encode(text, vr, terms) for text, vr in texts):
        return terms
    return charsets.UTF_8


def _texts(elements: Iterable[Element]) -> Iterable[tuple[str, str]]:
    for each in elements:
        yield each.value, each.vr
        for item in each.items or ():
            yield from _texts(item)


def encode(
    elements: Iterable[Element], transfer_syntax_uid: str, specific_character_set: str = ""
) -> bytes:
    """Encode a data set in order of tags, with Specific Character Set if it is not empty.

    Raises ValueError for a value that is not of its VR, and for an encapsulated transfer syntax.
    """
    if transfer_syntax_uid not in uids.IDENTIFIER_SYNTAXES:
        raise ValueError(f"No identifier can be written in {transfer_syntax_uid}.")
    own = [each for each in elements if each.tag != SPECIFIC_CHARACTER_SET]
    if specific_character_set:
        own.append(element(SPECIFIC_CHARACTER_SET, "CS", specific_character_set))
    written = _Writer(transfer_syntax_uid, specific_character_set).data_set(own)
    if transfer_syntax_uid == uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        return _deflate(written)
    return written


def explicit_writer(specific_character_set: str) -> Callable[[Element], bytes]:
    """Return what writes an element in explicit VR little endian; it raises as `encode` does."""
    return _Writer(uids.EXPLICIT_VR_LITTLE_ENDIAN, specific_character_set).element


def explicit_header(each: Element, length: int) -> bytes:
    """Encode tag, VR and a length in bytes in explicit VR little endian."""
    return _Writer(uids.EXPLICIT_VR_LITTLE_ENDIAN, "").header(each, length)


def _deflate(plain: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = deflater.compress(plain) + deflater.flush()
    return data + b"\x00" * (len(data) % 2)


@lru_cache(maxsize=8192)
def _tag(group: str, element_number: str, order: str) -> bytes:
    return struct.pack(f"{order}HH", int(group, 16), int(element_number, 16))


class _Writer:
    def __init__(self, transfer_syntax_uid: str, specific_character_set: str) -> None:
        self._explicit = transfer_syntax_uid != uids.IMPLICIT_VR_LITTLE_ENDIAN
        self._order = ">" if transfer_syntax_uid == uids.EXPLICIT_VR_BIG_ENDIAN else "<"
        self._character_set = specific_character_set

    def data_set(self, elements: Iterable[Element]) -> bytes:
        return b"".join(map(self.element, sorted(elements, key=GROUP_AND_ELEMENT)))

    def element(self, each: Element) -> bytes:
        value = self._value(each)
        return self.header(each, len(value)) + value

    def header(self, each: Element, length: int) -> bytes:
        return _tag(each.group, each.element, self._order) + self._vr_and_length(each.vr, length)

    def _vr_and_length(self, vr: str, length: int) -> bytes:
        if not self._explicit:
            return struct.pack("<I", length)
        if vr in representations.LONG_LENGTH:
            return vr.encode() + struct.pack(f"{self._order}2xI", length)
        if length > _LONGEST_SHORT_VALUE:
            if self._order == ">":
                raise ValueError(f"A value of VR {vr} has {length} bytes: too long to write.")
            return b"UN" + struct.pack("<2xI", length)  # PS3.5 6.2.2, note 6
        return vr.encode() + struct.pack(f"{self._order}H", length)

    def _value(self, each: Element) -> bytes:
        if each.items is not None:
            return b"".join(map(self._item, each.items))
        if each.inline_binary is not None:
            value = _pad(b64decode(each.inline_binary), each.vr)
            return representations.in_byte_order(value, each.vr, self._order)
        if not each.value:
            return b""
        if each.vr in representations.NUMBERS:
            return representations.text_as_numbers(each.value, each.vr, self._order)
        if each.vr == "AT":
            return representations.text_as_tags(each.value, self._order)
        if each.value.isascii():
            return _pad(each.value.encode("ascii"), each.vr)
        return _pad(charsets.encode(each.value, each.vr, self._character_set), each.vr)

    def _item(self, elements: Iterable[Element]) -> bytes:
        content = self.data_set(elements)
        return struct.pack(f"{self._order}HHI", 0xFFFE, 0xE000, len(content)) + content


def _pad(value: bytes, vr: str) -> bytes:
    """Pad to an even length (PS3.5 6.2): NUL for UIDs and binary, space for text."""
    if len(value) % 2 == 0:
        return value
    text = vr in representations.TEXT and vr != "UI"
    return value + (b" " if text else b"\x00")

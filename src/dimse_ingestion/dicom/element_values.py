"""Decoding of short values to text, decimal numbers or base64 (PS3.5 6.2).

`parser` reads the bytes and decides which values are short.
"""

from base64 import b64encode

from dimse_ingestion.dicom import charsets
from dimse_ingestion.dicom import value_representations as representations
from dimse_ingestion.dicom.element_headers import Header
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.limits import Scope


def stored_text(found: Element) -> str:
    """Return the text by which an element's value is stored."""
    return found.value or found.inline_binary or ""


def decode(header: Header, value: bytes, place: Scope) -> Element:
    """Return the element of a header and the bytes of its value."""
    vr = header.vr
    if not value:
        return header.element()
    if vr in representations.TEXT:
        return header.element(charsets.decode(value, vr, place.codecs))
    if vr in representations.NUMBERS:
        return header.element(representations.numbers_as_text(value, vr, place.syntax.order))
    if vr == "AT":
        return header.element(representations.tags_as_text(value, place.syntax.order))
    value = representations.in_byte_order(value, vr, place.syntax.order)
    return header.binary(b64encode(value).decode("ascii"))

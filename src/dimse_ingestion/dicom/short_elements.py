"""Short elements of a data set, read in one loop; most elements of most data sets are such.

A generator and a dozen calls for each element cost twice as much. Whatever is not a short value
of a known VR, available and new, is left to `parser`, which reads every element without this.

The instances of a study repeat most of their elements byte for byte. So the elements read last are
kept by their encoded bytes, and one that occurs again is not decoded again.
"""

from typing import NamedTuple

from dimse_ingestion.dicom import charsets
from dimse_ingestion.dicom import value_representations as representations
from dimse_ingestion.dicom.byte_feed import ByteFeed
from dimse_ingestion.dicom.element_headers import (
    DECIDED_BY_TAG,
    LONGEST,
    SHORTEST,
    Syntax,
    digits,
)
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.limits import ENCODING_TAGS, Budget, Scope, cost_of_element

LONGEST_VALUE = 255
_LONGEST_CACHED = 80  # bytes of header and value
_MOST_CACHED = 8192  # elements of a byte order: at most about 3 MB
_TEXT_VRS = {vr.encode(): vr for vr in representations.SHORT_LENGTH if vr in representations.TEXT}
_NUMBER_VRS = {
    vr.encode(): vr for vr in representations.SHORT_LENGTH if vr in representations.NUMBERS
}
_FIRST_GROUP = 0x0008
"""Groups before it are of command sets, file meta information and directories."""
_DELIMITERS = 0xFFFE
_DECIDED_ELSEWHERE = ENCODING_TAGS | DECIDED_BY_TAG
_LENGTH_OFFSET = 6


class _Decoded(NamedTuple):
    """An element with its tag as one number, and its cost as `Budget` counts it."""

    tag: int
    element: Element
    cost: int
    is_universal: bool
    """True if the same bytes mean the same in every data set, whatever its character set."""


_decoded: dict[str, dict[bytes, _Decoded]] = {"<": {}, ">": {}}
"""For each byte order, the elements decoded last by their encoded bytes."""


def read_short_elements(
    source: ByteFeed, place: Scope, tags: set[int], budget: Budget, most: int
) -> list[Element]:
    """Read at most `most` elements of a data set, and add their tags to `tags`.

    Nothing is read in implicit VR, where a VR follows from the tag.
    """
    elements: list[Element] = []
    syntax = place.syntax
    if not syntax.explicit:
        return elements
    buffer, start = source.buffer, source.start
    known, unpack_length = _decoded[syntax.order], syntax.short_length.unpack_from
    last = len(buffer) - LONGEST
    while start <= last and len(elements) < most:
        length = unpack_length(buffer, start + _LENGTH_OFFSET)[0]
        end = start + SHORTEST + length
        if length > LONGEST_VALUE or end > len(buffer):
            break
        encoded = bytes(buffer[start:end])
        if (decoded := known.get(encoded)) is None:
            if (decoded := _decode(encoded, syntax, place.codecs)) is None:
                break
            _remember(known, encoded, decoded)
        tag, element, cost, _ = decoded
        if tag in tags or not budget.spend_cost(cost, on_small=True):
            break
        tags.add(tag)
        elements.append(element)
        start = end
    source.advance(start - source.start)
    return elements


def _remember(known: dict[bytes, _Decoded], encoded: bytes, decoded: _Decoded) -> None:
    """Keep an element if it can serve any data set; the others go when there are too many."""
    if not decoded.is_universal or len(encoded) > _LONGEST_CACHED:
        return
    if len(known) >= _MOST_CACHED:
        known.clear()
    known[encoded] = decoded


def _decode(encoded: bytes, syntax: Syntax, codecs: charsets.Codecs) -> _Decoded | None:
    """Decode an element of header and value; None if `parser` has to decide about it."""
    group, number, written, _ = syntax.tag_vr_and_length.unpack_from(encoded)
    tag = group << 16 | number
    if not _FIRST_GROUP <= group < _DELIMITERS or not number or tag in _DECIDED_ELSEWHERE:
        return None
    value = encoded[SHORTEST:]
    if vr := _TEXT_VRS.get(written):
        text = charsets.decode(value, vr, codecs)
        is_universal = charsets.is_ascii(value)
    elif vr := _NUMBER_VRS.get(written):
        text = representations.numbers_as_text(value, vr, syntax.order)
        is_universal = True
    else:
        return None
    return _Decoded(tag, Element(*digits(tag), vr, text), cost_of_element(text), is_universal)

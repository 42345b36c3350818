"""Short elements of a data set, read in one loop; most elements of most data sets are such.

A generator and a dozen calls for each element cost twice as much. Whatever is not a short value
of a known VR, available and new, is left to `parser`, which reads every element without this.
"""

from dimse_ingestion.dicom import charsets
from dimse_ingestion.dicom import value_representations as representations
from dimse_ingestion.dicom.byte_feed import ByteFeed
from dimse_ingestion.dicom.element_headers import LONGEST, SHORTEST, digits
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.limits import ENCODING_TAGS, Budget, Scope

LONGEST_VALUE = 255
_TEXT_VRS = {vr.encode(): vr for vr in representations.SHORT_LENGTH if vr in representations.TEXT}
_NUMBER_VRS = {
    vr.encode(): vr for vr in representations.SHORT_LENGTH if vr in representations.NUMBERS
}
_FIRST_GROUP = 0x0008
"""Groups before it are of command sets, file meta information and directories."""
_DELIMITERS = 0xFFFE


def read_short_elements(
    source: ByteFeed, place: Scope, tags: set[int], budget: Budget, most: int
) -> list[Element]:
    """Read at most `most` elements of a data set, and add their tags to `tags`.

    Nothing is read in implicit VR, where a VR follows from the tag.
    """
    elements: list[Element] = []
    if not place.syntax.explicit:
        return elements
    buffer, start, order = source.buffer, source.start, place.syntax.order
    unpack_from, last = place.syntax.tag_vr_and_length.unpack_from, len(buffer) - LONGEST
    while start <= last and len(elements) < most:
        group, number, written, length = unpack_from(buffer, start)
        begin = start + SHORTEST
        end = begin + length
        tag = group << 16 | number
        if (
            length > LONGEST_VALUE
            or end > len(buffer)
            or not _FIRST_GROUP <= group < _DELIMITERS
            or not number
            or tag in ENCODING_TAGS
            or tag in tags
        ):
            break
        if vr := _TEXT_VRS.get(written):
            value = charsets.decode(bytes(buffer[begin:end]), vr, place.codecs)
        elif vr := _NUMBER_VRS.get(written):
            value = representations.numbers_as_text(bytes(buffer[begin:end]), vr, order)
        else:
            break
        if not budget.spend(value, on_small=True):
            break
        tags.add(tag)
        elements.append(Element(*digits(tag), vr, value))
        start = end
    source.advance(start - source.start)
    return elements

"""Decoding of one match of an answer, and about how much memory it takes until it is encoded.

The sequences of a long match stay JSON until they are read. Lines are found in `wire`.
"""

import msgspec

from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.raw_items import decode_elements
from dimse_ingestion.queries.contract import Located

SHORT_LINE = 256 * 1024
"""Bytes of a match that is decoded at once, and counts for nothing."""

_COST_OF_ITEM = 64  # bytes: an item or sequence that is being read
_COST_OF_ELEMENT = 400  # bytes: a decoded element and its texts

_matches = msgspec.json.Decoder(list[Element])
_objects = msgspec.json.Decoder(Located)
_fields = msgspec.json.Decoder(list[msgspec.Raw])


def decode_match(line: bytearray) -> tuple[list[Element], int]:
    """Return the elements in a line, and the bytes that a long one takes."""
    if len(line) <= SHORT_LINE:
        return _matches.decode(line), 0
    elements = decode_elements(line)
    return elements, _cost(line, elements)


def decode_object(line: bytearray) -> tuple[Located, int]:
    """Return the instance with its object in a line, and the bytes that a long one takes."""
    if len(line) <= SHORT_LINE:
        return _objects.decode(line), 0
    encoded, *others = _fields.decode(line)
    located = _objects.decode(b"[[],%s]" % b",".join(map(bytes, others)))
    elements = decode_elements(encoded)
    return msgspec.structs.replace(located, elements=elements), _cost(line, elements)


def _cost(line: bytearray, elements: list[Element]) -> int:
    return len(line) + _COST_OF_ITEM * line.count(b"[") + _COST_OF_ELEMENT * len(elements)

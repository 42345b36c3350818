"""Validation of long JSON of elements in slices, so that other threads run between any two slices.

Decoding a sequence of some MiB at once would hold the interpreter for a second and take ten times
its memory. `element_json` checks the elements of a slice.
"""

from collections.abc import Iterable, Iterator

import msgspec

from dimse_ingestion.dicom import element_json
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.packed_elements import PACKED_FROM, PackedElement

_encoder = msgspec.json.Encoder()
_raw_items = msgspec.json.Decoder(list[msgspec.Raw])
_items = msgspec.json.Decoder(list[list[Element]] | None)
_packed = msgspec.json.Decoder(list[PackedElement])


def validate(packed: Iterable[PackedElement], depth: int = 0) -> list[Element]:
    """Return the elements decoded; those with long sequences are packed, in the JSON we encode.

    Raises ValueError for an invalid element or item, with a sentence that repeats no value.
    """
    with element_json.decoding_errors():
        return [_validate_element(each, depth) for each in packed]


def _validate_element(packed: PackedElement, depth: int) -> Element:
    json = packed.packed_items
    is_long = len(json) >= PACKED_FROM
    items = _items.decode(json) if json and not is_long else None
    plain = Element(
        packed.group,
        packed.element,
        packed.vr,
        packed.value,
        items,
        packed.inline_binary,
        packed.bulk,
    )
    element_json.check([plain], depth)
    return _validate_items(packed, depth + 1) if is_long else plain


def _validate_items(packed: PackedElement, depth: int) -> PackedElement:
    element_json.check([], depth)
    json = b"[" + b",".join(_validated_slices(packed.packed_items, depth)) + b"]"
    return msgspec.structs.replace(packed, items=msgspec.Raw(json))


def _validated_slices(json: msgspec.Raw, depth: int) -> Iterator[bytes]:
    """Yield the JSON of some items at a time, as we encode it."""
    for part in _slices(_raw_items.decode(json)):
        if len(part) == 1 and len(part[0]) >= PACKED_FROM:
            yield _encoder.encode(validate(_packed.decode(part[0]), depth))
            continue
        items = _items.decode(b"[" + b",".join(part) + b"]") or []
        for item in items:
            element_json.check(item, depth)
        yield _encoder.encode(items)[1:-1]


def _slices(items: list[msgspec.Raw]) -> Iterator[list[msgspec.Raw]]:
    """Yield slices of short items, and each long item alone."""
    part: list[msgspec.Raw] = []
    length = 0
    for each in items:
        if part and length + len(each) >= PACKED_FROM:
            yield part
            part, length = [], 0
        part.append(each)
        length += len(each)
    if part:
        yield part

"""Validation of long JSON of elements in slices, so that other threads run between any two slices.

Decoding a sequence of some MiB at once would hold the interpreter for a second and take ten times
its memory. `element_json` checks the elements of a slice.
"""

from collections.abc import Iterable, Iterator

import msgspec

from dimse_ingestion.dicom import element_json
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.raw_items import LONG, RawElement, RawItems, decode_element, encoder

_raw_values = msgspec.json.Decoder(list[msgspec.Raw])
_items = msgspec.json.Decoder(list[list[Element]])
_raw_elements = msgspec.json.Decoder(list[RawElement])


def validate(elements: Iterable[RawElement], depth: int = 0) -> list[Element]:
    """Return the elements decoded; long sequences have `RawItems`, in the JSON we encode.

    Raises ValueError for an invalid element or item, with a sentence that repeats no value.
    """
    with element_json.decoding_errors():
        return [_validate_element(decode_element(each), depth) for each in elements]


def _validate_element(element: Element, depth: int) -> Element:
    if not isinstance(element.items, RawItems):
        element_json.check([element], depth)
        return element
    element_json.check([msgspec.structs.replace(element, items=None)], depth)
    return msgspec.structs.replace(element, items=_validate_items(element.items, depth + 1))


def _validate_items(items: RawItems, depth: int) -> RawItems:
    element_json.check([], depth)
    json = b"[" + b",".join(_validated_slices(items.json, depth)) + b"]"
    return RawItems(msgspec.Raw(json))


def _validated_slices(json: msgspec.Raw, depth: int) -> Iterator[bytes]:
    """Yield the JSON of some items at a time, as we encode it."""
    for part in _slices(_raw_values.decode(json)):
        if len(part) == 1 and len(part[0]) >= LONG:
            yield encoder.encode(validate(_raw_elements.decode(part[0]), depth))
            continue
        items = _items.decode(b"[" + b",".join(part) + b"]")
        for item in items:
            element_json.check(item, depth)
        yield encoder.encode(items)[1:-1]


def _slices(items: list[msgspec.Raw]) -> Iterator[list[msgspec.Raw]]:
    """Yield slices of short items, and each long item alone."""
    part: list[msgspec.Raw] = []
    length = 0
    for each in items:
        if part and length + len(each) >= LONG:
            yield part
            part, length = [], 0
        part.append(each)
        length += len(each)
    if part:
        yield part

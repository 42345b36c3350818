"""Elements whose sequences stay in JSON: read, compared and sent on without decoding the items.

A sequence of some MiB holds hundreds of thousands of items, whose elements take ten times the
memory of their JSON. A `PackedElement` keeps the JSON of its items, and decodes one item at a time
where they are compared. Elements are defined in `elements` and validated in `element_json`.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from dimse_ingestion.dicom.elements import Element

PACKED_FROM = 64 * 1024
"""Bytes of JSON from which elements are packed; shorter ones are decoded faster than that."""

_items = msgspec.json.Decoder(list[msgspec.Raw])
_item = msgspec.json.Decoder(list[Element])
_all_items = msgspec.json.Decoder(list[list[Element]] | None)


class PackedElement(Element, frozen=True, gc=False, omit_defaults=True):
    """An element in the same JSON as `Element`, which is decoded down to its items only."""

    items: msgspec.Raw = msgspec.Raw()  # type: ignore[assignment] # a property below

    @property
    def packed_items(self) -> msgspec.Raw:
        """The JSON of the items; empty without a sequence."""
        packed: msgspec.Raw = _PACKED_ITEMS.__get__(self)
        return packed

    def each_item(self) -> Iterator[list[Element]]:
        """Yield the items, of which one at a time is decoded."""
        if self.packed_items:
            for each in _items.decode(self.packed_items):
                yield _item.decode(each)


def _decode_items(packed: PackedElement) -> list[list[Element]] | None:
    """Decode all items, for callers that know no packed element."""
    return _all_items.decode(packed.packed_items) if packed.packed_items else None


_PACKED_ITEMS: Any = PackedElement.items
PackedElement.items = property(_decode_items)  # type: ignore[assignment]

_packed = msgspec.json.Decoder(list[PackedElement])
_plain = msgspec.json.Decoder(list[Element])


def decode_elements(json: bytes) -> list[Element]:
    """Return the elements in valid JSON: packed, if it is long."""
    return [*_packed.decode(json)] if len(json) >= PACKED_FROM else _plain.decode(json)

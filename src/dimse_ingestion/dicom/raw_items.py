"""Items of long sequences that stay JSON and are decoded one at a time, each time they are read.

A sequence of some MiB may have hundreds of thousands of items, whose elements take ten times the
memory of their JSON, and are decoded in one call that holds up every other thread. `RawItems` takes
the place of the list of items wherever it is only read. Elements are defined in `elements`.
"""

from collections.abc import Iterator, Sequence
from typing import overload

import msgspec

from dimse_ingestion.dicom.elements import BulkReference, Element
from dimse_ingestion.failures import Unavailable

_LONG = 64 * 1024  # bytes of JSON; what is shorter is decoded at once
_NONE = (b"", b"null")

_elements = msgspec.json.Decoder(list[Element])
_items = msgspec.json.Decoder(list[list[Element]])
_raw_values = msgspec.json.Decoder(list[msgspec.Raw])


class _RawElement(msgspec.Struct, frozen=True, gc=False):
    """An `Element` whose items are not decoded."""

    group: str
    element: str
    vr: str
    value: str = ""
    items: msgspec.Raw = msgspec.Raw()
    inline_binary: str | None = None
    bulk: BulkReference | None = None


_raw_elements = msgspec.json.Decoder(list[_RawElement])


class RawItems(Sequence[list[Element]]):
    """The items of a sequence in JSON; raises Unavailable where they are no items."""

    __slots__ = ("_json",)

    def __init__(self, json: msgspec.Raw) -> None:
        self._json = json

    def __bool__(self) -> bool:
        """Return True: a sequence without items is not long, so it is decoded at once."""
        return True

    def __iter__(self) -> Iterator[list[Element]]:
        return map(_decode_item, self._raw())

    def __len__(self) -> int:
        return len(self._raw())

    @overload
    def __getitem__(self, index: int) -> list[Element]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[Element]]: ...
    def __getitem__(self, index: int | slice) -> list[Element] | list[list[Element]]:
        chosen = self._raw()[index]
        return [*map(_decode_item, chosen)] if isinstance(chosen, list) else _decode_item(chosen)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment] # as of a list

    def _raw(self) -> list[msgspec.Raw]:
        try:
            return _raw_values.decode(self._json)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _malformed() from None


def decode_elements(json: bytes | bytearray | msgspec.Raw) -> list[Element]:
    """Return the elements in a JSON array; the items of long sequences as `RawItems`.

    Raises msgspec.DecodeError and UnicodeDecodeError.
    """
    if _length(json) <= _LONG:
        return _elements.decode(json)
    return [_element(each) for each in _raw_elements.decode(json)]


def _element(raw: _RawElement) -> Element:
    items: Sequence[list[Element]] | None = None
    if _length(raw.items) > _LONG:
        items = RawItems(raw.items)
    elif (json := bytes(raw.items)) not in _NONE:
        items = _items.decode(json)
    return Element(raw.group, raw.element, raw.vr, raw.value, items, raw.inline_binary, raw.bulk)


def _decode_item(json: msgspec.Raw) -> list[Element]:
    try:
        return decode_elements(json)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _malformed() from None


def _malformed() -> Unavailable:
    return Unavailable("The catalogue sent a malformed answer.")


def _length(json: bytes | bytearray | msgspec.Raw) -> int:
    return memoryview(json).nbytes

"""Items of long sequences that stay JSON and are decoded one at a time, each time they are read.

A sequence of some MiB may have hundreds of thousands of items, whose elements take ten times the
memory of their JSON, and are decoded in one call that holds up every other thread. `RawItems` takes
the place of the list of items wherever it is only read, compared or encoded again; `encoder` writes
its JSON unchanged. Elements are defined in `elements`, and validated in `raw_validation`.
"""

from collections.abc import Iterator, Sequence
from typing import overload

import msgspec

from dimse_ingestion.dicom.elements import BulkReference, Element
from dimse_ingestion.failures import Unavailable

LONG = 64 * 1024
"""Bytes of JSON above which items are not decoded; shorter ones are decoded faster than that."""
_NONE = (b"", b"null")

_elements = msgspec.json.Decoder(list[Element])
_items = msgspec.json.Decoder(list[list[Element]])
_raw_values = msgspec.json.Decoder(list[msgspec.Raw])


class RawElement(msgspec.Struct, frozen=True, gc=False):
    """An `Element` whose items are not decoded."""

    group: str
    element: str
    vr: str
    value: str = ""
    items: msgspec.Raw = msgspec.Raw()
    inline_binary: str | None = None
    bulk: BulkReference | None = None


_raw_elements = msgspec.json.Decoder(list[RawElement])


class RawItems(Sequence[list[Element]]):
    """The items of a sequence in JSON; raises Unavailable where they are no items."""

    __slots__ = ("_json",)

    def __init__(self, json: msgspec.Raw) -> None:
        self._json = json

    @property
    def json(self) -> msgspec.Raw:
        """The items as JSON."""
        return self._json

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
    if not is_long(json):
        return _elements.decode(json)
    return [decode_element(each) for each in _raw_elements.decode(json)]


def decode_element(raw: RawElement) -> Element:
    """Return the element; the items of a long sequence as `RawItems`.

    Raises msgspec.DecodeError and UnicodeDecodeError.
    """
    items: Sequence[list[Element]] | None = None
    if is_long(raw.items):
        items = RawItems(raw.items)
    elif (json := bytes(raw.items)) not in _NONE:
        items = _items.decode(json)
    return Element(raw.group, raw.element, raw.vr, raw.value, items, raw.inline_binary, raw.bulk)


def is_long(json: bytes | bytearray | msgspec.Raw) -> bool:
    """Return whether this JSON is too long to be decoded at once."""
    return memoryview(json).nbytes > LONG


def _decode_item(json: msgspec.Raw) -> list[Element]:
    try:
        return decode_elements(json)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _malformed() from None


def _malformed() -> Unavailable:
    return Unavailable("The catalogue sent a malformed answer.")


def _encode_items(items: object) -> msgspec.Raw:
    if isinstance(items, RawItems):
        return items.json
    raise NotImplementedError(f"{type(items).__name__} has no JSON")


encoder = msgspec.json.Encoder(enc_hook=_encode_items)
"""The encoder of elements, whether their items are decoded or not."""

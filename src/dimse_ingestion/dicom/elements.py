"""Data elements of events, queries and the catalogue, independent of the transfer syntax.

All packages use this one representation, so that nothing is converted twice. It is the `elements`
list of ImageStoredEvent (group, element, vr and value, all strings), extended where that form loses
information: items of a sequence, binary values, and references to bulk data. Reading and writing
bytes is in `scanner` and `encoder`.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

SOP_CLASS_UID = 0x00080016
SOP_INSTANCE_UID = 0x00080018


class BulkReference(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A reference to the place of a large value in the stored object.

    `offset` counts bytes from the first byte of the data set (after preamble and group 2);
    `length` is the value's length in bytes, item headers included where it is encapsulated.
    `fragments` are the lengths of its items in order, the Basic Offset Table's first (PS3.5 A.4),
    item headers not included; None where it isn't encapsulated, or has too many.
    """

    offset: int
    length: int
    fragments: tuple[int, ...] | None = None


class Element(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One data element.

    `group` and `element` are four upper-case hexadecimal digits. `value` is Unicode text: several
    values joined by a backslash, numbers in decimal, AT as eight hexadecimal digits; empty for
    a zero-length value. Exactly one of the others is set instead where text can't carry it:
    `items` for SQ (and UN read as SQ), `inline_binary` (base64, in little endian whatever the
    transfer syntax) for short OB, OW, OF, OD, OL, OV and UN values, `bulk` for long ones of any VR.
    """

    group: str
    element: str
    vr: str
    value: str = ""
    items: Sequence[list["Element"]] | None = None
    inline_binary: str | None = None
    bulk: BulkReference | None = None

    @property
    def tag(self) -> int:
        """The tag as one number, with the group in the upper 16 bits."""
        return int(self.group + self.element, 16)

    @property
    def values(self) -> list[str]:
        """The single values of `value`, with outer blanks; an empty list without a value."""
        return self.value.split("\\") if self.value else []


def element(tag: int, vr: str, value: str = "") -> Element:
    """Return the element with this tag, given as one number."""
    return Element(f"{tag >> 16:04X}", f"{tag & 0xFFFF:04X}", vr, value)


def is_large(elements: Iterable[Element], most: int = 500) -> bool:
    """Return whether there are more than `most` elements and items, those of sequences included."""
    return next(islice(_parts(elements), most, None), None) is not None


def _parts(elements: Iterable[Element]) -> Iterator[object]:
    for each in elements:
        yield each
        for item in each.items or ():
            yield item
            yield from _parts(item)


def by_tag(elements: Iterable[Element]) -> dict[int, Element]:
    """Return the elements by tag; the first one if a tag is repeated."""
    found: dict[int, Element] = {}
    for each in elements:
        found.setdefault(each.tag, each)
    return found

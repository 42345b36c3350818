"""What a reader of a data set keeps of it, and what holds for the elements it reads next.

Bounds on memory are decided here, so that `scanning` only walks; nothing here reads bytes.
"""

from dataclasses import dataclass

from dimse_ingestion.dicom import charsets
from dimse_ingestion.dicom.element_headers import Syntax
from dimse_ingestion.dicom.elements import Element

_SPECIFIC_CHARACTER_SET = 0x00080005
_PIXEL_REPRESENTATION = 0x00280103
_ELEMENT_COST = 256
_FRAGMENT_COST = 8
_TELLING = 2  # a Basic Offset Table and a fragment


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept at the most, in bytes; a larger value or sequence becomes a reference.

    `text` and `binary` bound one value, `sequence` and `kept` what a sequence and the whole data
    set cost: an element or item costs 256 and what its value holds. `depth` bounds nesting.
    """

    text: int = 64 * 1024
    binary: int = 1024
    sequence: int = 4 * 2**20
    kept: int = 16 * 2**20
    depth: int = 64
    fragments: int = 50_000


class Budget:
    """What may still be kept."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, value: str = "") -> bool:
        """Whether one more element or item may be kept."""
        self.left -= _ELEMENT_COST + len(value)
        return self.left >= 0

    def spend_on_fragments(self, number: int) -> bool:
        """Whether the lengths of so many fragments may be kept; nothing is spent if not."""
        cost = number * _FRAGMENT_COST
        if cost > self.left:
            return False
        self.left -= cost
        return True


class Fragments:
    """The lengths of the items of encapsulated pixel data, at most `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lengths: list[int] = []
        self._seen = 0

    def add(self, length: int) -> None:
        """Note an item's length, in bytes."""
        self._seen += 1
        if self._seen <= self._most:
            self._lengths.append(length)

    def noted(self, budget: Budget) -> tuple[int, ...] | None:
        """All lengths in order; None where they tell nothing, or are too many to keep."""
        if not _TELLING <= self._seen <= self._most or not budget.spend_on_fragments(self._seen):
            return None
        return tuple(self._lengths)


@dataclass(slots=True)
class Place:
    """What holds for the elements of a data set or an item; items inherit, and may differ."""

    syntax: Syntax
    codecs: charsets.Codecs
    budget: Budget
    depth: int = 0
    signed: bool = False

    def inside(self, syntax: Syntax, budget: Budget, depth: int) -> "Place":
        """What holds at first for what is nested here."""
        return Place(syntax, self.codecs, budget, depth, self.signed)

    def read_as(self, syntax: Syntax) -> "Place":
        """The same place, written otherwise."""
        return self.inside(syntax, self.budget, self.depth)

    def learn(self, found: Element) -> None:
        """Take notice of an element that says how others are to be read."""
        if found.group == "0008" and found.tag == _SPECIFIC_CHARACTER_SET:
            self.codecs = charsets.codecs(found.value)
        elif found.group == "0028" and found.tag == _PIXEL_REPRESENTATION:
            self.signed = found.value == "1"

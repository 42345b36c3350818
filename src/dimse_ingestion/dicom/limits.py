"""What a reader of a data set keeps of it, and what holds for the elements it reads next.

Bounds on memory and work are decided here, so that `scanning` only walks; nothing here reads bytes.
"""

from dataclasses import dataclass

from dimse_ingestion.dicom import charsets
from dimse_ingestion.dicom.element_headers import Syntax
from dimse_ingestion.dicom.elements import Element

_SPECIFIC_CHARACTER_SET = 0x00080005
_PIXEL_REPRESENTATION = 0x00280103
_EMPTY_COST, _VALUED_COST = 44, 56  # tag and VR in JSON
_SHORT = 16
_ESCAPED_COST = 6  # a control character in JSON
_FRAGMENT_COST = 8
_RESERVED_SHARE = 8
ENCODING_TAGS = frozenset({_SPECIFIC_CHARACTER_SET, _PIXEL_REPRESENTATION})
"""Tags of elements that say how others are to be read."""

_LEAST_FRAGMENTS = 2  # a Basic Offset Table and a fragment
_NOWHERE = 2**63
_MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class ParserLimits:
    """What is kept and read at the most; a larger value or sequence becomes a reference.

    `text` and `binary` bound one value and `sequence` one sequence, in bytes of the data set.
    `kept` bounds everything that is kept, in bytes of the event that tells of it: an element or
    item costs about 50 and what its value holds. `depth` bounds nesting, `parts` the number of
    elements, items and fragments that are read at all, `inflated` the bytes that a deflated data
    set holds. Whole-slide images have half a million fragments, and enhanced multi-frame images of
    10,000 frames some millions of elements and items.
    """

    text: int = 64 * 1024
    binary: int = 1024
    sequence: int = 4 * _MEBIBYTE
    kept: int = 30 * _MEBIBYTE
    depth: int = 64
    fragments: int = 500_000
    parts: int = 5_000_000
    inflated: int = 4 * 1024 * _MEBIBYTE


IDENTIFIER = ParserLimits(
    sequence=_MEBIBYTE, kept=8 * _MEBIBYTE, parts=200_000, inflated=8 * _MEBIBYTE, fragments=0
)
"""Of a query's identifier, which has some dozens of keys."""


class Budget:
    """What may still be kept."""

    def __init__(self, left: int) -> None:
        self.left = left
        self._reserve = left // _RESERVED_SHARE

    def spend(self, value: str = "", *, on_small: bool = False) -> bool:
        """Return whether one more element or item may be kept; if not, spend nothing.

        What is small may use the reserve too, so that no long text before a UID costs the UID.
        """
        cost = _VALUED_COST + _text_cost(value) if value else _EMPTY_COST
        if cost > self.left - (0 if on_small else self._reserve):
            return False
        self.left -= cost
        return True

    def spend_on_fragments(self, number: int) -> bool:
        """Return whether the lengths of so many fragments may be kept; if not, spend nothing."""
        cost = number * _FRAGMENT_COST
        if cost > self.left:
            return False
        self.left -= cost
        return True


def _text_cost(text: str) -> int:
    """Return the bytes of a text in JSON, at the most."""
    if text.isascii() and text.isprintable():
        escaped = 0 if len(text) < _SHORT else text.count("\\") + text.count('"')
        return len(text) + escaped
    return _ESCAPED_COST * len(text)


class FragmentLengths:
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
        elif self._lengths:
            self._lengths.clear()

    def lengths(self, budget: Budget) -> tuple[int, ...] | None:
        """Return all lengths in order; None where they tell nothing, or are too many to keep."""
        if not _LEAST_FRAGMENTS <= self._seen <= self._most or not budget.spend_on_fragments(
            self._seen
        ):
            return None
        return tuple(self._lengths)


class SequenceBudget:
    """Whether a sequence is kept as items: if it ends before `end` and leaves the reserve."""

    def __init__(self, budget: Budget, end: int = _NOWHERE) -> None:
        self.budget = budget
        self.is_within = True
        self._end = end
        self._initial = budget.left

    def add(self, offset: int, value: str = "") -> bool:
        """Return whether an element or item that ends at `offset` is kept."""
        if not self.is_within:
            return False
        if offset > self._end or not self.budget.spend(value):
            self.discard()
        return self.is_within

    def discard(self) -> None:
        """Keep nothing of the sequence, which then costs nothing."""
        self.is_within = False
        self.budget.left = self._initial


@dataclass(slots=True)
class Scope:
    """What holds for the elements of a data set or an item; items inherit, and may differ.

    `end` is the offset that no element may pass: where the item or sequence around it ends.
    """

    syntax: Syntax
    codecs: charsets.Codecs
    kept: SequenceBudget
    depth: int = 0
    signed: bool = False
    end: int = _NOWHERE

    def nested(self, kept: SequenceBudget, depth: int, end: int) -> "Scope":
        """Return what holds at first for what is nested here."""
        return Scope(self.syntax, self.codecs, kept, depth, self.signed, end)

    def with_syntax(self, syntax: Syntax) -> "Scope":
        """Return the same place, written otherwise."""
        return Scope(syntax, self.codecs, self.kept, self.depth, self.signed, self.end)

    def apply(self, tag: int, found: Element) -> None:
        """Take notice of an element of `ENCODING_TAGS` tags."""
        if tag == _SPECIFIC_CHARACTER_SET:
            self.codecs = charsets.codecs(found.value)
        elif tag == _PIXEL_REPRESENTATION:
            self.signed = found.value == "1"

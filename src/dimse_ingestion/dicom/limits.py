"""Limits and scopes of the data set parser: how much it keeps, and how it decodes next elements.

The bounds on memory and work are here; `parser` reads the bytes.
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
"""Tags of elements that determine how following elements are decoded."""

_LEAST_FRAGMENTS = 2  # a Basic Offset Table and a fragment
_NOWHERE = 2**63
_MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class ParserLimits:
    """The parser's limits; a larger value or sequence becomes a reference.

    `text` and `binary` bound one value and `sequence` one sequence, in bytes of the data set.
    `retained` bounds all stored elements, in bytes of the event with them: an element or item costs
    about 50 bytes and its value. `depth` bounds nesting, `parts` the number of
    elements, items and fragments that are read at all, `inflated` the bytes that a deflated data
    set holds. Whole-slide images have half a million fragments, and enhanced multi-frame images of
    10,000 frames some millions of elements and items.
    """

    text: int = 64 * 1024
    binary: int = 1024
    sequence: int = 4 * _MEBIBYTE
    retained: int = 30 * _MEBIBYTE
    depth: int = 64
    fragments: int = 500_000
    parts: int = 5_000_000
    inflated: int = 4 * 1024 * _MEBIBYTE


IDENTIFIER = ParserLimits(
    text=_MEBIBYTE,
    sequence=_MEBIBYTE,
    retained=8 * _MEBIBYTE,
    parts=200_000,
    inflated=8 * _MEBIBYTE,
    fragments=0,
)
"""The limits for an identifier, which has some dozens of keys, one of them perhaps a long UID list.

No key of an identifier is left out because of its length: it would not restrict what matches.
"""


class Budget:
    """Count down the bytes that may still be stored."""

    def __init__(self, left: int) -> None:
        self.left = left
        self._reserve = left // _RESERVED_SHARE

    def spend(self, value: str = "", *, on_small: bool = False) -> bool:
        """Spend the cost of an element or item and return True, or return False and spend nothing.

        Small values may use the reserve too, so that long text can't displace a later UID.
        """
        return self.spend_cost(cost_of_element(value), on_small=on_small)

    def spend_cost(self, cost: int, *, on_small: bool = False) -> bool:
        """Spend the cost of an element and return True, or return False and spend nothing."""
        if cost > self.left - (0 if on_small else self._reserve):
            return False
        self.left -= cost
        return True

    def spend_on_fragments(self, number: int) -> bool:
        """Spend the cost of fragment lengths and return True, or return False."""
        cost = number * _FRAGMENT_COST
        if cost > self.left:
            return False
        self.left -= cost
        return True


def cost_of_element(value: str) -> int:
    """Return the cost of an element with a text value, or of an item without one."""
    return _VALUED_COST + _text_cost(value) if value else _EMPTY_COST


def _text_cost(text: str) -> int:
    """Return the maximum bytes of a text in JSON."""
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
        """Add an item's length, in bytes."""
        self._seen += 1
        if self._seen <= self._most:
            self._lengths.append(length)
        elif self._lengths:
            self._lengths.clear()

    def lengths(self, budget: Budget) -> tuple[int, ...] | None:
        """Return all lengths in order; None if there are too few to be of use, or too many."""
        if not _LEAST_FRAGMENTS <= self._seen <= self._most or not budget.spend_on_fragments(
            self._seen
        ):
            return None
        return tuple(self._lengths)


class SequenceBudget:
    """Track whether a sequence is stored as items: if it ends before `end` and fits the budget."""

    def __init__(self, budget: Budget, end: int = _NOWHERE) -> None:
        self.budget = budget
        self.is_within = True
        self._end = end
        self._initial = budget.left

    def add(self, offset: int, value: str = "") -> bool:
        """Return whether an element or item that ends at `offset` is stored."""
        if not self.is_within:
            return False
        if offset > self._end or not self.budget.spend(value):
            self.discard()
        return self.is_within

    def discard(self) -> None:
        """Store nothing of the sequence, and refund its cost."""
        self.is_within = False
        self.budget.left = self._initial


@dataclass(slots=True)
class Scope:
    """The decoding state of a data set or an item; items inherit it and may change it.

    `end` is the offset that no element may exceed: the end of the enclosing item or sequence.
    """

    syntax: Syntax
    codecs: charsets.Codecs
    budget: SequenceBudget
    depth: int = 0
    signed: bool = False
    end: int = _NOWHERE

    def nested(self, budget: SequenceBudget, depth: int, end: int) -> "Scope":
        """Return the initial scope of a nested item."""
        return Scope(self.syntax, self.codecs, budget, depth, self.signed, end)

    def with_syntax(self, syntax: Syntax) -> "Scope":
        """Return the same scope with another encoding."""
        return Scope(syntax, self.codecs, self.budget, self.depth, self.signed, self.end)

    def apply(self, tag: int, found: Element) -> None:
        """Apply an element with one of `ENCODING_TAGS` to the following elements."""
        if tag == _SPECIFIC_CHARACTER_SET:
            self.codecs = charsets.codecs(found.value)
        elif tag == _PIXEL_REPRESENTATION:
            self.signed = found.value == "1"

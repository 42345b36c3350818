"""The criteria of a C-FIND, parsed from its keys (PS3.4 C.2.2.2).

Single value, list of UID, universal, wild card, range and sequence matching. Criteria are data: a
database translates those it can, `matching` tests elements by them. Levels are in `query_levels`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dimse_ingestion.dicom import comparison, wildcards
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.value_representations import SINGLE_VALUED
from dimse_ingestion.failures import Invalid

WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
"""VRs whose keys may have `*` and `?` (PS3.4 C.2.2.2.4)."""
RANGE_VRS = frozenset({"DA", "DT", "TM"})
DATES_WITH_TIMES = {
    0x00080020: 0x00080030,  # study
    0x00080021: 0x00080031,  # series
    0x00080022: 0x00080032,  # acquisition
    0x00080023: 0x00080033,  # content
    0x00100030: 0x00100032,  # patient's birth
    0x00400244: 0x00400245,  # performed procedure step start
    0x00400250: 0x00400251,  # performed procedure step end
}
"""Dates and the times that belong to them."""
MOST_KEYS = 500
"""Maximum keys with values in a query; items of sequences are counted separately."""
MOST_PATTERNS = 2000
"""Maximum values of a key with wild cards, and component groups of a person name key."""
LONGEST_PATTERNS = 32_768
"""Maximum characters of all values of a key with wild cards."""
DEEPEST = 16
"""Maximum sequences around a key."""
_LONGEST_RANGE = 128  # characters: twice those of a DT, and some blanks
_OFFSET_AT_END = re.compile(r"-\d{4}$")


@dataclass(frozen=True, slots=True)
class Everything:
    """Universal matching: it matches everything, absent values included."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """Single value and list matching; values as `comparison.comparable` gives them."""

    vr: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class Like:
    """Wild card matching: one pattern or several, comparable text with `*` and `?` in it."""

    vr: str
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NameGroups:
    """Person name matching by component group; each non-empty pattern must match its group.

    `names` are alternatives, each of folded patterns in the order alphabetic, ideographic,
    phonetic (PS3.4 C.2.2.2.1.1). A name of one group becomes `OneOf` or `Like` and matches
    any group.
    """

    names: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Between:
    """Range matching, both ends included: 8 digits for DA, 12 for TM, 20 for DT."""

    vr: str
    lowest: str
    highest: str


@dataclass(frozen=True, slots=True)
class DateTimeRange:
    """Combined range matching of a date and the time beside it (PS3.4 C.2.2.2.5).

    Both ends included, 20 digits as for DT; `time` is the tag of the time.
    """

    time: int
    lowest: str
    highest: str


@dataclass(frozen=True, slots=True)
class AnyItem:
    """Sequence matching: one item that satisfies all of these."""

    criteria: Mapping[int, "Criterion"]


Criterion = Everything | OneOf | Like | NameGroups | Between | DateTimeRange | AnyItem


def criterion(key: Element, depth: int = 0) -> Criterion:
    """Return the criterion of a key; `depth` is the number of sequences around it.

    Raises Invalid that names the tag of an invalid key.
    """
    if key.vr == "SQ" or key.items is not None:
        return _sequence(key, depth)
    text = key.value.strip(" \x00")
    if not text or (text == "*" and key.vr in WILDCARD_VRS):
        return Everything()
    if key.vr in RANGE_VRS:
        return _range(text, key)
    values = [text] if key.vr in SINGLE_VALUED else text.split("\\")
    compared = [comparison.comparable(value, key.vr) for value in values if value.strip()]
    if key.vr in WILDCARD_VRS and wildcards.has_wildcards(text):
        _check_patterns(key, compared)
    if key.vr == "PN":
        return _name(key, compared)
    if key.vr in WILDCARD_VRS and wildcards.has_wildcards(text):
        return Like(key.vr, tuple(compared))
    return OneOf(key.vr, frozenset(compared))


def _check_patterns(key: Element, patterns: list[str]) -> None:
    """Refuse patterns that would take too long to compare with each candidate."""
    if len(patterns) > MOST_PATTERNS:
        raise _invalid_key(key, f"has more than {MOST_PATTERNS} values, and wild cards: split it")
    if sum(map(len, patterns)) > LONGEST_PATTERNS:
        raise _invalid_key(key, f"has wild cards, and more than {LONGEST_PATTERNS} characters")


def _name(key: Element, names: list[str]) -> Criterion:
    if any("=" in name for name in names):
        if sum(name.count("=") + 1 for name in names) > MOST_PATTERNS:
            raise _invalid_key(key, f"has more than {MOST_PATTERNS} component groups")
        return NameGroups(tuple(tuple(name.split("=")) for name in names))
    if any(map(wildcards.has_wildcards, names)):
        return Like("PN", tuple(pattern for name in names for pattern in name_patterns(name)))
    return OneOf("PN", frozenset(names))


def name_patterns(pattern: str) -> list[str]:
    """Return the pattern, and its form for names without the last components.

    `doe^*^*` becomes `doe` and `doe^*`: the latter matches everything that `doe^*^*` matches.
    """
    present = pattern
    while present.endswith("^*"):
        present = present[: -len("^*")]
    return [pattern] if present == pattern else [present, f"{present}^*"]


def _sequence(key: Element, depth: int) -> Criterion:
    items = key.items or []
    if len(items) > 1:
        raise _invalid_key(key, "has more than one item")
    if depth >= DEEPEST:
        raise _invalid_key(key, f"is nested deeper than {DEEPEST} sequences")
    parsed = criteria(items[0], depth=depth + 1) if items else {}
    return AnyItem(parsed) if parsed else Everything()


def _range(text: str, key: Element) -> Criterion:
    if len(text) > _LONGEST_RANGE:
        raise _invalid_key(key, f"is no value or range of VR {key.vr}")
    low, dash, high = _ends(text, key.vr)
    for end in filter(None, (low, high)):
        if not comparison.is_temporal(end, key.vr):
            raise _invalid_key(key, f"is no value or range of VR {key.vr}")
    if not dash:
        return Between(key.vr, comparison.lowest(low, key.vr), comparison.highest(low, key.vr))
    if not low and not high:
        return Everything()
    return Between(key.vr, comparison.lowest(low, key.vr), comparison.highest(high, key.vr))


def _ends(text: str, vr: str) -> tuple[str, str, str]:
    """Split a range at its dash, which is not the sign of a time zone's offset."""
    if vr != "DT" or text.count("-") <= 1:
        single_offset = vr == "DT" and _OFFSET_AT_END.search(text) and len(text) > _SHORTEST_OFFSET
        return (text, "", "") if single_offset and _is_moment(text) else text.partition("-")
    for place in (index for index, each in enumerate(text) if each == "-"):
        low, high = text[:place], text[place + 1 :]
        if all(not end or comparison.is_temporal(end, "DT") for end in (low, high)):
            return low, "-", high
    return text.partition("-")


_SHORTEST_OFFSET = 13  # YYYYMMDD-0100 could as well be two years; so many digits decide


def _is_moment(text: str) -> bool:
    return comparison.is_temporal(text, "DT")


def _invalid_key(key: Element, reason: str) -> Invalid:
    return Invalid(f"Key ({key.group},{key.element}) {reason}.")


def criteria(
    keys: Iterable[Element], *, combined_date_time: bool = False, depth: int = 0
) -> dict[int, Criterion]:
    """Return the criteria that exclude something, by tag; raises Invalid.

    With `combined_date_time`, as negotiated (PS3.4 C.5.1.1), the ranges of a date and the time
    beside it are one range of moments.
    """
    parsed = {key.tag: criterion(key, depth) for key in keys}
    if combined_date_time:
        _combine(parsed)
    excluding: dict[int, Criterion] = {
        tag: each for tag, each in parsed.items() if not isinstance(each, Everything)
    }
    if len(excluding) > MOST_KEYS:
        raise Invalid(f"More than {MOST_KEYS} keys have values.")
    return excluding


def _combine(parsed: dict[int, Criterion]) -> None:
    for date, time in DATES_WITH_TIMES.items():
        day, hour = parsed.get(date), parsed.get(time)
        if isinstance(day, Between) and isinstance(hour, Between):
            del parsed[time]
            parsed[date] = DateTimeRange(time, day.lowest + hour.lowest, day.highest + hour.highest)

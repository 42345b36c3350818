"""Wild card matching of `*` and `?` (PS3.4 C.2.2.2.4), without regular expressions.

Patterns are untrusted and compared with every candidate, so none may take long: the text between
two `*` is searched once, for its first occurrence, and a part with `?` is found in one pass over
the text (the shift-and algorithm). Case and width are normalized in `comparison`.
"""

from collections.abc import Callable, Iterable

Matcher = Callable[[str], bool]


def has_wildcards(text: str) -> bool:
    """Return whether `text` is a pattern rather than a value."""
    return "*" in text or "?" in text


def any_of(patterns: Iterable[str]) -> Matcher:
    """Return the test whether a whole text matches one of the patterns."""
    matchers = [matcher(each) for each in patterns]
    return lambda text: any(matches(text) for matches in matchers)


def matcher(pattern: str) -> Matcher:
    """Return the test whether a whole text matches one pattern."""
    first, *others = pattern.split("*")
    if not others:
        return lambda text: len(text) == len(first) and _fits(first, text, 0)
    *middle, last = others
    finders = [_finder(part) for part in middle if part]
    shortest = len(first) + len(last)

    def matches(text: str) -> bool:
        end = len(text) - len(last)
        if len(text) < shortest or not _fits(first, text, 0) or not _fits(last, text, end):
            return False
        at = len(first)
        for find in finders:
            at = find(text, at, end)
            if at < 0:
                return False
        return True

    return matches


_Finder = Callable[[str, int, int], int]
"""Returns the end of the first occurrence between two positions, or a negative number."""


def _fits(part: str, text: str, at: int) -> bool:
    """Return whether `part`, with `?` for any character, is at position `at` of `text`."""
    if "?" not in part:
        return text.startswith(part, at)
    stretch = text[at : at + len(part)]
    return all(wanted in ("?", found) for wanted, found in zip(part, stretch, strict=True))


def _finder(part: str) -> _Finder:
    if "?" in part:
        return _pattern_finder(part)

    def find(text: str, start: int, end: int) -> int:
        at = text.find(part, start, end)
        return at + len(part) if at >= 0 else -1

    return find


def _pattern_finder(part: str) -> _Finder:
    """Find a part with `?` by shift-and: bit n is set while the last n + 1 characters fit."""
    everywhere, places = 0, dict.fromkeys(part, 0)
    for index, each in enumerate(part):
        if each == "?":
            everywhere |= 1 << index
        else:
            places[each] |= 1 << index
    masks = {each: mask | everywhere for each, mask in places.items() if each != "?"}
    whole = 1 << (len(part) - 1)

    def find(text: str, start: int, end: int) -> int:
        fitting = 0
        for index in range(start, end):
            fitting = (fitting << 1 | 1) & masks.get(text[index], everywhere)
            if fitting & whole:
                return index + 1
        return -1

    return find

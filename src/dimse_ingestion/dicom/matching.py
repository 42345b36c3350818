"""Tests whether elements match the criteria of a C-FIND (PS3.4 C.2.2.2).

`criteria` parses the keys; nothing is fetched here.
"""

from collections.abc import Callable, Iterable, Mapping

from dimse_ingestion.dicom import comparison, wildcards
from dimse_ingestion.dicom.criteria import (
    AnyItem,
    Between,
    Criterion,
    DateTimeRange,
    Everything,
    Like,
    NameGroups,
    OneOf,
    criteria,
    name_patterns,
)
from dimse_ingestion.dicom.elements import Element, by_tag
from dimse_ingestion.dicom.value_representations import SINGLE_VALUED

Elements = Mapping[int, Element]
Predicate = Callable[[Elements], bool]


def predicate(keys: Iterable[Element], *, combined_date_time: bool = False) -> Predicate:
    """Return the test whether all keys match; raises Invalid for an invalid key."""
    return all_of(criteria(keys, combined_date_time=combined_date_time))


def all_of(criteria_by_tag: Mapping[int, Criterion]) -> Predicate:
    """Return the test whether elements satisfy all criteria."""
    tests = [_on_elements(tag, each) for tag, each in criteria_by_tag.items()]
    return lambda elements: all(test(elements) for test in tests)


def _on_elements(tag: int, criterion: Criterion) -> Predicate:
    if isinstance(criterion, DateTimeRange):
        return _moment_test(tag, criterion)
    test = _test(criterion)
    return lambda elements: test(elements.get(tag))


def _moment_test(date: int, criterion: DateTimeRange) -> Predicate:
    """Return the test of a date and time; a date without a time counts as the whole day."""

    def test(elements: Elements) -> bool:
        day = _first(elements.get(date), "DA")
        if not day:
            return False
        time = _first(elements.get(criterion.time), "TM")
        if time:
            return criterion.lowest <= day + time <= criterion.highest
        return criterion.lowest[:8] <= day <= criterion.highest[:8]

    return test


def _first(stored: Element | None, vr: str) -> str:
    """Return the first value as digits, or an empty string."""
    value = stored.values[0] if stored is not None and stored.values else ""
    return comparison.lowest(value, vr) if comparison.is_temporal(value, vr) else ""


def _test(
    criterion: OneOf | Like | NameGroups | Between | AnyItem | Everything,
) -> Callable[[Element | None], bool]:
    match criterion:
        case OneOf(vr, values):
            return _values_test(vr, lambda text: text in values)
        case Like(vr, patterns):
            return _values_test(vr, wildcards.any_of(patterns))
        case NameGroups(names):
            return _names_test(names)
        case Between(vr, low, high):
            return _range_test(vr, low, high)
        case AnyItem(nested):
            return _items_test(all_of(nested))
        case Everything():
            return lambda _: True


def _values_test(vr: str, holds: Callable[[str], bool]) -> Callable[[Element | None], bool]:
    """Return the test whether any value matches, or any component group of a person name."""

    def test(stored: Element | None) -> bool:
        if stored is None or not stored.value:
            return False
        values = [stored.value] if vr in SINGLE_VALUED else stored.values
        if vr != "PN":
            return any(holds(comparison.comparable(value, vr)) for value in values)
        return any(holds(form) for value in values for form in name_forms(value))

    return test


def name_forms(name: str) -> list[str]:
    """Return the forms that a person name key is compared with: the name, and its groups."""
    whole = comparison.folded_name(name)
    groups = [group for group in whole.split("=") if group]
    return groups if groups == [whole] else [whole, *groups]


def _names_test(names: tuple[tuple[str, ...], ...]) -> Callable[[Element | None], bool]:
    tests = [[wildcards.any_of(name_patterns(group or "*")) for group in name] for name in names]

    def test(stored: Element | None) -> bool:
        groups = [comparison.name_groups(name) for name in (stored.values if stored else ())]
        return any(_match_groupwise(each, held) for each in tests for held in groups)

    return test


def _match_groupwise(tests: list[Callable[[str], bool]], held: list[str]) -> bool:
    padded = held + [""] * (len(tests) - len(held))
    return all(holds(group) for holds, group in zip(tests, padded, strict=False))


def _range_test(vr: str, low: str, high: str) -> Callable[[Element | None], bool]:
    def test(stored: Element | None) -> bool:
        values = stored.values if stored is not None else []
        return any(
            low <= comparison.lowest(value, vr) <= high
            for value in values
            if comparison.is_temporal(value, vr)
        )

    return test


def _items_test(holds: Predicate) -> Callable[[Element | None], bool]:
    def test(stored: Element | None) -> bool:
        return stored is not None and any(holds(by_tag(item)) for item in stored.items or ())

    return test

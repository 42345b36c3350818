"""SQL conditions on the key columns for the criteria of a query.

They never exclude a match: what SQL can't decide exactly, `query` decides in Python. A key column
is NULL where only Python can compare the value, so each condition lets NULL pass.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    FromClause,
    and_,
    bindparam,
    exists,
    literal,
    or_,
    select,
    true,
)

from dimse_ingestion.catalogue.event_rows import COLUMNS, PATIENT_NAME
from dimse_ingestion.catalogue.tables import instances, series, studies
from dimse_ingestion.dicom.criteria import (
    Between,
    Criterion,
    DateTimeRange,
    Like,
    NameGroups,
    OneOf,
)
from dimse_ingestion.dicom.query_levels import (
    MODALITIES_IN_STUDY,
    SOP_CLASSES_IN_STUDY,
    levels_to,
)

_TABLES = {"PATIENT": studies, "STUDY": studies, "SERIES": series, "IMAGE": instances}
_MOST_VALUES = 5000  # of one key: a statement has at most 32766 parameters in SQLite
_MOST_VALUES_IN_ALL = 20_000
_MOST_ALTERNATIVES = 100  # of one key: an expression may be 1000 deep in SQLite, each `or` counts
_LONGEST_PATTERN = 1000  # characters: far beyond a key column's, and SQLite refuses long ones
_HIGHEST = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


def conditions(level: str, criteria: Mapping[int, Criterion]) -> Iterator[ColumnElement[bool]]:
    """Yield conditions that hold for every row of a level (its tables joined) that matches.

    A criterion too large for a statement is left to Python.
    """
    values_left = _MOST_VALUES_IN_ALL
    for tag, criterion in criteria.items():
        if not _fits_a_statement(tag, criterion):
            continue
        if isinstance(criterion, OneOf):
            values_left -= len(criterion.values)
            if values_left < 0:
                return
        yield from _conditions(level, tag, criterion)


def _fits_a_statement(tag: int, criterion: Criterion) -> bool:
    """Return whether a statement can have it: few enough alternatives, and no NUL in a text."""
    match criterion:
        case OneOf(vr, values):
            named = tag == PATIENT_NAME and vr == "PN"
            few = len(values) <= (_MOST_ALTERNATIVES if named else _MOST_VALUES)
            return few and _has_no_nul(values)
        case Like(_, patterns):
            few = len(patterns) <= _MOST_ALTERNATIVES
            return few and max(map(len, patterns)) <= _LONGEST_PATTERN and _has_no_nul(patterns)
        case NameGroups(names):
            return len(names) <= _MOST_ALTERNATIVES and all(map(_has_no_nul, names))
    return True


def _has_no_nul(texts: Iterable[str]) -> bool:
    """Return whether PostgreSQL accepts these texts; others are in no key column."""
    return not any("\0" in each for each in texts)


class _TestShape(NamedTuple):
    """A criterion without its values."""

    tag: int
    kind: Literal["one of", "between"]
    vr: str


Shape = tuple[_TestShape, ...]
"""The shape of criteria: a statement for it can be used with any values."""


class ShapedCriteria(NamedTuple):
    """Criteria as their shape, and their values as the parameters of its conditions."""

    shape: Shape
    parameters: dict[str, Any]


def shape_of(criteria: Mapping[int, Criterion]) -> ShapedCriteria | None:
    """Return the criteria by shape; None if the conditions depend on values, as of wild cards."""
    shape: list[_TestShape] = []
    parameters: dict[str, Any] = {}
    values_left = _MOST_VALUES_IN_ALL
    for tag, criterion in sorted(criteria.items()):
        match criterion:
            case OneOf(vr, values) if not (tag == PATIENT_NAME and vr == "PN"):
                values_left -= len(values)
                if values_left < 0 or not _fits_a_statement(tag, criterion):
                    return None
                shape.append(_TestShape(tag, "one of", vr))
                parameters[_name(tag, "values")] = sorted(values)
            case Between(vr, low, high):
                shape.append(_TestShape(tag, "between", vr))
                parameters |= {_name(tag, "low"): low, _name(tag, "high"): high}
            case DateTimeRange(_, low, high):
                shape.append(_TestShape(tag, "between", "DA"))
                parameters |= {_name(tag, "low"): low[:8], _name(tag, "high"): high[:8]}
            case _:
                return None
    return ShapedCriteria(tuple(shape), parameters)


def conditions_of_shape(level: str, shape: Shape) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions of `conditions` with parameters for the values."""
    for tag, kind, vr in shape:
        if kind == "one of":
            values: BindParameter[str] = bindparam(_name(tag, "values"), expanding=True)
            yield from _one_of(level, tag, vr, values)
        else:
            low: BindParameter[str] = bindparam(_name(tag, "low"))
            high: BindParameter[str] = bindparam(_name(tag, "high"))
            yield from _between(level, tag, vr, low, high)


def _name(tag: int, of: str) -> str:
    return f"{of}_{tag:08X}"


def _conditions(level: str, tag: int, criterion: Criterion) -> Iterator[ColumnElement[bool]]:
    match criterion:
        case OneOf("PN") | Like("PN") | NameGroups() if tag == PATIENT_NAME:
            yield or_(studies.c.patient_name.is_(None), *_name_tests(criterion))
        case OneOf(vr, values):
            yield from _one_of(level, tag, vr, sorted(values))
        case Between(vr, low, high):
            yield from _between(level, tag, vr, low, high)
        case DateTimeRange(_, low, high):
            yield from _between(level, tag, "DA", low[:8], high[:8])
        case Like(vr, patterns):
            yield from _on_column(
                level, tag, vr, lambda column: or_(*(_like(column, each) for each in patterns))
            )


def _one_of(
    level: str, tag: int, vr: str, values: Sequence[str] | BindParameter[str]
) -> Iterator[ColumnElement[bool]]:
    is_below_patient = level != "PATIENT"
    if is_below_patient and (tag, vr) == (MODALITIES_IN_STUDY, "CS"):
        yield _has(series, series.c.modality, values)
    elif is_below_patient and (tag, vr) == (SOP_CLASSES_IN_STUDY, "UI"):
        yield _has(instances, instances.c.sop_class_uid, values)
    else:
        yield from _on_column(level, tag, vr, lambda column: column.in_(values))


def _between(
    level: str, tag: int, vr: str, low: str | BindParameter[str], high: str | BindParameter[str]
) -> Iterator[ColumnElement[bool]]:
    yield from _on_column(level, tag, vr, lambda column: (column >= low) & (column <= high))


def _has(
    table: FromClause, column: ColumnElement[str], values: Sequence[str] | BindParameter[str]
) -> ColumnElement[bool]:
    below = table.alias()
    has = below.c.study == studies.c.id, below.c[str(column.key)].in_(values)
    return exists(select(below.c.id).where(*has).correlate(studies))


def _on_column(
    level: str, tag: int, vr: str, test: Callable[[ColumnElement[str]], ColumnElement[bool]]
) -> Iterator[ColumnElement[bool]]:
    """Yield the test on the column of a key, if it has one of this VR."""
    for each in levels_to(level):
        name, vr_of_column = COLUMNS[each].get(tag, ("", ""))
        if vr_of_column == vr:
            column = _TABLES[each].c[name]
            yield or_(column.is_(None), test(column)) if column.nullable else test(column)


def _like(column: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    """Return the condition of a pattern; its fixed beginning is a range, which an index finds."""
    like = column.like(_translated(pattern), escape="\\")
    beginning = _beginning(pattern)
    return _begins(column, beginning) & like if beginning else like


def _name_tests(criterion: OneOf | Like | NameGroups) -> Iterator[ColumnElement[bool]]:
    """Yield alternatives for a name: as a whole, by one component group, or group by group."""
    match criterion:
        case OneOf(_, values):
            yield from map(_is_named, sorted(values))
        case Like(_, patterns):
            yield from map(_is_named_like, patterns)
        case NameGroups(names):
            yield from map(_is_named_groupwise, names)


def _is_named(value: str) -> ColumnElement[bool]:
    whole = studies.c.patient_name == value
    if "=" in value:
        return whole
    first = _begins(studies.c.patient_name, f"{value}=")
    return or_(whole, first, *(group == value for group in _LATER_GROUPS))


def _is_named_like(pattern: str) -> ColumnElement[bool]:
    beginning = _beginning(pattern).split("=")[0]
    if not beginning:
        return studies.c.patient_name.like(f"%{_translated(pattern)}%", escape="\\")
    begins = (_begins(group, beginning) for group in (studies.c.patient_name, *_LATER_GROUPS))
    return or_(*begins)


def _is_named_groupwise(patterns: tuple[str, ...]) -> ColumnElement[bool]:
    """Compare the beginning of each group; the first group begins the whole name."""
    groups = (studies.c.patient_name, *_LATER_GROUPS)
    beginnings = map(_beginning_without_last_components, patterns)
    pairs = zip(groups, beginnings, strict=False)
    return and_(true(), *(_begins(group, beginning) for group, beginning in pairs if beginning))


def _beginning_without_last_components(pattern: str) -> str:
    """Return the fixed beginning without trailing `^*`: `doe^*` matches `doe` too."""
    while pattern.endswith("^*"):
        pattern = pattern.removesuffix("^*")
    return _beginning(pattern)


_LATER_GROUPS = (studies.c.patient_name_ideographic, studies.c.patient_name_phonetic)


def _beginning(pattern: str) -> str:
    return pattern.replace("?", "*").split("*")[0]


def _begins(column: ColumnElement[str], beginning: str) -> ColumnElement[bool]:
    after = _successor(beginning)
    return (column >= beginning) & (column < after if after else literal(value=True))


def _successor(text: str) -> str:
    """Return the first text, by code points, after all that begin with `text`; empty if none."""
    prefix = text.rstrip(chr(_HIGHEST))
    if not prefix:
        return ""
    successor = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(_SURROGATES.stop if successor in _SURROGATES else successor)


def _translated(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")

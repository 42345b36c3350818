"""A question as SQL: which rows may match, narrowed by the columns there are.

Never narrower than the question: what SQL can't decide exactly `answering` decides in Python. A key
column is NULL where only Python can compare the value, so each comparison lets NULL pass.
"""

from collections.abc import Iterable, Iterator, Mapping

from sqlalchemy import ColumnElement, FromClause, Select, exists, func, literal, or_, select
from sqlalchemy import true as always

from dimse_ingestion.catalogue.described import COLUMNS, PATIENT_NAME
from dimse_ingestion.catalogue.tables import instances, objects, series, studies
from dimse_ingestion.dicom.matching import Between, Criterion, Like, OneOf, Within
from dimse_ingestion.dicom.query_levels import (
    MODALITIES_IN_STUDY,
    SOP_CLASSES_IN_STUDY,
    levels_to,
)

TABLES = {"PATIENT": studies, "STUDY": studies, "SERIES": series, "IMAGE": instances}
KEYSET = {
    "PATIENT": studies.c.patient_key,
    "STUDY": studies.c.id,
    "SERIES": series.c.id,
    "IMAGE": instances.c.id,
}
"""What tells the rows of a level apart, and the order in which they are given."""
_SERIES_OF_STUDIES = studies.join(series, series.c.study == studies.c.id)
_JOINED: dict[str, FromClause] = {
    "PATIENT": studies,
    "STUDY": studies,
    "SERIES": _SERIES_OF_STUDIES,
    "IMAGE": _SERIES_OF_STUDIES.join(instances, instances.c.series == series.c.id).join(
        objects, objects.c.id == instances.c.object
    ),
}
_ELEMENTS = {"STUDY": studies, "SERIES": series, "IMAGE": objects}
_MOST_VALUES = 5000  # a statement has at most 32766 parameters in SQLite
_HIGHEST = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


def page(
    level: str, source: str, criteria: Mapping[int, Criterion], after: object, size: int
) -> Select[tuple[object, ...]]:
    """The next `size` rows that may match, after the one told apart by `after` (None: the first).

    A row has `place`, for each level down to this one `<level>_id`, and `<level>_elements` for
    those that tell what is known.
    """
    keyset = KEYSET[level]
    return (
        select(keyset.label("place"), *_level_columns(level))
        .select_from(_JOINED[level])
        .where(studies.c.source == source, *_conditions(level, criteria))
        .where(keyset > after if after is not None else always())
        .where(_speaks_for_its_patient() if level == "PATIENT" else always())
        .order_by(keyset)
        .limit(size)
    )


def telling(level: str) -> list[str]:
    """The levels whose rows tell what is known at `level`: a patient is told by a study."""
    return [each for each in levels_to(level) if each in _ELEMENTS] or ["STUDY"]


def _level_columns(level: str) -> Iterator[ColumnElement[object]]:
    for each in levels_to(level):
        yield KEYSET[each].label(f"{each}_id")
    for each in telling(level):
        yield _ELEMENTS[each].c.elements.label(f"{each}_elements")


def _speaks_for_its_patient() -> ColumnElement[bool]:
    """Of a patient's studies, the one with the highest rank."""
    other = studies.alias()
    higher = select(other.c.id).where(
        other.c.source == studies.c.source,
        other.c.patient_key == studies.c.patient_key,
        other.c.rank > studies.c.rank,
    )
    return ~exists(higher.correlate(studies))


def _conditions(level: str, criteria: Mapping[int, Criterion]) -> Iterator[ColumnElement[bool]]:
    for tag, criterion in criteria.items():
        match criterion:
            case OneOf(_, values) if len(values) > _MOST_VALUES:
                continue
            case OneOf("CS", values) if tag == MODALITIES_IN_STUDY and level != "PATIENT":
                yield _has(series, series.c.modality, values)
            case OneOf("UI", values) if tag == SOP_CLASSES_IN_STUDY and level != "PATIENT":
                yield _has(instances, instances.c.sop_class_uid, values)
            case OneOf("PN") | Like("PN") if tag == PATIENT_NAME:
                yield _name_condition(criterion)
            case Within(_, low, high):
                days = Between("DA", low[:8], high[:8])
                yield from _column_condition(level, tag, days)
            case OneOf() | Like() | Between():
                yield from _column_condition(level, tag, criterion)


def _has(
    table: FromClause, column: ColumnElement[str], values: Iterable[str]
) -> ColumnElement[bool]:
    below = table.alias()
    has = below.c.study == studies.c.id, below.c[str(column.key)].in_(sorted(values))
    return exists(select(below.c.id).where(*has).correlate(studies))


def _column_condition(
    level: str, tag: int, criterion: OneOf | Like | Between
) -> Iterator[ColumnElement[bool]]:
    for each in levels_to(level):
        name, vr = COLUMNS[each].get(tag, ("", ""))
        if vr == criterion.vr:
            column = TABLES[each].c[name]
            compared = _compared(column, criterion)
            yield or_(column.is_(None), compared) if column.nullable else compared


def _compared(column: ColumnElement[str], criterion: OneOf | Like | Between) -> ColumnElement[bool]:
    match criterion:
        case OneOf(_, values):
            return column.in_(sorted(values))
        case Like(_, patterns):
            return or_(*(_like(column, each) for each in patterns))
        case Between(_, low, high):
            return (column >= low) & (column <= high)


def _like(column: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    """A pattern that begins with letters is a range, which an index finds."""
    like = column.like(_translated(pattern), escape="\\")
    beginning = _beginning(pattern)
    return _begins(column, beginning) & like if beginning else like


def _name_condition(criterion: OneOf | Like) -> ColumnElement[bool]:
    """A name matches as a whole or by one of its component groups."""
    name = studies.c.patient_name
    if isinstance(criterion, OneOf):
        tests = [_is_named(each) for each in sorted(criterion.values)]
    else:
        tests = [_is_named_like(each) for each in criterion.patterns]
    return or_(name.is_(None), *tests)


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


_LATER_GROUPS = (studies.c.patient_name_ideographic, studies.c.patient_name_phonetic)


def _beginning(pattern: str) -> str:
    return pattern.replace("?", "*").split("*")[0]


def _begins(column: ColumnElement[str], beginning: str) -> ColumnElement[bool]:
    after = _successor(beginning)
    return (column >= beginning) & (column < after if after else literal(value=True))


def _successor(text: str) -> str:
    """The first text, by code points, that comes after all that begin with `text`."""
    kept = text.rstrip(chr(_HIGHEST))
    if not kept:
        return ""
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)


def _translated(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")


def counted(of: str, below: str, source: str, identities: Iterable[object]) -> Select[object, int]:
    """How many rows of level `below` each of these rows of level `of` has."""
    own = KEYSET[of]
    counting = (
        _JOINED[below]
        if below != "IMAGE"
        else _SERIES_OF_STUDIES.join(instances, instances.c.series == series.c.id)
    )
    return (
        select(own, func.count())
        .select_from(counting)
        .where(studies.c.source == source, own.in_(identities))
        .group_by(own)
    )


def distinct_in_studies(tag: int, identities: Iterable[object]) -> Select[object, str]:
    """The modalities or SOP classes of each of these studies."""
    table, column = {
        MODALITIES_IN_STUDY: (series, series.c.modality),
        SOP_CLASSES_IN_STUDY: (instances, instances.c.sop_class_uid),
    }[tag]
    return select(table.c.study, column).where(table.c.study.in_(identities)).distinct()

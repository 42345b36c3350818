"""A question as SQL: which rows may match, narrowed by the columns there are.

Never narrower than the question: what SQL can't decide exactly `answering` decides in Python.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy import ColumnElement, FromClause, Select, and_, exists, func, or_, select

from dimse_ingestion.catalogue.described import COLUMNS
from dimse_ingestion.catalogue.tables import instances, objects, patients, series, studies
from dimse_ingestion.dicom.matching import Between, Criterion, Like, OneOf
from dimse_ingestion.dicom.query_levels import (
    MODALITIES_IN_STUDY,
    SOP_CLASSES_IN_STUDY,
    levels_to,
)

TABLES = {"PATIENT": patients, "STUDY": studies, "SERIES": series, "IMAGE": instances}
_PATIENT_NAME = 0x00100010
_JOINED: dict[str, FromClause] = {
    "PATIENT": patients,
    "STUDY": patients.join(studies, studies.c.patient == patients.c.id),
}
_JOINED["SERIES"] = _JOINED["STUDY"].join(series, series.c.study == studies.c.id)
_JOINED["IMAGE"] = (
    _JOINED["SERIES"]
    .join(instances, instances.c.series == series.c.id)
    .join(objects, objects.c.id == instances.c.object)
)


def page(
    level: str, source: str, criteria: Mapping[int, Criterion], after: int, size: int
) -> Select[tuple[object, ...]]:
    """The next `size` rows that may match, in order of id, after the row with id `after`.

    A row has `id`, and for each level above and for this one `<level>_id` and `<level>_elements`.
    """
    own = TABLES[level]
    return (
        select(own.c.id, *_level_columns(level))
        .select_from(_JOINED[level])
        .where(patients.c.source == source, own.c.id > after, *_conditions(level, criteria))
        .order_by(own.c.id)
        .limit(size)
    )


def _level_columns(level: str) -> Iterable[ColumnElement[object]]:
    for each in levels_to(level):
        kept = objects if each == "IMAGE" else TABLES[each]
        yield TABLES[each].c.id.label(f"{each}_id")
        yield kept.c.elements.label(f"{each}_elements")


def _conditions(level: str, criteria: Mapping[int, Criterion]) -> Iterable[ColumnElement[bool]]:
    for tag, criterion in criteria.items():
        if tag == _PATIENT_NAME:
            yield from _name_condition(criterion)
        elif tag == MODALITIES_IN_STUDY and isinstance(criterion, OneOf):
            yield _modality_condition(criterion)
        else:
            yield from _column_condition(level, tag, criterion)


def _column_condition(level: str, tag: int, criterion: Criterion) -> Iterable[ColumnElement[bool]]:
    for each in levels_to(level):
        if tag in COLUMNS[each]:
            column = TABLES[each].c[COLUMNS[each][tag][0]]
            yield from _compared(column, criterion)


def _compared(column: ColumnElement[str], criterion: Criterion) -> Iterable[ColumnElement[bool]]:
    match criterion:
        case OneOf(_, values):
            yield column.in_(sorted(values))
        case Like(_, patterns):
            yield or_(*(column.like(_pattern(each), escape="\\") for each in patterns))
        case Between(_, low, high):
            yield column.between(low, high)


def _name_condition(criterion: Criterion) -> Iterable[ColumnElement[bool]]:
    """A name matches as a whole or by one of its groups, which stand between equals signs."""
    match criterion:
        case OneOf(_, values):
            patterns: Iterable[str] = sorted(values)
        case Like(_, patterns):
            pass
        case _:
            return
    groups = (f"%={_pattern(each)}=%" for each in patterns)
    yield or_(*(patients.c.name.like(group, escape="\\") for group in groups))


def _pattern(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")


def _modality_condition(criterion: OneOf) -> ColumnElement[bool]:
    has = and_(series.c.study == studies.c.id, series.c.modality.in_(sorted(criterion.values)))
    return exists(select(series.c.id).where(has).correlate(studies))


def counted(of: str, below: str, identity: int) -> Select[int]:
    """How many rows of level `below` a row of level `of` has."""
    own = TABLES[of]
    return (
        select(func.count(TABLES[below].c.id.distinct()))
        .select_from(_JOINED[below])
        .where(own.c.id == identity)
    )


def distinct_in_study(tag: int, study: int) -> Select[str]:
    """The modalities or SOP classes of a study."""
    column = {
        MODALITIES_IN_STUDY: series.c.modality,
        SOP_CLASSES_IN_STUDY: instances.c.sop_class_uid,
    }[tag]
    joined = _JOINED["SERIES" if tag == MODALITIES_IN_STUDY else "IMAGE"]
    return select(column).select_from(joined).where(studies.c.id == study).distinct()

"""SQL statements of a query: select the rows that may match, and their elements.

The conditions are made in `sql_conditions`; what they leave open `query` decides in Python.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    FromClause,
    Select,
    bindparam,
    exists,
    func,
    select,
)

from dimse_ingestion.catalogue.sql_conditions import conditions
from dimse_ingestion.catalogue.tables import instances, objects, series, studies
from dimse_ingestion.dicom.criteria import Criterion, OneOf
from dimse_ingestion.dicom.query_levels import (
    MODALITIES_IN_STUDY,
    SOP_CLASSES_IN_STUDY,
    UNIQUE_KEYS,
    levels_to,
)

KEYSET = {
    "PATIENT": studies.c.patient_key,
    "STUDY": studies.c.id,
    "SERIES": series.c.id,
    "IMAGE": instances.c.id,
}
"""The column that identifies the rows of a level, and orders them."""
PLACE = (
    "transfer_syntax_uid",
    "bucket_name",
    "object_name",
    "size",
    "header_size",
    "sha256",
)
"""The columns of IMAGE rows with the object's location."""
_SERIES_OF_STUDIES = studies.join(series, series.c.study == studies.c.id)
_JOINED: dict[str, FromClause] = {
    "PATIENT": studies,
    "STUDY": studies,
    "SERIES": _SERIES_OF_STUDIES,
    "IMAGE": _SERIES_OF_STUDIES.join(instances, instances.c.series == series.c.id).join(
        objects, objects.c.id == instances.c.object
    ),
}
_MOST_EXACT = 100
_UID = re.compile(r"[0-9.]{1,64}")
_IDENTITIES: BindParameter[object] = bindparam("identities", expanding=True)
_ELEMENTS = {"STUDY": studies, "SERIES": series, "IMAGE": objects}


def candidates(
    level: str, source: str, criteria: Mapping[int, Criterion], most: int
) -> Select[tuple[object]]:
    """Select the keys of rows that may match, at most `most`; unordered, so indexes are used."""
    return _rows(level, source, criteria, select(KEYSET[level])).limit(most)


def page(
    level: str, source: str, criteria: Mapping[int, Criterion], after: object, size: int
) -> Select[tuple[object, ...]]:
    """Select the next `size` rows that may match, in order, after the key `after`.

    None for `after` selects the first rows. A row has the columns of `_columns`.
    """
    keyset = KEYSET[level]
    rows = _rows(level, source, criteria, select(*_columns(level)))
    if after is not None:
        rows = rows.where(keyset > after)
    return rows.order_by(keyset).limit(size)


def rows_at(level: str, source: str, places: Sequence[object]) -> Select[tuple[object, ...]]:
    """Select the rows with these keys, in order, with the columns of `page`."""
    keyset = KEYSET[level]
    rows = _rows(level, source, {}, select(*_columns(level)))
    return rows.where(keyset.in_(places)).order_by(keyset)


def is_exact(level: str, criteria: Mapping[int, Criterion]) -> bool:
    """Return whether SQL alone decides: the criteria are a few UIDs of studies, series, instances.

    Their columns have exactly the values that Python would compare.
    """
    unique = {UNIQUE_KEYS[each] for each in levels_to(level) if each != "PATIENT"}
    return all(
        tag in unique
        and isinstance(each, OneOf)
        and len(each.values) <= _MOST_EXACT
        and all(map(_UID.fullmatch, each.values))
        for tag, each in criteria.items()
    )


def is_pinpointed(level: str, criteria: Mapping[int, Criterion], most: int) -> bool:
    """Return whether the unique key of the level has values, and at most `most` of them."""
    key = criteria.get(UNIQUE_KEYS[level])
    return level != "PATIENT" and isinstance(key, OneOf) and len(key.values) <= most


def pinpointed(
    level: str, source: str, criteria: Mapping[int, Criterion], most: int
) -> Select[tuple[object, ...]]:
    """Select at most `most` rows that may match, with the columns of `page`.

    They are unordered, so that the index of the unique key is used.
    """
    return _rows(level, source, criteria, select(*_columns(level))).limit(most)


def _rows(
    level: str, source: str, criteria: Mapping[int, Criterion], selected: Select[Any]
) -> Select[Any]:
    rows = selected.select_from(_JOINED[level]).where(
        studies.c.source == source, *conditions(level, criteria)
    )
    return rows.where(_is_patient_s_highest()) if level == "PATIENT" else rows


def levels_with_elements(level: str) -> list[str]:
    """Return the levels whose rows have the elements known at `level`; a patient has a study's."""
    return [each for each in levels_to(level) if each in _ELEMENTS] or ["STUDY"]


def _columns(level: str) -> Iterator[ColumnElement[Any]]:
    """Yield `place`, `<level>_id` for each level down to this one, and the elements.

    For IMAGE also the columns of `PLACE`.
    """
    yield KEYSET[level].label("place")
    for each in levels_to(level):
        yield KEYSET[each].label(f"{each}_id")
    for each in levels_with_elements(level):
        yield _ELEMENTS[each].c.elements.label(f"{each}_elements")
    if level == "IMAGE":
        yield from (objects.c[name] for name in PLACE)


def _is_patient_s_highest() -> ColumnElement[bool]:
    """Return the condition for the study of a patient with the highest rank."""
    other = studies.alias()
    higher = select(other.c.id).where(
        other.c.source == studies.c.source,
        other.c.patient_key == studies.c.patient_key,
        other.c.rank > studies.c.rank,
    )
    return ~exists(higher.correlate(studies))


@cache
def count_related(of: str, below: str) -> Select[object, int]:
    """Count the rows of level `below` for each of some rows of level `of`.

    Its parameters are `source` and `identities`. Built once: that costs more than its execution.
    """
    own = KEYSET[of]
    joined = (
        _JOINED[below]
        if below != "IMAGE"
        else _SERIES_OF_STUDIES.join(instances, instances.c.series == series.c.id)
    )
    return (
        select(own, func.count())
        .select_from(joined)
        .where(studies.c.source == bindparam("source"), own.in_(_IDENTITIES))
        .group_by(own)
    )


@cache
def distinct_in_studies(tag: int) -> Select[object, str]:
    """Select the modalities or SOP classes of each of the studies `identities`. Built once."""
    table, column = {
        MODALITIES_IN_STUDY: (series, series.c.modality),
        SOP_CLASSES_IN_STUDY: (instances, instances.c.sop_class_uid),
    }[tag]
    return select(table.c.study, column).where(table.c.study.in_(_IDENTITIES)).distinct()

"""A question as SQL statements: which rows may match, and what they say.

What of a question SQL can decide is `narrowing`'s matter; the rest `answering` decides in Python.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, exists, func, select

from dimse_ingestion.catalogue.sql_conditions import conditions
from dimse_ingestion.catalogue.tables import instances, objects, series, studies
from dimse_ingestion.dicom.matching import Criterion
from dimse_ingestion.dicom.query_levels import (
    MODALITIES_IN_STUDY,
    SOP_CLASSES_IN_STUDY,
    levels_to,
)

KEYSET = {
    "PATIENT": studies.c.patient_key,
    "STUDY": studies.c.id,
    "SERIES": series.c.id,
    "IMAGE": instances.c.id,
}
"""What tells the rows of a level apart, and the order in which they are given."""
PLACE = (
    "transfer_syntax_uid",
    "bucket_name",
    "object_name",
    "size",
    "header_size",
    "sha256",
)
"""The columns of IMAGE rows that tell where the object stands."""
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


def candidates(
    level: str, source: str, criteria: Mapping[int, Criterion], most: int
) -> Select[tuple[object]]:
    """What tells rows that may match apart, at most `most`, in no order: so indexes find them."""
    return _rows(level, source, criteria, select(KEYSET[level])).limit(most)


def page(
    level: str, source: str, criteria: Mapping[int, Criterion], after: object, size: int
) -> Select[tuple[object, ...]]:
    """The next `size` rows that may match, in order, after the one told apart by `after`.

    None for `after` begins. A row has `place` and what `_columns` says.
    """
    keyset = KEYSET[level]
    rows = _rows(level, source, criteria, select(*_columns(level)))
    if after is not None:
        rows = rows.where(keyset > after)
    return rows.order_by(keyset).limit(size)


def chosen(level: str, source: str, places: Sequence[object]) -> Select[tuple[object, ...]]:
    """The rows at these places, in order, as `page` gives them."""
    keyset = KEYSET[level]
    rows = _rows(level, source, {}, select(*_columns(level)))
    return rows.where(keyset.in_(places)).order_by(keyset)


def _rows(
    level: str, source: str, criteria: Mapping[int, Criterion], selected: Select[Any]
) -> Select[Any]:
    rows = selected.select_from(_JOINED[level]).where(
        studies.c.source == source, *conditions(level, criteria)
    )
    return rows.where(_speaks_for_its_patient()) if level == "PATIENT" else rows


def telling(level: str) -> list[str]:
    """The levels whose rows tell what is known at `level`: a patient is told by a study."""
    return [each for each in levels_to(level) if each in _ELEMENTS] or ["STUDY"]


def _columns(level: str) -> Iterator[ColumnElement[Any]]:
    """`place`; for each level down to this one `<level>_id`; of those that tell, the elements.

    Of IMAGE also those of `PLACE`.
    """
    yield KEYSET[level].label("place")
    for each in levels_to(level):
        yield KEYSET[each].label(f"{each}_id")
    for each in telling(level):
        yield _ELEMENTS[each].c.elements.label(f"{each}_elements")
    if level == "IMAGE":
        yield from (objects.c[name] for name in PLACE)


def _speaks_for_its_patient() -> ColumnElement[bool]:
    """Of a patient's studies, the one with the highest rank."""
    other = studies.alias()
    higher = select(other.c.id).where(
        other.c.source == studies.c.source,
        other.c.patient_key == studies.c.patient_key,
        other.c.rank > studies.c.rank,
    )
    return ~exists(higher.correlate(studies))


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

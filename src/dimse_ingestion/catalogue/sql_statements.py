"""SQL statements of a query: select the rows that may match, and their elements.

The conditions are made in `sql_conditions`; what they leave open `query` decides in Python.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    bindparam,
    exists,
    func,
    select,
)

from dimse_ingestion.catalogue.sql_conditions import (
    Shape,
    conditions,
    conditions_of_shape,
    shape_of,
)
from dimse_ingestion.catalogue.sql_execution import Statement
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
    "calling_ae_title",
    "called_ae_title",
    "proxy_id",
    "received_at",
)
"""The columns of IMAGE rows with the object's location, and who sent it; not the peer's address."""
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
_ALL = 2**31 - 1
_UID = re.compile(r"[0-9.]{1,64}")
_UID_COLUMNS = {
    UNIQUE_KEYS["STUDY"]: studies.c.study_instance_uid,
    UNIQUE_KEYS["SERIES"]: series.c.series_instance_uid,
    UNIQUE_KEYS["IMAGE"]: instances.c.sop_instance_uid,
}
_earlier = studies.alias()
_PLACE_OF_STUDY = (
    select(_earlier.c.id)
    .where(
        _earlier.c.study_instance_uid == bindparam("after"),
        _earlier.c.source == bindparam("source"),
    )
    .scalar_subquery()
)
_IDENTITIES: BindParameter[object] = bindparam("identities", expanding=True)
_ELEMENTS = {"STUDY": studies, "SERIES": series, "IMAGE": objects}


Columns = Literal["all levels", "own level", "place"]
"""Elements of all levels, of the rows' own level, or of none; other columns are always selected."""


class _Form(NamedTuple):
    """The form of a statement: what it selects of rows, their order, where they begin."""

    selected: Columns | Literal["keys", "number", "ranks"] = "all levels"
    is_ordered: bool = False
    newest_first: bool = False
    after_place: bool = False
    after_study: bool = False
    skips: bool = False


Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RowSelection:
    """Statements for the rows of a level that may match, each with its parameters.

    Rows are ordered as they were first stored, or the other way round with `newest_first`. `after`
    is the UID of a study, behind which the rows begin. Whole rows have these `columns`.
    """

    level: str
    source: str
    criteria: Mapping[int, Criterion]
    newest_first: bool = False
    after: str = ""
    columns: Columns = "all levels"

    @property
    def is_exact(self) -> bool:
        """Return whether SQL alone decides: all criteria are a few UIDs of the levels.

        Their columns have exactly the values that Python would compare.
        """
        unique = {UNIQUE_KEYS[each] for each in levels_to(self.level) if each != "PATIENT"}
        return self.level != "PATIENT" and all(
            tag in unique
            and isinstance(each, OneOf)
            and len(each.values) <= _MOST_EXACT
            and all(map(_UID.fullmatch, each.values))
            for tag, each in self.criteria.items()
        )

    def is_pinpointed(self, most: int) -> bool:
        """Return whether the unique key of the level has values, and at most `most` of them."""
        key = self.criteria.get(UNIQUE_KEYS[self.level])
        return self.level != "PATIENT" and isinstance(key, OneOf) and len(key.values) <= most

    def candidates(self, most: int) -> Statement:
        """Select the keys of rows, at most `most`; unordered, so that indexes are used."""
        return self._statement(_Form("keys"), {"most": most})

    def pinpointed(self, most: int) -> Statement:
        """Select at most `most` rows; unordered, so that the index of the unique key is used."""
        return self._statement(_Form(self.columns), {"most": most})

    def page(self, after: object, size: int, skip: int = 0) -> Statement:
        """Select the next `size` rows in order after the key `after`, of which `skip` are left out.

        None for `after` selects the first rows. A row has the columns of `_columns`.
        """
        form = _Form(
            self.columns,
            is_ordered=True,
            newest_first=self.newest_first,
            after_place=after is not None,
            skips=bool(skip),
        )
        parameters = {"most": size} | ({} if after is None else {"place": after})
        return self._statement(form, parameters | ({"skip": skip} if skip else {}))

    def count(self) -> Statement:
        """Count the rows."""
        return self._statement(_Form("number"), {"most": _ALL})

    def ranks(self) -> Statement:
        """Select rank, digest and transfer syntax of each instance's object, in order."""
        return self._statement(_Form("ranks", is_ordered=True), {"most": _ALL})

    def rows_at(self, places: Sequence[object]) -> Statement:
        """Select the rows with these keys, in order, with the columns of `page`."""
        parameters = {"source": self.source, "places": list(places)}
        return Statement(_rows_at(self.level, self.columns, self.newest_first), parameters)

    def _statement(self, form: _Form, parameters: Parameters) -> Statement:
        parameters["source"] = self.source
        if self.after:
            form, parameters["after"] = form._replace(after_study=True), self.after
        if self.is_exact:
            for tag, each in self.criteria.items():
                if isinstance(each, OneOf):  # it is, as `is_exact` says
                    parameters[_parameter(tag)] = sorted(each.values)
            tags = tuple(sorted(self.criteria))
            return Statement(_select_exact(self.level, tags, form), parameters)
        if (shape := shape_of(self.criteria)) is not None:
            select_of_shape = _select_of_shape(self.level, shape.shape, form)
            return Statement(select_of_shape, parameters | shape.parameters)
        selected = _select(self.level, conditions(self.level, self.criteria), form)
        return Statement(selected, parameters, is_prepared=False)


@cache
def _select_exact(level: str, tags: tuple[int, ...], form: _Form) -> Select[Any]:
    """Return the statement for these UIDs. Built once: that costs more than its execution."""
    has_uid = (_UID_COLUMNS[tag].in_(bindparam(_parameter(tag), expanding=True)) for tag in tags)
    return _select(level, has_uid, form)


@lru_cache(maxsize=256)
def _select_of_shape(level: str, shape: Shape, form: _Form) -> Select[Any]:
    """Return the statement for criteria of this shape, whatever their values."""
    return _select(level, conditions_of_shape(level, shape), form)


@cache
def _rows_at(level: str, columns: Columns, newest_first: bool) -> Select[Any]:
    at_places = KEYSET[level].in_(bindparam("places", expanding=True))
    rows = _from_source(level, select(*_columns(level, columns))).where(at_places)
    return rows.order_by(_order(level, newest_first=newest_first))


def _select(level: str, that_hold: Iterable[ColumnElement[bool]], form: _Form) -> Select[Any]:
    keyset = KEYSET[level]
    rows = _from_source(level, select(*_selected(level, form))).where(*that_hold)
    if form.after_study:
        rows = rows.where(studies.c.id < _PLACE_OF_STUDY)
    if form.after_place:
        place = bindparam("place", type_=keyset.type)
        rows = rows.where(keyset < place if form.newest_first else keyset > place)
    if form.is_ordered:
        rows = rows.order_by(_order(level, newest_first=form.newest_first))
    rows = rows.limit(bindparam("most", type_=Integer()))
    rows = rows.offset(bindparam("skip", type_=Integer())) if form.skips else rows
    return select(func.count()).select_from(rows.subquery()) if form.selected == "number" else rows


def _selected(level: str, form: _Form) -> Iterable[ColumnElement[Any]]:
    match form.selected:
        case "keys" | "number":
            return [KEYSET[level]]
        case "ranks":
            return [instances.c.rank, objects.c.sha256, objects.c.transfer_syntax_uid]
        case columns:
            return _columns(level, columns)


def _from_source(level: str, selected: Select[Any]) -> Select[Any]:
    rows = selected.select_from(_JOINED[level]).where(studies.c.source == bindparam("source"))
    return rows.where(_is_patient_s_highest()) if level == "PATIENT" else rows


def _order(level: str, *, newest_first: bool) -> ColumnElement[Any]:
    keyset = KEYSET[level]
    return keyset.desc() if newest_first else keyset.asc()


def _parameter(tag: int) -> str:
    return f"uids_{tag:08X}"


def levels_with_columns(level: str, columns: Columns) -> list[str]:
    """Return the levels whose elements rows with these columns have."""
    levels = levels_with_elements(level)
    return {"all levels": levels, "own level": levels[-1:], "place": []}[columns]


def levels_with_elements(level: str) -> list[str]:
    """Return the levels whose rows have the elements known at `level`; a patient has a study's."""
    return [each for each in levels_to(level) if each in _ELEMENTS] or ["STUDY"]


def _columns(level: str, columns: Columns) -> Iterator[ColumnElement[Any]]:
    """Yield `place`, `<level>_id` for each level down to this one, and elements.

    For IMAGE also the columns of `PLACE`, the class, and the UIDs of all levels.
    """
    yield KEYSET[level].label("place")
    for each in levels_to(level):
        yield KEYSET[each].label(f"{each}_id")
    for each in levels_with_columns(level, columns):
        yield _ELEMENTS[each].c.elements.label(f"{each}_elements")
    if level == "IMAGE":
        yield from (objects.c[name] for name in PLACE)
        yield from (instances.c.sop_class_uid, *_UID_COLUMNS.values())


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
def count_related(of: str, below: str) -> Select[Any]:
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
def distinct_in_studies(tag: int) -> Select[Any]:
    """Select the modalities or SOP classes of each of the studies `identities`. Built once."""
    table, column = {
        MODALITIES_IN_STUDY: (series, series.c.modality),
        SOP_CLASSES_IN_STUDY: (instances, instances.c.sop_class_uid),
    }[tag]
    return select(table.c.study, column).where(table.c.study.in_(_IDENTITIES)).distinct()

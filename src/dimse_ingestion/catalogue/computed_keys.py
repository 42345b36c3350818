"""Keys that no instance has: numbers of related entities, and values of a whole study.

They are computed for a page of rows at once, by a statement for each key. Rows are selected in
`query`.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from dimse_ingestion.catalogue import sql_statements
from dimse_ingestion.catalogue.row_decoder import DecodedRow
from dimse_ingestion.catalogue.sql_execution import Statement
from dimse_ingestion.dicom.elements import element
from dimse_ingestion.dicom.query_levels import (
    COUNTS,
    MODALITIES_IN_STUDY,
    SOP_CLASSES_IN_STUDY,
    levels_to,
)
from dimse_ingestion.queries.contract import Query

_IN_STUDY = {MODALITIES_IN_STUDY: "CS", SOP_CLASSES_IN_STUDY: "UI"}


def _computed_for_all(query: Query) -> set[int]:
    """Return the computed keys of a query for all keys of a level."""
    if not query.all_keys:
        return set()
    own = {tag for tag, (level, _) in COUNTS.items() if level == query.scope}
    return own | (_IN_STUDY.keys() if query.scope == "STUDY" else set())


class ComputedKeys:
    """Keys that no instance has: numbers of related entities, and values of a whole study."""

    def __init__(self, source: str, query: Query) -> None:
        self._source = source
        levels = levels_to(query.scope)
        tags = {key.tag for key in query.keys} | _computed_for_all(query)
        self._counts = [tag for tag in tags if tag in COUNTS and COUNTS[tag][0] in levels]
        self._collected = [tag for tag in tags if tag in _IN_STUDY and "STUDY" in levels]

    def add(self, connection: Connection, rows: Sequence[DecodedRow]) -> None:
        """Add the computed keys to each row's elements, by one statement for each key."""
        for tag in self._counts:
            of, below = COUNTS[tag]
            identities = list({row.columns[f"{of}_id"] for row in rows})
            parameters = {"source": self._source, "identities": identities}
            statement = Statement(sql_statements.count_related(of, below), parameters)
            numbers = {row[0]: row[1] for row in statement.tuples(connection)}
            for row in rows:
                number = numbers.get(row.columns[f"{of}_id"], 0)
                row.known[tag] = element(tag, "IS", str(number))
        for tag in self._collected:
            studies = {row.columns["STUDY_id"] for row in rows}
            collected = self._of_studies(connection, tag, studies)
            for row in rows:
                values = sorted(collected.get(row.columns["STUDY_id"], ()))
                row.known[tag] = element(tag, _IN_STUDY[tag], "\\".join(values))

    def _of_studies(
        self, connection: Connection, tag: int, studies: set[object]
    ) -> dict[object, set[str]]:
        collected: dict[object, set[str]] = {}
        selected = sql_statements.distinct_in_studies(tag)
        statement = Statement(selected, {"identities": list(studies)})
        for study, value in statement.tuples(connection):
            if value:
                collected.setdefault(study, set()).add(value)
        return collected

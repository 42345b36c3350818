"""SQL and Python together find what the standard's matching rules find, for any data and query."""

from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete

from dimse_ingestion.catalogue.record import record
from dimse_ingestion.catalogue.tables import metadata
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.queries.contract import Query
from tests.catalogue_queries import find_all
from tests.instances import Expected, elements, event
from tests.query_examples import INSTANCES, KEYS, LEVELS, SERIES, STUDIES, UNIQUE


@st.composite
def events(draw: st.DrawFn) -> ImageStoredEvent:
    keywords = draw(st.sets(st.sampled_from([each for each in KEYS if KEYS[each][0]]), max_size=8))
    values: dict[str, Any] = {
        each: draw(st.sampled_from(KEYS[each][0])) for each in sorted(keywords)
    }
    name = draw(st.sampled_from("abcdefgh"))
    return event(
        name,
        second=ord(name) % 5 * 10,
        study=draw(st.sampled_from(STUDIES)),
        series=draw(st.sampled_from(SERIES)),
        instance=draw(st.sampled_from(INSTANCES)),
        **values,
    )


@st.composite
def queries(draw: st.DrawFn) -> Query:
    scope = draw(st.sampled_from(sorted(LEVELS)))
    keys = draw(st.sets(st.sampled_from(LEVELS[scope]), max_size=4))
    values = {
        each: draw(st.sampled_from(KEYS[each][1] if each in KEYS else UNIQUE[each]))
        for each in sorted(keys)
    }
    return Query(scope=scope, keys=elements(**values), combined_date_time=draw(st.booleans()))


def comparable(matches: list[list[Element]]) -> list[str]:
    return sorted(repr(match) for match in matches)


@pytest.mark.parametrize("duplicates", ["latest", "first"])
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(
    stored=st.lists(events(), min_size=1, max_size=10),
    queries_sent=st.lists(queries(), min_size=1, max_size=6),
    cut=st.integers(0, 10),
)
def test_the_catalogue_answers_as_the_rules_alone_would(
    engine: Engine,
    duplicates: Literal["latest", "first"],
    stored: list[ImageStoredEvent],
    queries_sent: list[Query],
    cut: int,
) -> None:
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
    once = list({each.data.store.object_name: each for each in reversed(stored)}.values())
    for batch in (once[:cut], once[cut:]):
        assert not [each for each in record(engine, batch, duplicates) if each != "new"]
    expected = Expected(once, duplicates)
    for query in queries_sent:
        assert comparable(find_all(engine, query)) == comparable(expected.matches(query)), query

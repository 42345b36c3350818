"""A resource that a list shows and no watch has told of, for too long, is a dead watch."""

from collections.abc import Mapping
from typing import Any

import pytest

from dimse_ingestion.operator.resources import Key, Resource
from dimse_ingestion.operator.watch_health import Watchfulness
from tests.unit.operator.resources import resource


class Listing:
    """The cluster, as far as it is listed."""

    def __init__(self, *there: Resource) -> None:
        self.there = there

    async def listed(
        self, _version: str, kind: str, _namespace: str = "", labels: Mapping[str, str] = {}
    ) -> list[Any]:
        return [each.body for each in self.there if each.body["kind"] == kind]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def changed(**metadata: Any) -> Resource:
    body = resource().body
    return Resource({**body, "metadata": body["metadata"] | metadata})


@pytest.mark.parametrize(
    ("there", "known", "dead"),
    [
        (resource(), resource(), False),
        (resource(), None, True),
        (changed(generation=4), resource(), True),
        (changed(generation=2), resource(), False),
        (changed(uid="other"), resource(), True),
    ],
)
async def test_what_is_not_heard_of_in_time(
    there: Resource, known: Resource | None, dead: bool
) -> None:
    told: dict[Key, Resource] = {known.key: known} if known else {}
    clock = Clock()
    watchfulness = Watchfulness(Listing(there), told, (), [].append, clock)  # type: ignore[arg-type]
    await watchfulness.compare()
    assert watchfulness.trouble == ""
    clock.now = 121.0
    await watchfulness.compare()
    assert bool(watchfulness.trouble) is dead


async def test_what_comes_late_is_no_trouble() -> None:
    told: dict[Key, Resource] = {}
    clock = Clock()
    watchfulness = Watchfulness(Listing(resource()), told, (), [].append, clock)  # type: ignore[arg-type]
    await watchfulness.compare()
    told[resource().key] = resource()
    await watchfulness.compare()
    clock.now = 121.0
    assert watchfulness.trouble == ""


async def test_what_has_gone_unheard_is_looked_at_and_is_trouble_if_that_does_not_help() -> None:
    one = resource()
    told, looked_at, clock = {one.key: one}, list[Key](), Clock()
    watchfulness = Watchfulness(Listing(), told, (), looked_at.append, clock)  # type: ignore[arg-type]
    await watchfulness.compare()
    assert looked_at == [one.key]
    clock.now = 121.0
    await watchfulness.compare()
    assert "has not told of DimseIngestionService imaging/img-ingest" in watchfulness.trouble
    told.clear()
    await watchfulness.compare()
    assert watchfulness.trouble == ""
    assert len(looked_at) == 2


async def test_what_comes_or_goes_during_the_comparison_is_no_trouble() -> None:
    told: dict[Key, Resource] = {resource().key: resource()}
    looked_at = list[Key]()

    class Going(Listing):
        async def listed(self, *of: Any, **chosen: Any) -> list[Any]:
            told.clear()
            return []

    clock = Clock()
    watchfulness = Watchfulness(Going(), told, (), looked_at.append, clock)  # type: ignore[arg-type]
    await watchfulness.compare()
    clock.now = 121.0
    assert watchfulness.trouble == ""
    assert not looked_at

"""A resource that a list shows, and that no watch event reported for too long, is a dead watch."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dimse_ingestion.operator.resources import Key, Manifest, Resource
from dimse_ingestion.operator.watch_health import ObjectWatchCheck, ResourceWatchCheck
from tests.unit.operator.resources import resource


class Listing:
    """The cluster, as far as it is listed."""

    def __init__(self, *there: Resource) -> None:
        self.there = there

    async def list_objects(
        self, _version: str, kind: str, _namespace: str = "", labels: Mapping[str, str] = {}
    ) -> list[Any]:
        return [each.body for each in self.there if each.body["kind"] == kind]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def watch_check(
    listing: Listing, seen: dict[Key, Resource], wake: Callable[[Key], None], clock: Clock
) -> ResourceWatchCheck:
    return ResourceWatchCheck(listing, seen, (), wake, clock)  # type: ignore[arg-type] # only listed


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
async def test_a_resource_without_an_event_in_time_is_a_dead_watch(
    there: Resource, known: Resource | None, dead: bool
) -> None:
    output: dict[Key, Resource] = {known.key: known} if known else {}
    clock = Clock()
    resource_watch = watch_check(Listing(there), output, list[Key]().append, clock)
    await resource_watch.compare()
    assert resource_watch.problem == ""
    clock.now = 121.0
    await resource_watch.compare()
    assert bool(resource_watch.problem) is dead


async def test_what_comes_late_is_no_problem() -> None:
    output: dict[Key, Resource] = {}
    clock = Clock()
    resource_watch = watch_check(Listing(resource()), output, list[Key]().append, clock)
    await resource_watch.compare()
    output[resource().key] = resource()
    await resource_watch.compare()
    clock.now = 121.0
    assert resource_watch.problem == ""


async def test_a_resource_deleted_without_an_event_is_reconciled_first() -> None:
    one = resource()
    output, woken, clock = {one.key: one}, list[Key](), Clock()
    resource_watch = watch_check(Listing(), output, woken.append, clock)
    await resource_watch.compare()
    assert woken == [one.key]
    clock.now = 121.0
    await resource_watch.compare()
    assert "sent no event about DimseIngestionService imaging/img-ingest" in resource_watch.problem
    output.clear()
    await resource_watch.compare()
    assert resource_watch.problem == ""
    assert len(woken) == 2


async def test_what_comes_or_goes_during_the_comparison_is_no_problem() -> None:
    output: dict[Key, Resource] = {resource().key: resource()}
    woken = list[Key]()

    class Going(Listing):
        async def list_objects(self, *of: Any, **chosen: Any) -> list[Any]:
            output.clear()
            return []

    clock = Clock()
    resource_watch = watch_check(Going(), output, woken.append, clock)
    await resource_watch.compare()
    clock.now = 121.0
    assert resource_watch.problem == ""
    assert not woken


OURS: dict[str, Any] = {"labels": {"app.kubernetes.io/name": "dimse-ingestion"}}


def manifest(kind: str = "Secret", version: str = "5", **metadata: Any) -> Manifest:
    named = {"name": "a", "namespace": "imaging", "resourceVersion": version}
    return {"kind": kind, "metadata": named | metadata}


def problem(object_watch: ObjectWatchCheck, clock: Clock) -> str:
    clock.now += 121.0
    return object_watch.problem


@pytest.mark.parametrize(
    ("match", "dead"),
    [
        (manifest(), True),
        (manifest("ConfigMap"), True),
        (manifest("Deployment", **OURS), True),
        (manifest("Service", **OURS), True),
        (manifest("Service"), False),
        (manifest("ServiceAccount", **OURS), False),
        (manifest(namespace="other"), False),
    ],
)
def test_what_is_found_and_watched_must_have_an_event(match: Manifest, dead: bool) -> None:
    clock = Clock()
    object_watch = ObjectWatchCheck(["imaging"], clock)
    object_watch.record_read(match, 0.0)
    assert object_watch.problem == ""
    assert bool(problem(object_watch, clock)) is dead


def test_what_had_an_event_is_no_problem_until_there_is_a_newer() -> None:
    clock = Clock()
    object_watch = ObjectWatchCheck((), clock)
    object_watch.record_event(manifest())
    clock.now = 1.0
    object_watch.record_read(manifest(), 1.0)
    assert problem(object_watch, clock) == ""
    object_watch.record_read(manifest(version="6"), clock.now)
    assert "Secret imaging/a" in problem(object_watch, clock)


def test_a_late_event_or_one_during_the_reconciliation_is_no_problem() -> None:
    clock = Clock()
    object_watch = ObjectWatchCheck((), clock)
    object_watch.record_read(manifest(), 0.0)
    object_watch.record_event(manifest(version="7"))
    assert problem(object_watch, clock) == ""
    object_watch.record_read(manifest(version="8"), clock.now - 200)  # one that was under way
    assert problem(object_watch, clock) == ""


@pytest.mark.parametrize("received", [True, False])
def test_what_is_gone_is_no_problem(received: bool) -> None:
    clock = Clock()
    object_watch = ObjectWatchCheck((), clock)
    object_watch.record_read(manifest(), 0.0)
    if received:
        object_watch.record_event(manifest(version="6"), deleted=True)
    else:
        object_watch.record_absence("Secret", "imaging", "a")
    assert problem(object_watch, clock) == ""

"""A version of an object that a look finds and no watch tells of in time is a dead watch."""

from typing import Any

import pytest

from dimse_ingestion.operator.resources import Manifest
from dimse_ingestion.operator.watch_check import Hearing
from tests.unit.operator.test_watch_health import Clock

OURS = {"labels": {"app.kubernetes.io/name": "dimse-ingestion"}}


def manifest(kind: str = "Secret", version: str = "5", **metadata: Any) -> Manifest:
    named = {"name": "a", "namespace": "imaging", "resourceVersion": version}
    return {"kind": kind, "metadata": named | metadata}


def trouble(hearing: Hearing, clock: Clock) -> str:
    clock.now += 121.0
    return hearing.trouble


@pytest.mark.parametrize(
    ("found", "dead"),
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
def test_what_is_found_and_watched_must_be_heard_of(found: Manifest, dead: bool) -> None:
    clock = Clock()
    hearing = Hearing(["imaging"], clock)
    hearing.found(found, 0.0)
    assert hearing.trouble == ""
    assert bool(trouble(hearing, clock)) is dead


def test_what_was_heard_of_is_no_trouble_until_there_is_a_newer() -> None:
    clock = Clock()
    hearing = Hearing((), clock)
    hearing.heard(manifest())
    clock.now = 1.0
    hearing.found(manifest(), 1.0)
    assert trouble(hearing, clock) == ""
    hearing.found(manifest(version="6"), clock.now)
    assert "Secret imaging/a" in trouble(hearing, clock)


def test_what_is_heard_late_or_during_the_look_is_no_trouble() -> None:
    clock = Clock()
    hearing = Hearing((), clock)
    hearing.found(manifest(), 0.0)
    hearing.heard(manifest(version="7"))
    assert trouble(hearing, clock) == ""
    hearing.found(manifest(version="8"), clock.now - 200)  # one that was under way
    assert trouble(hearing, clock) == ""


@pytest.mark.parametrize("heard", [True, False])
def test_what_is_gone_is_no_trouble(heard: bool) -> None:
    clock = Clock()
    hearing = Hearing((), clock)
    hearing.found(manifest(), 0.0)
    if heard:
        hearing.heard(manifest(version="6"), gone=True)
    else:
        hearing.missed("Secret", "imaging", "a")
    assert trouble(hearing, clock) == ""

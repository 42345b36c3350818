"""Each phase says who has to do something, and a condition's time is when it changed."""

from typing import Any

import pytest

from dimse_ingestion.operator.status import Seen, secondary_resources, status_of
from tests.unit.operator.resources import deployment, resource

NOW, EARLIER = "2026-01-02T03:04:05Z", "2026-01-01T00:00:00Z"
STUCK = {"conditions": [{"type": "Progressing", "status": "False"}]}
WAS_READY = {"phase": "Ready"}


def told(seen: Seen, before: dict[str, Any] | None = None) -> dict[str, Any]:
    return status_of(resource(status=before), seen, NOW)


@pytest.mark.parametrize(
    ("seen", "before", "phase", "said"),
    [
        (Seen(deployments=[deployment()]), {}, "Ready", "Everything is there"),
        (Seen(deployments=[deployment(available=1)]), {}, "Progressing", "has 1 of 2 pods"),
        (Seen(deployments=[deployment(updated=1)]), WAS_READY, "Progressing", "1 of 2 are of the"),
        (Seen(deployments=[deployment(available=1)]), WAS_READY, "Degraded", "has 1 of 2 pods"),
        (Seen(deployments=[deployment(available=0, **STUCK)]), {}, "Degraded", "has 0 of 2 pods"),
        (Seen(missing=["Missing a."]), {}, "Pending", "Missing a."),
        (Seen(missing=["Missing a."]), WAS_READY, "Degraded", "Missing a."),
        (Seen(troubles=["No b."], missing=["Missing a."]), WAS_READY, "Failed", "No b."),
        (Seen(mistakes=["No c."]), WAS_READY, "Failed", "No c."),
        (Seen(mistakes=[f"No {n}." for n in range(5)]), {}, "Failed", "No 2; and 2 more."),
    ],
)
def test_phase_and_message(seen: Seen, before: dict[str, Any], phase: str, said: str) -> None:
    status = told(seen, before)
    assert status["phase"] == phase
    assert said in status["message"]
    assert status["ready"] is (phase == "Ready")
    assert status["observedGeneration"] == 3


def test_a_rollout_that_kubernetes_has_not_seen_is_under_way() -> None:
    unseen = deployment(observedGeneration=3)
    status = told(Seen(deployments=[unseen]), WAS_READY)
    assert status["phase"] == "Progressing"
    assert "exchanges its pods: 0 of 2 are of the newest spec" in status["message"]


def test_none_wanted_is_ready() -> None:
    assert told(Seen(deployments=[deployment(wanted=0, available=0)]))["phase"] == "Ready"


def test_scale_is_told_by_the_kinds_component() -> None:
    status = told(Seen(deployments=[deployment()], objects=[deployment()]))
    assert (status["replicas"], status["selector"]) == (2, "a=1,b=2")


def test_a_spec_that_is_refused_leaves_told_what_is_still_there() -> None:
    ready = told(Seen(deployments=[deployment()], objects=[deployment()]))
    refused = told(Seen(mistakes=["No c."]), ready)
    for name in ("replicas", "selector", "secondaryResources"):
        assert refused[name] == ready[name] != 0, name
    assert told(Seen(mistakes=["No c."]))["secondaryResources"] == {}


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    before = {
        "conditions": [
            {"type": "Ready", "status": "False", "lastTransitionTime": EARLIER},
            {"type": "ReferencesFound", "status": "False", "lastTransitionTime": EARLIER},
        ]
    }
    seen = Seen(deployments=[deployment(available=0)])
    conditions = {each["type"]: each for each in told(seen, before)["conditions"]}
    assert conditions["Ready"]["lastTransitionTime"] == EARLIER
    assert conditions["ReferencesFound"]["lastTransitionTime"] == NOW
    assert conditions["Released"]["status"] == "True"


def test_what_is_refused_is_not_looked_for() -> None:
    conditions = {each["type"]: each for each in told(Seen(mistakes=["No."]))["conditions"]}
    assert conditions["ReferencesFound"]["status"] == "Unknown"
    assert conditions["Released"]["reason"] == "SpecRefused"


def test_secondary_resources_are_names_by_kind() -> None:
    objects = [
        {"kind": kind, "metadata": {"name": name}}
        for kind, name in (("Service", "b"), ("Deployment", "a"), ("Service", "a"))
    ]
    assert secondary_resources(objects) == {"Deployment": ["a"], "Service": ["a", "b"]}

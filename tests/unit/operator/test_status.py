"""Each phase says who has to do something, and a condition's time is when it changed."""

from typing import Any

import pytest

from dimse_ingestion.operator.status import Observation, secondary_resources, status_of
from tests.unit.operator.resources import deployment, resource

NOW, EARLIER = "2026-01-02T03:04:05Z", "2026-01-01T00:00:00Z"
STUCK: dict[str, Any] = {"conditions": [{"type": "Progressing", "status": "False"}]}
WAS_READY = {"phase": "Ready"}


def summarize(observation: Observation, before: dict[str, Any] | None = None) -> dict[str, Any]:
    return status_of(resource(status=before), observation, NOW)


@pytest.mark.parametrize(
    ("observation", "before", "phase", "text"),
    [
        (Observation(deployments=[deployment()]), {}, "Ready", "All resources exist"),
        (Observation(deployments=[deployment(available=1)]), {}, "Progressing", "has 1 of 2 pods"),
        (
            Observation(deployments=[deployment(updated=1)]),
            WAS_READY,
            "Progressing",
            "1 of 2 have the newest spec",
        ),
        (
            Observation(deployments=[deployment(available=1)]),
            WAS_READY,
            "Degraded",
            "has 1 of 2 pods",
        ),
        (
            Observation(deployments=[deployment(available=0, **STUCK)]),
            {},
            "Degraded",
            "has 0 of 2 pods",
        ),
        (Observation(missing=["Missing a."]), {}, "Pending", "Missing a."),
        (Observation(missing=["Missing a."]), WAS_READY, "Degraded", "Missing a."),
        (Observation(failures=["No b."], missing=["Missing a."]), WAS_READY, "Failed", "No b."),
        (Observation(mistakes=["No c."]), WAS_READY, "Failed", "No c."),
        (Observation(mistakes=[f"No {n}." for n in range(5)]), {}, "Failed", "No 2; and 2 more."),
    ],
)
def test_phase_and_message(
    observation: Observation, before: dict[str, Any], phase: str, text: str
) -> None:
    status = summarize(observation, before)
    assert status["phase"] == phase
    assert text in status["message"]
    assert status["ready"] is (phase == "Ready")
    assert status["observedGeneration"] == 3


def test_a_rollout_that_kubernetes_has_not_seen_is_under_way() -> None:
    unseen = deployment(observedGeneration=3)
    status = summarize(Observation(deployments=[unseen]), WAS_READY)
    assert status["phase"] == "Progressing"
    assert "replaces its pods: 0 of 2 have the newest spec" in status["message"]


def test_none_wanted_is_ready() -> None:
    assert (
        summarize(Observation(deployments=[deployment(wanted=0, available=0)]))["phase"] == "Ready"
    )


def test_scale_is_reported_by_the_kinds_component() -> None:
    status = summarize(Observation(deployments=[deployment()], objects=[deployment()]))
    assert (status["replicas"], status["selector"]) == (2, "a=1,b=2")


def test_a_spec_that_is_refused_leaves_in_the_status_what_is_still_there() -> None:
    ready = summarize(Observation(deployments=[deployment()], objects=[deployment()]))
    refused = summarize(Observation(mistakes=["No c."]), ready)
    for name in ("replicas", "selector", "secondaryResources"):
        assert refused[name] == ready[name] != 0, name
    assert summarize(Observation(mistakes=["No c."]))["secondaryResources"] == {}


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    before = {
        "conditions": [
            {"type": "Ready", "status": "False", "lastTransitionTime": EARLIER},
            {"type": "ReferencesFound", "status": "False", "lastTransitionTime": EARLIER},
        ]
    }
    observation = Observation(deployments=[deployment(available=0)])
    conditions = {each["type"]: each for each in summarize(observation, before)["conditions"]}
    assert conditions["Ready"]["lastTransitionTime"] == EARLIER
    assert conditions["ReferencesFound"]["lastTransitionTime"] == NOW
    assert conditions["Released"]["status"] == "True"


def test_what_is_refused_is_not_sought() -> None:
    conditions = {
        each["type"]: each for each in summarize(Observation(mistakes=["No."]))["conditions"]
    }
    assert conditions["ReferencesFound"]["status"] == "Unknown"
    assert conditions["Released"]["reason"] == "SpecRefused"


def test_secondary_resources_are_names_by_kind() -> None:
    objects = [
        {"kind": kind, "metadata": {"name": name}}
        for kind, name in (("Service", "b"), ("Deployment", "a"), ("Service", "a"))
    ]
    assert secondary_resources(objects) == {"Deployment": ["a"], "Service": ["a", "b"]}

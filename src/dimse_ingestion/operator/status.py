"""The status of a resource: phase, message, conditions. Pure; the caller passes the time.

The phase says who has to act: nobody (Progressing, Ready), whoever provides what is missing
(Pending, Degraded), whoever wrote the spec (Failed).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dimse_ingestion.operator.resources import Manifest, Resource

_WAS_READY = ("Ready", "Degraded")
_SHOWN = 3


@dataclass(frozen=True)
class Observation:
    """The observed state of a resource's release.

    `mistakes` are the spec's, `failures` are objects that could not be applied, `missing` are
    references to missing objects; a sentence each. `deployments` are as read from the cluster.
    """

    mistakes: Sequence[str] = ()
    failures: Sequence[str] = ()
    missing: Sequence[str] = ()
    deployments: Sequence[Mapping[str, Any]] = ()
    objects: Sequence[Manifest] = ()


@dataclass(frozen=True)
class Summary:
    """A phase, the reason of the condition and the message for both."""

    phase: str
    reason: str
    message: str


def status_of(resource: Resource, observation: Observation, now: str) -> dict[str, Any]:
    """Return the whole status; `now` (RFC 3339) is the transition time of changed conditions."""
    summary = _summarize(resource, observation)
    return {
        "phase": summary.phase,
        "message": summary.message,
        "ready": summary.phase == "Ready",
        "observedGeneration": resource.generation,
        **(_cluster_state(resource, observation) if observation.objects else _last_state(resource)),
        "conditions": _conditions(resource, observation, summary, now),
    }


def _cluster_state(resource: Resource, observation: Observation) -> dict[str, Any]:
    component = _of_component(resource, observation.deployments)
    return {
        "replicas": sum(each.get("status", {}).get("replicas", 0) for each in component),
        "selector": ",".join(map(_selector, component)),
        "secondaryResources": secondary_resources(observation.objects),
    }


def _last_state(resource: Resource) -> dict[str, Any]:
    """Return the last state, for a spec that gives no objects: the earlier ones still exist."""
    nothing = {"replicas": 0, "selector": "", "secondaryResources": {}}
    return {name: resource.status.get(name, default) for name, default in nothing.items()}


def secondary_resources(objects: Iterable[Manifest]) -> dict[str, list[str]]:
    """Return names by kind, in the original project's form."""
    names: dict[str, list[str]] = {}
    for each in objects:
        names.setdefault(each["kind"], []).append(each["metadata"]["name"])
    return {kind: sorted(values) for kind, values in sorted(names.items())}


def _summarize(resource: Resource, observation: Observation) -> Summary:
    if observation.mistakes:
        return Summary("Failed", "SpecRefused", _join_sentences(observation.mistakes))
    if observation.failures:
        return Summary("Failed", "NotApplied", _join_sentences(observation.failures))
    was_ready = resource.status.get("phase") in _WAS_READY
    if observation.missing:
        return Summary(
            "Degraded" if was_ready else "Pending",
            "ReferencesMissing",
            _join_sentences(observation.missing),
        )
    waiting = [each for each in observation.deployments if not _is_ready(each)]
    if not waiting:
        return Summary("Ready", "PodsReady", "All resources exist and are ready.")
    stuck = [each for each in waiting if _is_stuck(each)]
    has_degraded = was_ready and all(_is_rolled_out(each) for each in waiting)
    phase = "Degraded" if has_degraded or stuck else "Progressing"
    return Summary(phase, "PodsNotReady", _join_sentences([_progress(each) for each in waiting]))


def _conditions(
    resource: Resource, observation: Observation, summary: Summary, now: str
) -> list[dict[str, Any]]:
    before = {each["type"]: each for each in resource.status.get("conditions") or []}
    conditions = []
    for name, status, reason, message in (
        ("Released", *_released_condition(observation, summary)),
        ("ReferencesFound", *_references_condition(observation)),
        ("Ready", str(summary.phase == "Ready"), summary.reason, summary.message),
    ):
        last = before.get(name, {})
        conditions.append(
            {
                "type": name,
                "status": status,
                "observedGeneration": resource.generation,
                "lastTransitionTime": (
                    last["lastTransitionTime"] if last.get("status") == status else now
                ),
                "reason": reason,
                "message": message,
            }
        )
    return conditions


def _released_condition(observation: Observation, summary: Summary) -> tuple[str, str, str]:
    if observation.mistakes or observation.failures:
        return "False", summary.reason, summary.message
    return "True", "Applied", "All objects of the release are applied."


def _references_condition(observation: Observation) -> tuple[str, str, str]:
    if observation.mistakes:
        return "Unknown", "SpecRefused", "Not checked, because the spec is refused."
    if observation.missing:
        return "False", "ReferencesMissing", _join_sentences(observation.missing)
    return "True", "Found", "All objects that the spec refers to exist."


def _of_component(
    resource: Resource, deployments: Iterable[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return the Deployment that the kind is named after, if it exists."""
    suffix = f"-{resource.kind.component}"
    return [each for each in deployments if each["metadata"]["name"].endswith(suffix)]


def _selector(deployment: Mapping[str, Any]) -> str:
    labels = deployment["spec"]["selector"]["matchLabels"]
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _wanted(deployment: Mapping[str, Any]) -> int:
    return int(deployment["spec"].get("replicas", 1))


def _available(deployment: Mapping[str, Any]) -> int:
    return int(deployment.get("status", {}).get("availableReplicas", 0))


def _is_observed(deployment: Mapping[str, Any]) -> bool:
    """Return whether a Deployment's status is about its newest spec."""
    observation = deployment.get("status", {}).get("observedGeneration")
    return bool(observation == deployment["metadata"].get("generation"))


def _newest(deployment: Mapping[str, Any]) -> int:
    """Return how many of its pods, ready or not, have the newest spec."""
    return (
        int(deployment.get("status", {}).get("updatedReplicas", 0))
        if _is_observed(deployment)
        else 0
    )


def _is_rolled_out(deployment: Mapping[str, Any]) -> bool:
    """Return whether all its pods have the newest spec."""
    newest, total = _newest(deployment), deployment.get("status", {}).get("replicas", 0)
    return _is_observed(deployment) and newest >= _wanted(deployment) and newest == total


def _is_ready(deployment: Mapping[str, Any]) -> bool:
    return _is_rolled_out(deployment) and _available(deployment) >= _wanted(deployment)


def _is_stuck(deployment: Mapping[str, Any]) -> bool:
    """Return whether Kubernetes has given up waiting for a rollout."""
    conditions = deployment.get("status", {}).get("conditions") or []
    return any(each["type"] == "Progressing" and each["status"] == "False" for each in conditions)


def _progress(deployment: Mapping[str, Any]) -> str:
    name, wanted = deployment["metadata"]["name"], _wanted(deployment)
    available = _available(deployment)
    if available >= wanted:
        newest = _newest(deployment)
        return f"Deployment {name} replaces its pods: {newest} of {wanted} have the newest spec."
    return (
        f"Deployment {name} has {available} of {wanted} pods ready; "
        "their logs and /readyz say what they wait for."
    )


def _join_sentences(sentences: Sequence[str]) -> str:
    """Join the first few sentences, and count the others."""
    more = len(sentences) - _SHOWN
    shown = "; ".join(each.removesuffix(".") for each in sentences[:_SHOWN])
    return f"{shown}; and {more} more." if more > 0 else f"{shown}."

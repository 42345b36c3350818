"""What is told of a resource: phase, message, conditions. Pure; time is the caller's.

The phase says who has to do something: nobody (Progressing, Ready), whoever brings what is missing
(Pending, Degraded), whoever wrote the spec (Failed).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dimse_ingestion.operator.resources import Manifest, Resource

_WAS_READY = ("Ready", "Degraded")
_SHOWN = 3


@dataclass(frozen=True)
class Seen:
    """What was found out about a resource's release.

    `mistakes` are the spec's, `troubles` are objects that could not be made, `missing` is what the
    spec names; a sentence each. `deployments` are as the cluster has them.
    """

    mistakes: Sequence[str] = ()
    troubles: Sequence[str] = ()
    missing: Sequence[str] = ()
    deployments: Sequence[Mapping[str, Any]] = ()
    objects: Sequence[Manifest] = ()


@dataclass(frozen=True)
class Told:
    """A phase, the condition's reason and the sentence that goes with both."""

    phase: str
    reason: str
    message: str


def status_of(resource: Resource, seen: Seen, now: str) -> dict[str, Any]:
    """The whole status; `now` (RFC 3339) is when a condition that changes has changed."""
    told = _told(resource, seen)
    return {
        "phase": told.phase,
        "message": told.message,
        "ready": told.phase == "Ready",
        "observedGeneration": resource.generation,
        **(_there(resource, seen) if seen.objects else _last_told(resource)),
        "conditions": _conditions(resource, seen, told, now),
    }


def _there(resource: Resource, seen: Seen) -> dict[str, Any]:
    component = _of_component(resource, seen.deployments)
    return {
        "replicas": sum(each.get("status", {}).get("replicas", 0) for each in component),
        "selector": ",".join(map(_selector, component)),
        "secondaryResources": secondary_resources(seen.objects),
    }


def _last_told(resource: Resource) -> dict[str, Any]:
    """Of a spec that gives no objects: those of the last one that did are still there."""
    nothing = {"replicas": 0, "selector": "", "secondaryResources": {}}
    return {name: resource.status.get(name, none) for name, none in nothing.items()}


def secondary_resources(objects: Iterable[Manifest]) -> dict[str, list[str]]:
    """Names by kind, as the original has it."""
    names: dict[str, list[str]] = {}
    for each in objects:
        names.setdefault(each["kind"], []).append(each["metadata"]["name"])
    return {kind: sorted(found) for kind, found in sorted(names.items())}


def _told(resource: Resource, seen: Seen) -> Told:
    if seen.mistakes:
        return Told("Failed", "SpecRefused", _joined(seen.mistakes))
    if seen.troubles:
        return Told("Failed", "NotApplied", _joined(seen.troubles))
    was_ready = resource.status.get("phase") in _WAS_READY
    if seen.missing:
        return Told(
            "Degraded" if was_ready else "Pending", "ReferencesMissing", _joined(seen.missing)
        )
    waiting = [each for each in seen.deployments if not _is_ready(each)]
    if not waiting:
        return Told("Ready", "PodsReady", "Everything is there and ready.")
    stuck = [each for each in waiting if _is_stuck(each)]
    fell = was_ready and all(_is_rolled_out(each) for each in waiting)
    phase = "Degraded" if fell or stuck else "Progressing"
    return Told(phase, "PodsNotReady", _joined([_progress(each) for each in waiting]))


def _conditions(resource: Resource, seen: Seen, told: Told, now: str) -> list[dict[str, Any]]:
    before = {each["type"]: each for each in resource.status.get("conditions") or []}
    conditions = []
    for name, status, reason, message in (
        ("Released", *_released(seen, told)),
        ("ReferencesFound", *_found(seen)),
        ("Ready", str(told.phase == "Ready"), told.reason, told.message),
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


def _released(seen: Seen, told: Told) -> tuple[str, str, str]:
    if seen.mistakes or seen.troubles:
        return "False", told.reason, told.message
    return "True", "Applied", "The release's objects are as the chart writes them."


def _found(seen: Seen) -> tuple[str, str, str]:
    if seen.mistakes:
        return "Unknown", "SpecRefused", "Not looked for, since the spec is refused."
    if seen.missing:
        return "False", "ReferencesMissing", _joined(seen.missing)
    return "True", "Found", "What the spec names is there."


def _of_component(
    resource: Resource, deployments: Iterable[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The one Deployment that the kind is named after, where it is there."""
    suffix = f"-{resource.kind.component}"
    return [each for each in deployments if each["metadata"]["name"].endswith(suffix)]


def _selector(deployment: Mapping[str, Any]) -> str:
    labels = deployment["spec"]["selector"]["matchLabels"]
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _wanted(deployment: Mapping[str, Any]) -> int:
    return int(deployment["spec"].get("replicas", 1))


def _available(deployment: Mapping[str, Any]) -> int:
    return int(deployment.get("status", {}).get("availableReplicas", 0))


def _is_seen(deployment: Mapping[str, Any]) -> bool:
    """Whether its status is about its newest spec."""
    seen = deployment.get("status", {}).get("observedGeneration")
    return bool(seen == deployment["metadata"].get("generation"))


def _newest(deployment: Mapping[str, Any]) -> int:
    """How many of its pods, ready or not, are of the newest spec."""
    return (
        int(deployment.get("status", {}).get("updatedReplicas", 0)) if _is_seen(deployment) else 0
    )


def _is_rolled_out(deployment: Mapping[str, Any]) -> bool:
    """Whether all its pods are of the newest spec."""
    newest, there = _newest(deployment), deployment.get("status", {}).get("replicas", 0)
    return _is_seen(deployment) and newest >= _wanted(deployment) and newest == there


def _is_ready(deployment: Mapping[str, Any]) -> bool:
    return _is_rolled_out(deployment) and _available(deployment) >= _wanted(deployment)


def _is_stuck(deployment: Mapping[str, Any]) -> bool:
    """Whether Kubernetes has given up waiting for a rollout."""
    conditions = deployment.get("status", {}).get("conditions") or []
    return any(each["type"] == "Progressing" and each["status"] == "False" for each in conditions)


def _progress(deployment: Mapping[str, Any]) -> str:
    name, wanted = deployment["metadata"]["name"], _wanted(deployment)
    available = _available(deployment)
    if available >= wanted:
        newest = _newest(deployment)
        return f"Deployment {name} exchanges its pods: {newest} of {wanted} are of the newest spec."
    return (
        f"Deployment {name} has {available} of {wanted} pods ready; "
        "their logs and /readyz say what they wait for."
    )


def _joined(sentences: Sequence[str]) -> str:
    """The first few; a hundred would help nobody."""
    more = len(sentences) - _SHOWN
    shown = "; ".join(each.removesuffix(".") for each in sentences[:_SHOWN])
    return f"{shown}; and {more} more." if more > 0 else f"{shown}."

"""What others have written into the spec of an object that is a release's: pure.

Applying on the server's side repairs only what the manifest says, and leaves what somebody adds
beside it: a command, another container, a pause. Whose each field is stands in an object's
`managedFields`. Fields that are made ours there are taken away by the next applying, unless the
manifest says them. Labels and annotations of the object itself are anybody's.
"""

from collections.abc import Mapping
from typing import Any

from dimse_ingestion.operator.resources import MANAGER, Manifest

Fields = Mapping[str, Any]
_Path = tuple[str, ...]

_NOBODYS: frozenset[_Path] = frozenset()
_LEFT: Mapping[str, frozenset[_Path]] = {
    "Deployment": frozenset(
        {
            ("f:replicas",),  # an autoscaler's, where the manifest doesn't say them
            (
                "f:template",
                "f:metadata",
                "f:annotations",
                "f:kubectl.kubernetes.io/restartedAt",  # `kubectl rollout restart`
            ),
        }
    ),
    # what the cluster allots, or who brings load balancers
    "Service": frozenset(
        {
            ("f:clusterIP",),
            ("f:clusterIPs",),
            ("f:ipFamilies",),
            ("f:ipFamilyPolicy",),
            ("f:healthCheckNodePort",),
            ("f:loadBalancerClass",),
            ("f:loadBalancerIP",),
        }
    ),
    "NetworkPolicy": _NOBODYS,
    "Ingress": _NOBODYS,
    "PodDisruptionBudget": _NOBODYS,
    "HorizontalPodAutoscaler": _NOBODYS,
    "ServiceMonitor": _NOBODYS,
    "PrometheusRule": _NOBODYS,
}
"""The kinds whose spec is the release's alone, but for these fields. A claim's isn't: those who
bind it write there."""


def taken_over(there: Manifest) -> list[dict[str, Any]] | None:
    """An object's `managedFields` with what others wrote into its spec ours; None if there is none.

    A subresource's writers are left: they are controllers, or `kubectl scale`.
    """
    if there["kind"] not in _LEFT:
        return None
    entries = [dict(each) for each in there["metadata"].get("managedFields") or []]
    ours = next((each for each in entries if _is_ours(each)), None)
    if ours is None:
        return None
    found: Fields = {}
    for each in entries:
        if _is_of_a_writer(each, ours["apiVersion"]):
            taken, each["fieldsV1"] = _parted(each.get("fieldsV1") or {}, there["kind"])
            found = _joined(found, taken)
    if not found:
        return None
    ours["fieldsV1"] = _joined(ours["fieldsV1"], {"f:spec": found})
    return [each for each in entries if each.get("fieldsV1")]


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return bool(entry["manager"] == MANAGER and entry["operation"] == "Apply")


def _is_of_a_writer(entry: Mapping[str, Any], api_version: str) -> bool:
    """Whether somebody else wrote the object itself, in our version: in another, fields differ."""
    return bool(
        entry["manager"] != MANAGER
        and not entry.get("subresource")
        and entry.get("apiVersion") == api_version
    )


def _parted(fields: Fields, kind: str) -> tuple[Fields, Fields]:
    """Of one manager's fields: those of the spec to take, and all that is left."""
    taken, left = _split(fields.get("f:spec") or {}, _LEFT[kind])
    others = {name: below for name, below in fields.items() if name != "f:spec"}
    return taken, others | ({"f:spec": left} if left else {})


def _split(fields: Fields, kept: frozenset[_Path], at: _Path = ()) -> tuple[Fields, Fields]:
    """Fields without those that are kept, and these."""
    taken: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for name, below in fields.items():
        if (*at, name) in kept:
            left[name] = below
            continue
        further, held = _split(below, kept, (*at, name))
        if further or not below:
            taken[name] = further
        if held:
            left[name] = held
    if left and "." in taken:
        left["."] = taken.pop(".")  # the map itself, of which something stays
    return taken, left


def _joined(fields: Fields, more: Fields) -> Fields:
    both = {name: _joined(fields.get(name) or {}, below) for name, below in more.items()}
    return {**fields, **both}

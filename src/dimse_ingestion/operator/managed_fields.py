"""Fields that other managers wrote into the spec of a release's object; no request is made here.

A server-side apply repairs only the fields in the manifest, and leaves what another manager adds: a
command, a container, a pause. `metadata.managedFields` lists the owner of each field. Fields that
the operator claims there are removed by the next apply, unless the manifest sets them. Labels and
annotations of the object itself are not claimed.
"""

from collections.abc import Mapping
from typing import Any

from dimse_ingestion.operator.resources import MANAGER, Manifest

Fields = Mapping[str, Any]
_Path = tuple[str, ...]

_NONE: frozenset[_Path] = frozenset()
_UNCLAIMED: Mapping[str, frozenset[_Path]] = {
    "Deployment": frozenset(
        {
            ("f:replicas",),  # an autoscaler's, where the manifest doesn't set them
            (
                "f:template",
                "f:metadata",
                "f:annotations",
                "f:kubectl.kubernetes.io/restartedAt",  # `kubectl rollout restart`
            ),
        }
    ),
    # set by the cluster, or by a controller of load balancers
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
    "NetworkPolicy": _NONE,
    "Ingress": _NONE,
    "PodDisruptionBudget": _NONE,
    "HorizontalPodAutoscaler": _NONE,
    "ServiceMonitor": _NONE,
    "PrometheusRule": _NONE,
}
"""The kinds whose spec belongs to the release, except for these fields. A claim's spec does not:
the controllers that bind it write there."""


def claimed_managed_fields(live: Manifest) -> list[dict[str, Any]] | None:
    """Return managedFields with foreign fields of the spec claimed by us; None if there are none.

    Managers of a subresource are left out: they are controllers, or `kubectl scale`.
    """
    if live["kind"] not in _UNCLAIMED:
        return None
    entries = [dict(each) for each in live["metadata"].get("managedFields") or []]
    ours = next((each for each in entries if _is_ours(each)), None)
    if ours is None:
        return None
    claimed: Fields = {}
    for each in entries:
        if _is_of_a_writer(each, ours["apiVersion"]):
            foreign, each["fieldsV1"] = _split_spec(each.get("fieldsV1") or {}, live["kind"])
            claimed = _merge(claimed, foreign)
    if not claimed:
        return None
    ours["fieldsV1"] = _merge(ours["fieldsV1"], {"f:spec": claimed})
    return [each for each in entries if each.get("fieldsV1")]


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return bool(entry["manager"] == MANAGER and entry["operation"] == "Apply")


def _is_of_a_writer(entry: Mapping[str, Any], api_version: str) -> bool:
    """Return whether another manager wrote the object, in our version of the API."""
    return bool(
        entry["manager"] != MANAGER
        and not entry.get("subresource")
        and entry.get("apiVersion") == api_version
    )


def _split_spec(fields: Fields, kind: str) -> tuple[Fields, Fields]:
    """Split one manager's fields into those of the spec to claim, and all others."""
    claimed, left = _split(fields.get("f:spec") or {}, _UNCLAIMED[kind])
    others = {name: below for name, below in fields.items() if name != "f:spec"}
    return claimed, others | ({"f:spec": left} if left else {})


def _split(fields: Fields, unclaimed: frozenset[_Path], at: _Path = ()) -> tuple[Fields, Fields]:
    """Split fields into those to claim, and the `unclaimed` ones."""
    claimed: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for name, below in fields.items():
        if (*at, name) in unclaimed:
            left[name] = below
            continue
        claimed_below, left_below = _split(below, unclaimed, (*at, name))
        if claimed_below or not below:
            claimed[name] = claimed_below
        if left_below:
            left[name] = left_below
    if left and "." in claimed:
        left["."] = claimed.pop(".")  # the map itself, some of whose fields stay
    return claimed, left


def _merge(fields: Fields, more: Fields) -> Fields:
    both = {name: _merge(fields.get(name) or {}, below) for name, below in more.items()}
    return {**fields, **both}

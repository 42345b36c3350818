"""Claimed fields: those of other managers become the operator's, with documented exceptions."""

from typing import Any

import pytest

from dimse_ingestion.operator.managed_fields import claimed_managed_fields
from dimse_ingestion.operator.resources import MANAGER, Manifest

RESTART: dict[str, Any] = {
    "f:template": {"f:metadata": {"f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}}}}
}
PAUSE: dict[str, Any] = {"f:paused": {}}


def entry(spec: dict[str, Any], manager: str = "kubectl-edit", **facts: Any) -> dict[str, Any]:
    message = {"manager": manager, "operation": "Update", "apiVersion": "apps/v1"}
    return message | {"fieldsV1": {"f:spec": spec}} | facts


OURS = entry({"f:selector": {}}, MANAGER, operation="Apply")


def there(*entries: dict[str, Any], kind: str = "Deployment") -> Manifest:
    return {"kind": kind, "metadata": {"name": "a", "managedFields": [OURS, *entries]}}


def specs(managed: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Return the fields of the spec by manager."""
    return {each["manager"]: each["fieldsV1"].get("f:spec") for each in managed or []}


@pytest.mark.parametrize("operation", ["Update", "Apply"])
def test_fields_of_another_manager_are_claimed(operation: str) -> None:
    container: dict[str, Any] = {"k:other": {".": {}, "f:image": {}}}
    spec = PAUSE | {"f:template": {"f:spec": {"f:containers": container}}}
    managed = claimed_managed_fields(there(entry(spec, operation=operation)))
    assert specs(managed) == {MANAGER: {"f:selector": {}} | spec}


def test_fields_of_other_managers_stay() -> None:
    metadata: dict[str, Any] = {"f:labels": {"f:team": {}}}
    marks: dict[str, Any] = {"fieldsV1": {"f:metadata": metadata, "f:spec": RESTART | PAUSE}}
    managed = claimed_managed_fields(
        there(entry({}, **marks), entry({"f:replicas": {}} | PAUSE, "other"))
    )
    assert specs(managed) == {
        MANAGER: {"f:selector": {}} | PAUSE,
        "kubectl-edit": RESTART,
        "other": {"f:replicas": {}},
    }
    assert "f:metadata" in (managed or [])[1]["fieldsV1"]


@pytest.mark.parametrize("last", [RESTART, {"f:minReadySeconds": {}}], ids=["none", "some"])
def test_fields_of_every_manager_are_claimed(last: dict[str, Any]) -> None:
    template: dict[str, Any] = {"f:template": {"f:spec": {"f:hostNetwork": {}}}}
    managed = claimed_managed_fields(
        there(entry(PAUSE), entry(template, "other"), entry(last, "last"))
    )
    claimed = PAUSE | template | (last if last is not RESTART else {})
    assert specs(managed)[MANAGER] == {"f:selector": {}} | claimed


def test_a_map_with_a_remaining_field_remains() -> None:
    annotations: dict[str, Any] = {
        ".": {},
        "f:kubectl.kubernetes.io/restartedAt": {},
        "f:other": {},
    }
    edit = entry({"f:template": {"f:metadata": {"f:annotations": annotations}}})
    remaining: dict[str, Any] = {".": {}, "f:kubectl.kubernetes.io/restartedAt": {}}
    taken = specs(claimed_managed_fields(there(edit)))
    assert taken["kubectl-edit"] == {"f:template": {"f:metadata": {"f:annotations": remaining}}}
    assert taken[MANAGER]["f:template"] == {"f:metadata": {"f:annotations": {"f:other": {}}}}


@pytest.mark.parametrize(
    "object_",
    [
        there(),
        there(entry(RESTART)),
        there(entry(PAUSE, subresource="status")),
        there(entry(PAUSE, MANAGER)),
        there(entry(PAUSE, apiVersion="apps/v0")),
        there(entry(PAUSE), kind="PersistentVolumeClaim"),
        {"kind": "Deployment", "metadata": {"managedFields": [entry(PAUSE)]}},
        {"kind": "Deployment", "metadata": {}},
    ],
    ids=["ours", "restart", "status", "webhook", "version", "claim", "never applied", "unmanaged"],
)
def test_other_objects_are_not_changed(object_: Manifest) -> None:
    assert claimed_managed_fields(object_) is None

"""Custom resources as read from the cluster, and the labels of their objects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dimse_ingestion.operator.kinds import GROUP, KINDS, Kind

Manifest = dict[str, Any]

MANAGER = "dimse-ingestion-operator"
"""Field manager, and value of `app.kubernetes.io/managed-by`."""
REPLICAS_MANAGER = f"{MANAGER}-replicas"
"""Field manager of a number of replicas that an autoscaler may change."""
MANAGED_BY = "app.kubernetes.io/managed-by"
OWNER_KIND = f"{GROUP}/kind"
OWNER_NAME = f"{GROUP}/name"
NAME_LABEL = "app.kubernetes.io/name"
CHART_NAME = "dimse-ingestion"

_KINDS: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True)
class Key:
    """The identity of a resource: kind, namespace and name."""

    kind: str
    namespace: str
    name: str

    @property
    def labels(self) -> dict[str, str]:
        """The labels of every object that belongs to the resource."""
        return {MANAGED_BY: MANAGER, OWNER_KIND: self.kind, OWNER_NAME: self.name}

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Resource:
    """One custom resource, as last read or watched."""

    body: Mapping[str, Any]

    @property
    def kind(self) -> Kind:
        """The resource's kind."""
        return _KINDS[self.body["kind"]]

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata: name, labels and so on."""
        metadata: Mapping[str, Any] = self.body["metadata"]
        return metadata

    @property
    def key(self) -> Key:
        """The resource's identity."""
        return Key(self.body["kind"], self.metadata["namespace"], self.metadata["name"])

    @property
    def generation(self) -> int:
        """The generation, which counts the changes of the spec."""
        return int(self.metadata.get("generation", 0))

    @property
    def spec(self) -> Mapping[str, Any]:
        """The spec, or an empty map."""
        return self.body.get("spec") or {}

    @property
    def status(self) -> Mapping[str, Any]:
        """The last written status, or an empty map."""
        return self.body.get("status") or {}

    @property
    def is_deleting(self) -> bool:
        """Return whether the resource is being deleted."""
        return "deletionTimestamp" in self.metadata

    @property
    def owner_reference(self) -> dict[str, Any]:
        """The owner reference by which an object is deleted with this resource.

        Without `blockOwnerDeletion`, for which the operator would need the right to finalize.
        """
        return {
            "apiVersion": self.body["apiVersion"],
            "kind": self.body["kind"],
            "name": self.metadata["name"],
            "uid": self.metadata["uid"],
            "controller": True,
        }


def owner_of(labels: Mapping[str, str], namespace: str) -> Key | None:
    """Return the resource that an object with these labels belongs to, or None."""
    if labels.get(MANAGED_BY) != MANAGER or OWNER_NAME not in labels:
        return None
    return Key(labels.get(OWNER_KIND, ""), namespace, labels[OWNER_NAME])

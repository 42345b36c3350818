"""A custom resource as it stands in the cluster, and the labels of what is made for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dimse_ingestion.operator.kinds import GROUP, KINDS, Kind

Manifest = dict[str, Any]

MANAGER = "dimse-ingestion-operator"
"""Field manager, and value of `app.kubernetes.io/managed-by`."""
REPLICAS_MANAGER = f"{MANAGER}-replicas"
"""Field manager of a number of replicas that is an autoscaler's to change."""
MANAGED_BY = "app.kubernetes.io/managed-by"
OWNER_KIND = f"{GROUP}/kind"
OWNER_NAME = f"{GROUP}/name"
NAME_LABEL = "app.kubernetes.io/name"
CHART_NAME = "dimse-ingestion"

_KINDS: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True)
class Key:
    """Which resource: kind, namespace and name."""

    kind: str
    namespace: str
    name: str

    @property
    def labels(self) -> dict[str, str]:
        """Labels of every object that is made for it."""
        return {MANAGED_BY: MANAGER, OWNER_KIND: self.kind, OWNER_NAME: self.name}

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Resource:
    """One custom resource, as it was last seen."""

    body: Mapping[str, Any]

    @property
    def kind(self) -> Kind:
        """What it is one of."""
        return _KINDS[self.body["kind"]]

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Name, labels and so on."""
        found: Mapping[str, Any] = self.body["metadata"]
        return found

    @property
    def key(self) -> Key:
        """Which one it is."""
        return Key(self.body["kind"], self.metadata["namespace"], self.metadata["name"])

    @property
    def generation(self) -> int:
        """Counts the changes of its spec."""
        return int(self.metadata.get("generation", 0))

    @property
    def spec(self) -> Mapping[str, Any]:
        """What is wished for."""
        return self.body.get("spec") or {}

    @property
    def status(self) -> Mapping[str, Any]:
        """What was last told of it."""
        return self.body.get("status") or {}

    @property
    def goes(self) -> bool:
        """Whether it is being deleted."""
        return "deletionTimestamp" in self.metadata

    @property
    def owner_reference(self) -> dict[str, Any]:
        """How an object says that it is this one's, and goes with it.

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
    """Whose an object with these labels is; None when it is nobody's of ours."""
    if labels.get(MANAGED_BY) != MANAGER or OWNER_NAME not in labels:
        return None
    return Key(labels.get(OWNER_KIND, ""), namespace, labels[OWNER_NAME])

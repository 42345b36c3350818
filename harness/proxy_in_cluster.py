"""A proxy in the cluster, as chart values or as a DimseProxy: its objects, and its address outside.

Modalities outside reach it by a node port; it reaches those that run here by the node's gateway.
A proxy outside the cluster is `harness.imaging_zone`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness import pod_http
from harness.cluster import Cluster
from harness.imaging_zone import AE_TITLE
from harness.modalities import Peer
from harness.provisioning import SMALL, Space
from harness.services import eventually

NODE_PORT = 30811
"""One proxy of a cluster at a time."""
SERVICE: Mapping[str, Any] = {"type": "NodePort", "nodePort": NODE_PORT}
_CLAIM = "spool"
_LONGEST_START = 120.0


@dataclass(frozen=True)
class ProxyInCluster:
    """The proxy of a space's release; `proxy_id` is the id in its NATS permissions."""

    space: Space
    cluster: Cluster
    proxy_id: str = "ward7"

    @property
    def pod(self) -> str:
        """Its only pod's name."""
        (name,) = self.space.release.pod_names("proxy")
        return name

    def create_objects(self) -> "ProxyInCluster":
        """Create the Secret with its credential and the claim for its spool; return it."""
        namespace = self.space.namespace
        credentials = self.space.platform.nats.proxy_credentials(
            self.space.subject_root, self.proxy_id
        )
        namespace.put_secret(self._nats_secret, {"nats.creds": credentials})
        namespace.apply(_claim())
        return self

    def values(self, **more: Any) -> dict[str, Any]:
        """Return the chart's `proxy`, with its spool on the claim; `more` replaces keys."""
        own = {
            "enabled": True,
            "proxyId": self.proxy_id,
            "natsTokenSecret": self._nats_secret,
            "service": dict(SERVICE),
            "spoolVolume": {"persistentVolumeClaim": {"claimName": _CLAIM}},
            "resources": SMALL,
        }
        return own | more

    def peer(self, calling: str = "MODALITY") -> Peer:
        """Return its AE as it is reached from here."""
        return peer(self.cluster, calling)

    def metrics(self) -> str:
        """Return its metrics; empty while it does not answer."""
        return self._get("/metrics")

    def readiness(self) -> str:
        """Return the text of its /readyz."""
        return self._get("/readyz")

    def kill(self) -> None:
        """Kill its pod, and wait for the next one to be ready."""
        killed = self.pod
        self.space.namespace.kill(killed)
        eventually(self._ready_pods, lambda names: bool(names - {killed}), _LONGEST_START)

    def _ready_pods(self) -> set[str]:
        pods = self.space.release.pods("proxy")
        return {str(pod["metadata"]["name"]) for pod in pods if _is_ready(pod)}

    def _get(self, path: str) -> str:
        return pod_http.get(self.space.namespace, self.pod, path).text

    @property
    def _nats_secret(self) -> str:
        return f"{self.space.name}-{self.proxy_id}"


def peer(cluster: Cluster, calling: str = "MODALITY") -> Peer:
    """Return the AE behind the node port."""
    host, port = cluster.outside(NODE_PORT)
    return Peer(host, port, AE_TITLE, calling)


def _is_ready(pod: Mapping[str, Any]) -> bool:
    containers = pod["status"].get("containerStatuses") or []
    return bool(containers) and all(each["ready"] for each in containers)


def _claim() -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": _CLAIM}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}

"""A public host name that resolves to a Service of the cluster, in pods only.

With it a resource with `0a0527d6.nip.io:443` applies unchanged. No DNS server is changed for
it: of a name with few dots a pod searches first below `svc.cluster.local`, and there `a.b.c` is the
endpoint `a` of the headless Service `b` in the namespace `c`. Those are made, and led to a
ClusterIP with the port that the world's name has.
"""

from dataclasses import dataclass
from typing import Any

from harness.commands import Unusable
from harness.kubernetes_objects import Namespace

_OURS = {"app.kubernetes.io/part-of": "dimse-addons"}


@dataclass(frozen=True)
class WorldName:
    """`host`, of three labels, at `port`; it leads to `target_port` of a Service's pods."""

    host: str
    port: int
    namespace: Namespace
    service: str
    target_port: str

    def create(self) -> "WorldName":
        """Create the name's objects; return it."""
        endpoint, service, _ = self.host.split(".")
        existing = self._place().create(_OURS)
        self.namespace.apply(self._front())
        front = self.namespace.read("Service", self._name)
        assert front is not None
        ports = [{"name": "tls", "port": self.port, "protocol": "TCP"}]
        existing.apply(
            _of("v1", "Service", service, spec={"clusterIP": "None", "ports": ports}),
            _of(
                "discovery.k8s.io/v1",
                "EndpointSlice",
                service,
                {"kubernetes.io/service-name": service},
                addressType="IPv4",
                endpoints=[
                    {
                        "addresses": [front["spec"]["clusterIP"]],
                        "hostname": endpoint,
                        "conditions": {"ready": True},
                    }
                ],
                ports=ports,
            ),
        )
        return self

    def remove(self) -> None:
        """Delete the Services and namespaces of the names."""
        place = self._place()
        place.delete("Namespace", place.name)
        self.namespace.delete("Service", self._name)

    def _place(self) -> Namespace:
        """Return the namespace of the name's last part; raises Unusable if it is another's."""
        place = Namespace(self.namespace.kubeconfig, self.host.rpartition(".")[2])
        existing = place.read("Namespace", place.name)
        if existing is None or _OURS.items() <= existing["metadata"].get("labels", {}).items():
            return place
        raise Unusable(f"{self.host} can't lead anywhere: there is a namespace {place.name}")

    @property
    def _name(self) -> str:
        return f"{self.service}-{self.port}"

    def _front(self) -> dict[str, Any]:
        """Return a Service of a ClusterIP in front of the same pods, at the name's port."""
        behind = self.namespace.read("Service", self.service)
        assert behind is not None
        ports = [{"name": "tls", "port": self.port, "targetPort": self.target_port}]
        spec = {"selector": behind["spec"]["selector"], "ports": ports}
        return _of("v1", "Service", self._name, behind["metadata"]["labels"], spec=spec)


def _of(
    api_version: str, kind: str, name: str, labels: dict[str, str] | None = None, **content: Any
) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels or {}}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}

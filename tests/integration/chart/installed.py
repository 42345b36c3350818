"""A release on a real API server: installed, changed, rolled back, and scaled as autoscalers do."""

from typing import Any

from helm_python import Config

from harness.api_server import ApiServer
from harness.chart import CHART
from tests.integration.operator.namespace_api import Manifest, NamespaceApi

Values = dict[str, Any]
NAME = "radiology"


def _definition(kind: str, plural: str) -> Manifest:
    """Return a kind of the Prometheus Operator's that takes any spec."""
    group = "monitoring.coreos.com"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [version],
        },
    }


MONITORING = (
    _definition("ServiceMonitor", "servicemonitors"),
    _definition("PrometheusRule", "prometheusrules"),
)


class Installed:
    """One release, by Helm's library; what it does is `helm`'s default."""

    def __init__(self, server: ApiServer, api: NamespaceApi) -> None:
        self.api = api
        self._helm = Config(kubeconfig_path=server.kubeconfig(), namespace=api.namespace)

    @classmethod
    def in_new_namespace(cls, server: ApiServer) -> "Installed":
        """Create a namespace for it."""
        return cls(server, NamespaceApi.in_new_namespace(server))

    def install(self, values: Values) -> None:
        """Run `helm install`. Raises HelmError."""
        self._helm.install(CHART, NAME, values, namespace=self.api.namespace)

    def upgrade(self, values: Values) -> None:
        """Run `helm upgrade` with these values alone. Raises HelmError."""
        self._helm.upgrade(CHART, NAME, values, namespace=self.api.namespace, reset_values=True)

    def roll_back(self, revision: int) -> None:
        """Run `helm rollback`. Raises HelmError."""
        self._helm.rollback(NAME, version=revision)

    def uninstall(self) -> None:
        """Run `helm uninstall`, if it is installed."""
        if self._helm.list():
            self._helm.uninstall(NAME)
        self._helm.close()

    def replicas(self, component: str = "ingestion") -> int:
        """Return the replicas in the component's Deployment."""
        deployment = self.api.get("apps/v1", "Deployment", f"{NAME}-{component}")
        assert deployment is not None
        return int(deployment["spec"]["replicas"])

    def scale(self, replicas: int, component: str = "ingestion") -> None:
        """Scale as a HorizontalPodAutoscaler does."""
        change = {"spec": {"replicas": replicas}}
        self.api.patch("apps/v1", "Deployment", f"{NAME}-{component}", change, "scale")

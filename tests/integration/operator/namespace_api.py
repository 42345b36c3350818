"""What a test asks of the API server, as kubectl would: apply, change, delete, look."""

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, NotFoundError

from harness.api_server import ApiServer
from harness.chart import OPERATOR_CHART
from harness.services import eventually

Manifest = dict[str, Any]

ACCOUNT = "operators:imaging"
EXAMPLES = OPERATOR_CHART / "examples"
GROUP = "imaging-ingestion.alvearie.org"
OURS = f"{GROUP}/v1alpha1"
MADE = (
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("v1", "PersistentVolumeClaim"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
)
_KINDS = ("DimseIngestionService", "DicomwebIngestionService", "DicomEventDrivenIngestion")
_NUMBERS = itertools.count(1)


def example(name: str) -> Manifest:
    """Return a resource of the chart's examples, unchanged."""
    manifest: Manifest = yaml.safe_load((Path(EXAMPLES) / name).read_text(encoding="utf-8"))
    return manifest


class NamespaceApi:
    """Requests in one namespace, by who may do everything."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self.namespace = namespace
        self._client = DynamicClient(
            server.client(), cache_file=str(server.folder / f"kinds-of-{namespace}")
        )

    @classmethod
    def in_new_namespace(cls, server: ApiServer) -> "NamespaceApi":
        """Yield requests in a new namespace."""
        api = cls(server, f"space-{next(_NUMBERS)}")
        api.create_namespace()
        return api

    def create_namespace(self) -> None:
        """Make it."""
        kind = self._client.resources.get(api_version="v1", kind="Namespace")
        kind.create(body={"metadata": {"name": self.namespace}})

    def apply(self, manifest: Manifest) -> Manifest:
        """Apply as `kubectl apply --server-side` does. Raises DynamicApiError."""
        kind = self._client.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
        namespace = manifest["metadata"].get("namespace", self.namespace)
        place = {"namespace": namespace} if kind.namespaced else {}
        answer = kind.server_side_apply(
            body=manifest, field_manager="kubectl", force_conflicts=True, **place
        )
        return dict(answer.to_dict())

    def refused(self, manifest: Manifest) -> str:
        """Return why the API server refuses it; AssertionError when it does not."""
        try:
            self.apply(manifest)
        except DynamicApiError as error:
            return str(error.body)
        raise AssertionError(f"{manifest} was taken")

    def get(self, api_version: str, kind: str, name: str) -> Manifest | None:
        """Return the object, or None."""
        resource = self._client.resources.get(api_version=api_version, kind=kind)
        try:
            return dict(resource.get(name=name, namespace=self.namespace).to_dict())
        except NotFoundError:
            return None

    def names(self, api_version: str, kind: str) -> set[str]:
        """Return the names of a kind's objects."""
        resource = self._client.resources.get(api_version=api_version, kind=kind)
        items = resource.get(namespace=self.namespace).to_dict()["items"]
        return {each["metadata"]["name"] for each in items}

    def release_objects(self) -> set[str]:
        """Return everything of the kinds that a release is made of, as `Kind/name`."""
        return {f"{kind}/{name}" for version, kind in MADE for name in self.names(version, kind)}

    def events(self, name: str) -> list[str]:
        """Return the messages of the Events about an object."""
        resource = self._client.resources.get(api_version="v1", kind="Event")
        items = resource.get(namespace=self.namespace).to_dict()["items"]
        return [each["message"] for each in items if each["involvedObject"]["name"] == name]

    def wait_for_event(self, name: str, text: str) -> None:
        """Wait until the message of an Event about an object contains the text."""
        eventually(
            lambda: self.events(name), lambda messages: any(text in each for each in messages)
        )

    def patch(
        self, api_version: str, kind: str, name: str, change: Manifest, sub: str = ""
    ) -> None:
        """Apply a merge patch, to a subresource when one is named."""
        resource = self._client.resources.get(api_version=api_version, kind=kind)
        place = resource.subresources[sub] if sub else resource
        self._client.patch(
            place,
            body=change,
            name=name,
            namespace=self.namespace,
            content_type="application/merge-patch+json",
        )

    def edit(self, api_version: str, kind: str, name: str, change: Manifest) -> None:
        """Patch as `kubectl patch` does: lists are joined by their keys."""
        resource = self._client.resources.get(api_version=api_version, kind=kind)
        resource.patch(
            body=change,
            name=name,
            namespace=self.namespace,
            content_type="application/strategic-merge-patch+json",
        )

    def define(self, name: str, versions: list[Manifest]) -> None:
        """Install a definition with these versions, and wait until all are served."""
        kind = self._client.resources.get(
            api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition"
        )
        self._client.patch(
            kind,
            body={"spec": {"versions": versions}},
            name=name,
            content_type="application/merge-patch+json",
        )
        plural = name.partition(".")[0]
        for each in versions:
            eventually(partial(self._serves, plural, each["name"]), bool)

    def _serves(self, plural: str, version: str) -> bool:
        """Return whether a request for such resources is answered."""
        return self._answers(f"/apis/{GROUP}/{version}/namespaces/{self.namespace}/{plural}")

    def _answers(self, path: str) -> bool:
        try:
            self._client.request("get", path)
        except DynamicApiError:
            return False
        return True

    def wait_until_served(self, definition: Manifest) -> None:
        """Wait until the kind that was just defined is one that may be asked for."""
        spec = definition["spec"]
        (version,) = spec["versions"]
        path = f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}"
        eventually(lambda: self._answers(path), bool)

    def delete(self, api_version: str, kind: str, name: str, **how: Any) -> None:
        """Delete it; the objects it owns are deleted too, unless requested otherwise."""
        resource = self._client.resources.get(api_version=api_version, kind=kind)
        resource.delete(name=name, namespace=self.namespace, **how)

    def delete_resources(self) -> None:
        """Delete every custom resource of the namespace."""
        for kind in (*_KINDS, "DimseProxy"):
            for name in self.names(OURS, kind):
                self.delete(OURS, kind, name)

    def status(self, manifest: Manifest) -> Manifest:
        """Return a custom resource's status; empty when it has none yet."""
        object_ = self.get(OURS, manifest["kind"], manifest["metadata"]["name"])
        return dict((object_ or {}).get("status") or {})

    def wait_for_phase(self, manifest: Manifest, wanted: str, text: str = "") -> Manifest:
        """Wait for a phase and a message; gives the status. AssertionError with the last one."""
        return eventually(
            lambda: self.status(manifest),
            lambda value: value.get("phase") == wanted and text in value.get("message", ""),
        )

    def set_pods(self, name: str, available: int | None = None) -> None:
        """Write an existing Deployment's status: all pods are ready unless a number is given."""
        deployment = eventually(
            lambda: self.get("apps/v1", "Deployment", name), lambda value: value is not None
        )
        assert deployment is not None
        replicas = deployment["spec"]["replicas"]
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": replicas,
            "updatedReplicas": replicas,
            "availableReplicas": replicas if available is None else available,
            "readyReplicas": replicas if available is None else available,
        }
        self.patch("apps/v1", "Deployment", name, {"status": status}, "status")

    def create_referenced_objects(self) -> None:
        """Create what the examples name: the bucket's objects, NATS' credential, a certificate."""
        self.apply(config_map("img-ingest-s3", BUCKET_NAME="images"))
        self.apply(secret("img-ingest-s3", AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret"))
        self.apply(secret("nats-dicom-ingest-token-lhllv", token="token"))
        self.apply(secret("images-tls", **{"tls.crt": "certificate", "tls.key": "key"}))


def config_map(name: str, **data: str) -> Manifest:
    """Return a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str, **data: str) -> Manifest:
    """Return a Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}

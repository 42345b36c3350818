"""A namespace of a cluster as the harness works on it: manifests applied, watched, removed.

A thin layer over the `kubernetes` client: objects are plain dictionaries as in YAML, and waiting
ends with what was last seen. Knows nothing of what the objects are for; Helm releases are
`harness.release`.
"""

import base64
import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError
from kubernetes.stream import stream

from harness.services import eventually

Manifest = Mapping[str, Any]
"""One Kubernetes object, as in YAML."""

_MANAGER = "dimse-harness"
_LONGEST_ROLLOUT = 180.0
_LONGEST_REMOVAL = 180.0
_LONGEST_COMMAND = 60.0


@dataclass(frozen=True)
class Namespace:
    """One namespace of the cluster that `kubeconfig` leads to; it needs not exist yet."""

    kubeconfig: Path
    name: str

    def create(self, labels: Mapping[str, str] | None = None) -> "Namespace":
        """Create it with these labels unless it exists; return it."""
        metadata = {"name": self.name, "labels": dict(labels or {})}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        eventually(lambda: self._settled("Namespace", self.name), bool, _LONGEST_REMOVAL)
        self.apply(manifest)
        return self

    def remove(self, seconds: float = _LONGEST_REMOVAL) -> None:
        """Remove it with all that is in it, and wait until it is gone."""
        self.delete("Namespace", self.name)
        eventually(lambda: self.read("Namespace", self.name), lambda seen: seen is None, seconds)

    def apply(self, *manifests: Manifest) -> None:
        """Create or change each object (server-side apply)."""
        for manifest in manifests:
            kind = self._kind(manifest["kind"], manifest["apiVersion"])
            self._dynamic.server_side_apply(
                kind,
                body=dict(manifest),
                name=manifest["metadata"]["name"],
                namespace=manifest["metadata"].get("namespace", self.name),
                field_manager=_MANAGER,
                force_conflicts=True,
            )

    def read(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return one object; None when there is none of this name."""
        try:
            match = self._dynamic.get(self._kind(kind), name=name, namespace=self.name)
        except NotFoundError:
            return None
        return dict(match.to_dict())

    def list_objects(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """Return all objects of a kind whose labels fit `selector` (`app=nats,tier!=edge`)."""
        match = self._dynamic.get(
            self._kind(kind), namespace=self.name, label_selector=selector or None
        )
        return list(match.to_dict()["items"])

    def delete(self, kind: str, name: str, grace_period: int | None = None) -> None:
        """Ask for an object's end, its dependents' too; nothing happens when there is none."""
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if grace_period is not None:
            options["gracePeriodSeconds"] = grace_period
        with contextlib.suppress(NotFoundError):
            self._dynamic.delete(self._kind(kind), name=name, namespace=self.name, body=options)

    def remove_all(self, kind: str, selector: str, seconds: float = _LONGEST_REMOVAL) -> None:
        """Remove every object of a kind whose labels fit, and wait until none is left."""
        for each in self.list_objects(kind, selector):
            self.delete(kind, each["metadata"]["name"])
        self.wait_until_none(kind, selector, seconds)

    def wait_until_none(
        self, kind: str, selector: str = "", seconds: float = _LONGEST_REMOVAL
    ) -> None:
        """Wait until no object of a kind has labels that fit; AssertionError names those left."""
        eventually(lambda: self._names(kind, selector), lambda seen: not seen, seconds)

    def _names(self, kind: str, selector: str) -> list[str]:
        return [str(each["metadata"]["name"]) for each in self.list_objects(kind, selector)]

    def patch(self, kind: str, name: str, change: Mapping[str, Any]) -> None:
        """Change an object by a merge patch: a key that is None is removed."""
        self._dynamic.patch(
            self._kind(kind),
            body=dict(change),
            name=name,
            namespace=self.name,
            content_type="application/merge-patch+json",
        )

    def put_secret(self, name: str, values: Mapping[str, str], **labels: str) -> None:
        """Make a Secret hold exactly these values."""
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in values.items()}
        self.apply({**_headed("Secret", name, labels), "type": "Opaque", "data": encoded})

    def secret(self, name: str) -> dict[str, str] | None:
        """Return a Secret's values, decoded; None when there is none."""
        match = self.read("Secret", name)
        if match is None:
            return None
        return {
            key: base64.b64decode(text).decode() for key, text in (match.get("data") or {}).items()
        }

    def ensure_secret(
        self, name: str, made: Callable[[], Mapping[str, str]], label: str = ""
    ) -> dict[str, str]:
        """Return a Secret's values; create it by `made` when there is none."""
        if (match := self.secret(name)) is not None:
            return match
        values = dict(made())
        self.put_secret(name, values, **({"app.kubernetes.io/name": label} if label else {}))
        return values

    def put_config_map(self, name: str, values: Mapping[str, str], **labels: str) -> None:
        """Make a ConfigMap hold exactly these values."""
        self.apply({**_headed("ConfigMap", name, labels), "data": dict(values)})

    def scale(self, deployment: str, replicas: int, seconds: float = _LONGEST_ROLLOUT) -> None:
        """Set a Deployment's replicas and wait until it has just so many, ready or gone."""
        self.patch("Deployment", deployment, {"spec": {"replicas": replicas}})
        self.wait_until_rolled_out(deployment, seconds)

    def wait_until_rolled_out(self, deployment: str, seconds: float = _LONGEST_ROLLOUT) -> None:
        """Wait until all replicas have the latest template and are ready. Raises AssertionError."""
        try:
            eventually(lambda: self._behind(deployment), lambda seen: not seen, seconds)
        except AssertionError as never:
            raise AssertionError(f"{self.name}/{deployment}: {never}\n{self.problems()}") from None

    def pods(self, selector: str = "") -> list[dict[str, Any]]:
        """Return the pods that are not being deleted."""
        return [
            each
            for each in self.list_objects("Pod", selector)
            if not each["metadata"].get("deletionTimestamp")
        ]

    def kill(self, pod: str) -> None:
        """End a pod at once, as a node's crash does: no SIGTERM is waited for."""
        self.delete("Pod", pod, grace_period=0)

    def log(self, pod: str, container: str | None = None, *, previous: bool = False) -> str:
        """Return a container's log, or the reason why there is none."""
        try:
            return str(
                self._core.read_namespaced_pod_log(
                    pod, self.name, container=container, previous=previous
                )
            )
        except ApiException as refused:
            return f"no log: {_reason(refused)}"

    def execute(self, pod: str, command: Iterable[str], container: str | None = None) -> str:
        """Run a command in a pod; return its output. RuntimeError with all output when it fails."""
        answers = stream(
            self._core.connect_get_namespaced_pod_exec,
            pod,
            self.name,
            container=container,
            command=list(command),
            stdout=True,
            stderr=True,
            _preload_content=False,
        )
        answers.run_forever(timeout=_LONGEST_COMMAND)
        output, complaint = answers.read_stdout(timeout=0), answers.read_stderr(timeout=0)
        if answers.is_open() or answers.returncode != 0:
            answers.close()
            raise RuntimeError(f"failed in {self.name}/{pod}: {complaint}{output}")
        return str(output)

    def problems(self) -> str:
        """Return the problems here, in lines: containers that wait, and warnings."""
        waiting = [line for pod in self.list_objects("Pod") for line in _waiting(pod)]
        return "\n".join([*waiting, *self.warnings()])

    def warnings(self) -> list[str]:
        """Return the events of type Warning, oldest first."""
        events = [each for each in self.list_objects("Event") if each.get("type") == "Warning"]
        events.sort(key=lambda each: each.get("lastTimestamp") or each.get("eventTime") or "")
        return [f"{each['involvedObject']['name']}: {each['message']}" for each in events]

    def _behind(self, deployment: str) -> str:
        """Return what a Deployment still lacks, in words; empty when it is done."""
        match = self.read("Deployment", deployment)
        if match is None:
            return "no such Deployment"
        wanted, status = match["spec"]["replicas"], match.get("status", {})
        seen = status.get("observedGeneration", 0) >= match["metadata"]["generation"]
        counts = {
            name: status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")
        }
        if seen and all(count == wanted for count in counts.values()):
            return self._leaving(match)
        return f"{wanted} wanted, {json.dumps(counts)}{'' if seen else ', not looked at yet'}"

    def _leaving(self, deployment: Mapping[str, Any]) -> str:
        """Return the names of terminating pods."""
        labels = deployment["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        leaving = [
            each["metadata"]["name"]
            for each in self.list_objects("Pod", selector)
            if each["metadata"].get("deletionTimestamp")
        ]
        return f"on their way out: {', '.join(leaving)}" if leaving else ""

    def _settled(self, kind: str, name: str) -> bool:
        """Return whether an object isn't being deleted."""
        match = self.read(kind, name)
        return match is None or not match["metadata"].get("deletionTimestamp")

    def _kind(self, kind: str, api_version: str | None = None) -> Any:
        """Return the API's resource of a kind; of several groups, the oldest one's."""
        if api_version is None:
            api_version = _GROUPS.get(kind, "v1")
        return self._dynamic.resources.get(kind=kind, api_version=api_version)

    @cached_property
    def _client(self) -> client.ApiClient:
        made: client.ApiClient = config.new_client_from_config(str(self.kubeconfig))
        return made

    @cached_property
    def _dynamic(self) -> DynamicClient:
        return DynamicClient(self._client)

    @cached_property
    def _core(self) -> client.CoreV1Api:
        return client.CoreV1Api(config.new_client_from_config(str(self.kubeconfig)))


_OURS = "imaging-ingestion.alvearie.org/v1alpha1"
_GROUPS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "PodDisruptionBudget": "policy/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "NetworkPolicy": "networking.k8s.io/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "StorageClass": "storage.k8s.io/v1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "DicomEventDrivenIngestion": _OURS,
    "DicomwebIngestionService": _OURS,
    "DimseIngestionService": _OURS,
    "DimseProxy": _OURS,
}


def _headed(kind: str, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": dict(labels)}}


def _waiting(pod: Mapping[str, Any]) -> list[str]:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    states = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
    return [
        f"{name}/{each['name']}: {why['reason']} {why.get('message', '')}".rstrip()
        for each in states
        for why in [each.get("state", {}).get("waiting") or each.get("state", {}).get("terminated")]
        if why and why.get("reason") != "Completed"
    ]


def _reason(refused: ApiException) -> str:
    try:
        return str(json.loads(refused.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(refused.reason)


urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

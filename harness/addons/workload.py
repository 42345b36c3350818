"""The Kubernetes objects an addon is made of: one pod behind one NodePort, without rights.

Plain dictionaries, nothing is applied here.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NAMESPACE = "addons"


@dataclass(frozen=True)
class SecretFiles:
    """The parts of a Secret that are mounted at `path`: file names by the Secret's keys."""

    secret: str
    path: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Workload:
    """One container of one pod. `ports` are container ports by name.

    `user` is the numeric user, and group, it runs as. `secret_environment` names, for each
    variable,
    the Secret whose key of the same name is its value. `data` is where a volume of `data_size` is
    mounted; empty: nothing is stored. Another `revision` restarts the pod.
    """

    name: str
    image: str
    user: int
    ports: Mapping[str, int]
    readiness: Mapping[str, Any]
    command: Sequence[str] = ()
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[SecretFiles] = ()
    data: str = ""
    data_size: str = "1Gi"
    memory: str = "256Mi"
    revision: str = ""

    def objects(self, node_ports: Mapping[str, int]) -> list[dict[str, Any]]:
        """Return the Deployment, the Service and, for stored data, the claim."""
        claim = [self._claim()] if self.data else []
        return [*claim, self._deployment(), self._service(node_ports)]

    def _deployment(self) -> dict[str, Any]:
        template = {
            "metadata": {"labels": self._labels, "annotations": {"revision": self.revision}},
            "spec": self._pod(),
        }
        spec = {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": self._labels},
            "template": template,
        }
        return self._headed("apps/v1", "Deployment", spec)

    def _pod(self) -> dict[str, Any]:
        return {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 10,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": self.user,
                "runAsGroup": self.user,
                "fsGroup": self.user,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [self._container()],
            "volumes": self._volumes(),
        }

    def _container(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": list(self.command),
            "args": list(self.arguments),
            "env": self._variables(),
            "ports": [{"name": key, "containerPort": port} for key, port in self.ports.items()],
            "readinessProbe": {"periodSeconds": 1, "timeoutSeconds": 3, **self.readiness},
            "resources": {
                "requests": {"cpu": "25m", "memory": "64Mi"},
                "limits": {"memory": self.memory},
            },
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": self._mounts(),
        }

    def _variables(self) -> list[dict[str, Any]]:
        plain = [{"name": key, "value": text} for key, text in self.environment.items()]
        secret = [
            {"name": key, "valueFrom": {"secretKeyRef": {"name": source, "key": key}}}
            for key, source in self.secret_environment.items()
        ]
        return [*plain, *secret]

    def _mounts(self) -> list[dict[str, Any]]:
        secrets = [
            {"name": each.secret, "mountPath": each.path, "readOnly": True} for each in self.secrets
        ]
        data = [{"name": "data", "mountPath": self.data}] if self.data else []
        return [*secrets, *data, {"name": "temporary", "mountPath": "/tmp"}]

    def _volumes(self) -> list[dict[str, Any]]:
        secrets = [{"name": each.secret, "secret": _secret_volume(each)} for each in self.secrets]
        claim = {"name": "data", "persistentVolumeClaim": {"claimName": self.name}}
        return [*secrets, *([claim] if self.data else []), {"name": "temporary", "emptyDir": {}}]

    def _service(self, node_ports: Mapping[str, int]) -> dict[str, Any]:
        ports = [
            {"name": key, "port": port, "targetPort": key, **_node_port(node_ports.get(key))}
            for key, port in self.ports.items()
        ]
        kind = "NodePort" if node_ports else "ClusterIP"
        spec = {"type": kind, "selector": self._labels, "ports": ports}
        return self._headed("v1", "Service", spec)

    def _claim(self) -> dict[str, Any]:
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": self.data_size}},
        }
        return self._headed("v1", "PersistentVolumeClaim", spec)

    def _headed(self, api_version: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        metadata = {"name": self.name, "labels": self._labels}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}

    @property
    def _labels(self) -> dict[str, str]:
        return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/part-of": "dimse-addons"}


def derived_password(root: str, name: str) -> str:
    """Return a password for `name`, derived from the root password without revealing it."""
    return hmac.new(root.encode(), name.encode(), hashlib.sha256).hexdigest()[:40]


def revision(*secrets: Mapping[str, str]) -> str:
    """Return a word that changes when what these Secrets hold changes."""
    output = repr([sorted(each.items()) for each in secrets])
    return hashlib.sha256(output.encode()).hexdigest()[:16]


def _secret_volume(mounted: SecretFiles) -> dict[str, Any]:
    items = [{"key": key, "path": file} for key, file in mounted.files.items()]
    return {"secretName": mounted.secret, "defaultMode": 0o440, "items": items}


def _node_port(port: int | None) -> dict[str, int]:
    return {} if port is None else {"nodePort": port}

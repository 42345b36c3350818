"""The operator in the cluster as a platform team installs it, and resources as users bring them.

By helm and kubectl, and by the names of docs/operator.md. What a storage space is provided with is
harness.provisioning's; here it is named as its resource has it.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.chart import OPERATOR_CHART
from harness.commands import output
from harness.kubernetes_objects import Manifest, Namespace
from harness.provisioning import RESTRICTED, SMALL, Platform, Space
from harness.release import FIRST_LOOK, Release
from harness.services import eventually
from harness.tools import tool

NAMESPACE, NAME = "imaging-operator", "imaging"
EXAMPLES = OPERATOR_CHART / "examples"
NATS_CA = "nats-ca"
_DEFINITION = "dimseingestionservices.imaging-ingestion.alvearie.org"
KINDS = (
    *("DimseIngestionService", "DicomwebIngestionService"),
    *("DicomEventDrivenIngestion", "DimseProxy"),
)

_LONGEST = 120.0
_COMPONENTS = {
    "DimseIngestionService": "ingestion",
    "DicomwebIngestionService": "dicomweb",
    "DicomEventDrivenIngestion": "catalogue",
    "DimseProxy": "proxy",
}


@dataclass(frozen=True)
class Operator:
    """The operator's release, installed or not; `image` is its own."""

    platform: Platform
    image: str

    @property
    def namespace(self) -> Namespace:
        """The operator's namespace."""
        return Namespace(self.platform.kubeconfig, NAMESPACE)

    @property
    def release(self) -> Release:
        """The release of its chart."""
        return Release(self.namespace, NAME, OPERATOR_CHART)

    def values(self) -> dict[str, Any]:
        """Return the values of this platform: images, and what holds for every resource here."""
        small = {"resources": SMALL}
        every = {"ingestion": small, "dicomweb": small, "catalogue": small, "proxy": small}
        return {
            "image": self.image,
            "componentImage": self.platform.image,
            "leaseSeconds": 5,
            "defaults": FIRST_LOOK | every | {"natsCaSecret": NATS_CA},
        }

    def is_defined(self) -> bool:
        """Return whether the cluster has its definitions, from this or another installation."""
        return self.namespace.read("CustomResourceDefinition", _DEFINITION) is not None

    def install(self) -> "Operator":
        """Install it in a namespace of the restricted standard; return it."""
        self.namespace.create(RESTRICTED)
        self.release.install_or_upgrade(self.values())
        return self

    def remove(self) -> None:
        """Delete all resources, the definitions and the namespace."""
        self.release.uninstall()
        for name in self.definitions():
            self.namespace.delete("CustomResourceDefinition", name)
        self.namespace.delete("Namespace", NAMESPACE)

    def kill_pods(self) -> None:
        """End its pods at once."""
        for pod in self.namespace.pods(self.release.selector()):
            self.namespace.kill(pod["metadata"]["name"])

    def definitions(self) -> set[str]:
        """Return the names of the definitions that it came with."""
        every = self.namespace.list_objects("CustomResourceDefinition", self.release.selector())
        return {each["metadata"]["name"] for each in every}


@dataclass(frozen=True)
class Resource:
    """One custom resource in `namespace`, applied or not."""

    namespace: Namespace
    manifest: Manifest

    @property
    def kind(self) -> str:
        """The resource's kind."""
        return str(self.manifest["kind"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.manifest["metadata"]["name"])

    @property
    def spec(self) -> Mapping[str, Any]:
        """The spec."""
        return dict(self.manifest.get("spec") or {})

    @property
    def deployment(self) -> str:
        """The Deployment that its kind is named after."""
        return f"{self.name}-{_COMPONENTS[self.kind]}"

    @property
    def release(self) -> Release:
        """The release of its chart."""
        return Release(self.namespace, self.name)

    def apply(self) -> "Resource":
        """Apply it; return it."""
        self.namespace.apply(self.manifest)
        return self

    def delete(self) -> None:
        """Delete it, and wait until its pods are gone."""
        self.namespace.delete(self.kind, self.name)
        selector = self.release.selector(_COMPONENTS[self.kind])
        self.namespace.wait_until_none("Pod", selector)

    def status(self) -> dict[str, Any]:
        """Return the status, or an empty map."""
        return dict((self.namespace.read(self.kind, self.name) or {}).get("status") or {})

    def becomes(self, phase: str, saying: str = "", seconds: float = _LONGEST) -> dict[str, Any]:
        """Wait for a phase and a message; return the status. AssertionError with the last one."""
        try:
            return eventually(
                self.status,
                lambda seen: seen.get("phase") == phase and saying in seen.get("message", ""),
                seconds,
            )
        except AssertionError as never:
            raise AssertionError(f"{self.name}: {never}\n{self.namespace.problems()}") from None

    def events(self) -> list[str]:
        """Return the messages of the Events about it."""
        about = (self.kind, self.name)
        return [
            each["message"]
            for each in self.namespace.list_objects("Event")
            if (each["involvedObject"]["kind"], each["involvedObject"]["name"]) == about
        ]


@dataclass(frozen=True)
class AskedSpace(Space):
    """A storage space by a DimseIngestionService; names are as its spec has them."""

    manifest: Manifest = field(default_factory=dict)

    @property
    def resource(self) -> Resource:
        """The resource."""
        return Resource(self.namespace, self.manifest)

    @property
    def subject_root(self) -> str:  # noqa: D102 - as the space has it
        return str(self.resource.spec["natsSubjectRoot"])

    @property
    def bucket_object(self) -> str:  # noqa: D102
        return str(self.resource.spec["bucketSecretName"])

    @property
    def nats_secret(self) -> str:  # noqa: D102
        return str(self.resource.spec["natsTokenSecret"])

    @property
    def provider(self) -> str:  # noqa: D102
        return str(self.resource.spec["providerName"])

    def create_objects(self) -> "AskedSpace":
        """Create its bucket, the objects that its spec names, and the CA of the platform's NATS."""
        self.create_bucket()
        self.create_bucket_key_secret()
        token = self.platform.nats.ingestion_token(self.subject_root)
        self.namespace.put_secret(self.nats_secret, {"token": token})
        self.namespace.put_secret(NATS_CA, {"ca.crt": self.platform.nats.ca_pem})
        return self

    def install(self) -> "AskedSpace":
        """Create its objects, apply its resource and wait until it is Ready; return it."""
        self.create_objects().resource.apply().becomes("Ready")
        return self

    def remove(self) -> None:
        """Delete all resources, the definitions and the namespace."""
        self.resource.delete()
        self.platform.minio.remove_bucket(self.bucket)


def example(name: str) -> dict[str, Any]:
    """Return a resource of the chart's examples, unchanged."""
    return dict(yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8")))


def changed(manifest: Manifest, name: str, **spec: Any) -> dict[str, Any]:
    """Return a resource by another name, with fields of its spec changed; None removes one."""
    made = copy.deepcopy(dict(manifest)) | {"metadata": {"name": name}}
    fields = made.get("spec", {}) | spec
    made["spec"] = {key: content for key, content in fields.items() if content is not None}
    return made


def kubectl(namespace: Namespace, *arguments: str | Path) -> str:
    """Return kubectl's output, run in a namespace."""
    place: list[str | Path] = ["--kubeconfig", namespace.kubeconfig, "-n", namespace.name]
    return output(tool("kubectl", _silent), *place, *arguments)


def _silent(_line: str) -> None:
    """Discard messages."""

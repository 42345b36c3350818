"""References of a release to objects that it does not create: Secrets, ConfigMaps, a catalogue.

They are read from the rendered objects, so that a volume added to the chart is covered, too.
Whether the objects exist is checked in `reconcile`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dimse_ingestion.operator.resources import Manifest
from dimse_ingestion.operator.values import Values

_ROLES = {
    "bucket-config": "bucket",
    "bucket-secret": "bucket",
    "nats-token": "NATS credential",
    "nats-ca": "NATS authority",
    "nats-client": "NATS client certificate",
    "catalogue-access": "catalogue",
    "catalogue-certificate": "catalogue",
    "event-sink-token": "event sink token",
    "event-sink-ca": "event sink authority",
    "database": "database",
    "dicom-tls": "DICOM TLS certificate",
    "dicom-client-ca": "DICOM TLS authority",
    "dicom-peer-ca": "DICOM TLS authority of peers",
}
"""The purpose of the chart's volumes; they are reported missing even if optional for a pod."""
_LONGEST_NAME = 46


@dataclass(frozen=True)
class Reference:
    """A reference to an object; `read_at_start` if a pod reads it only when it starts."""

    kind: str
    namespace: str
    name: str
    role: str = ""
    read_at_start: bool = False

    @property
    def missing(self) -> str:
        """Return the sentence that reports the object missing."""
        if self.kind == "Service":
            return (
                f"Missing catalogue {self.role}: there is no Service {self.name} in namespace "
                f"{self.namespace}. Make the DicomEventDrivenIngestion, or correct "
                "dicomEventDrivenIngestionName."
            )
        return f"Missing {self.role} {self.kind} {self.name}.".replace("  ", " ")


def references(objects: Iterable[Manifest], values: Values, namespace: str) -> list[Reference]:
    """Return the references, each once, the bucket's first."""
    objects = [*objects]
    own = {(each["kind"], each["metadata"]["name"]) for each in objects}
    pods = [spec["template"]["spec"] for spec in _specs(objects, "Deployment")]
    inside = [each for pod in pods for each in _of_pod(pod, namespace)]
    for ingress in _specs(objects, "Ingress"):
        inside += _of_ingress(ingress, namespace)
    external = [each for each in inside if (each.kind, each.name) not in own]
    return [*dict.fromkeys([*external, *_catalogue(values, namespace)])]


def _specs(objects: Iterable[Manifest], kind: str) -> list[Mapping[str, Any]]:
    return [each["spec"] for each in objects if each["kind"] == kind]


def _of_ingress(ingress: Mapping[str, Any], namespace: str) -> Iterator[Reference]:
    for each in ingress.get("tls") or []:
        if name := each.get("secretName"):
            yield Reference("Secret", namespace, name, "Ingress certificate")


def _of_pod(pod: Mapping[str, Any], namespace: str) -> Iterator[Reference]:
    for volume in pod.get("volumes") or []:
        yield from _of_volume(volume, namespace)
        for source in (volume.get("projected") or {}).get("sources") or []:
            yield from _key_references(source, "secret", "configMap", namespace)
    for container in [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]:
        for variable in container.get("env") or []:
            value_from = variable.get("valueFrom") or {}
            yield from _key_references(
                value_from, "secretKeyRef", "configMapKeyRef", namespace, at_start=True
            )
        for source in container.get("envFrom") or []:
            yield from _key_references(
                source, "secretRef", "configMapRef", namespace, at_start=True
            )
    for each in pod.get("imagePullSecrets") or []:
        yield Reference("Secret", namespace, each["name"], "image pull")


def _key_references(
    source: Mapping[str, Any],
    secret: str,
    config_map: str,
    namespace: str,
    *,
    at_start: bool = False,
) -> Iterator[Reference]:
    """Return the Secret or ConfigMap in one of these fields, unless it is optional."""
    for field, kind in ((secret, "Secret"), (config_map, "ConfigMap")):
        reference = source.get(field)
        if reference and not reference.get("optional"):
            yield Reference(kind, namespace, reference["name"], read_at_start=at_start)


def _of_volume(volume: Mapping[str, Any], namespace: str) -> Iterator[Reference]:
    role = _ROLES.get(volume["name"], "")
    for field, kind, key in (
        ("secret", "Secret", "secretName"),
        ("configMap", "ConfigMap", "name"),
        ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
    ):
        source = volume.get(field)
        if source and (role or not source.get("optional")):
            read_at_start = field == "secret" and not source.get("optional")
            yield Reference(kind, namespace, source[key], role, read_at_start=read_at_start)


def _catalogue(values: Values, namespace: str) -> Iterator[Reference]:
    """Return the catalogue's Service, unless events and queries go elsewhere."""
    name = values.get("dicomEventDrivenIngestionName")
    if not name or (values.get("eventSink") and values.get("queryEndpoint")):
        return
    release, _, elsewhere = name.partition(".")
    shortened = release[:_LONGEST_NAME].removesuffix("-")
    yield Reference("Service", elsewhere or namespace, f"{shortened}-catalogue", name)

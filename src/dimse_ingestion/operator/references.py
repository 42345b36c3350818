"""What a release names and does not make: Secrets, ConfigMaps, the catalogue of another.

Taken from the objects themselves, so that a volume the chart gets tomorrow is looked for, too.
Whether they are there is asked elsewhere (`reconciling`).
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
}
"""What the chart's volumes are for; these are missed, though a pod starts without them."""
_LONGEST_NAME = 46


@dataclass(frozen=True)
class Reference:
    """Something that is named; `read_at_start` where a pod reads it once and not again."""

    kind: str
    namespace: str
    name: str
    role: str = ""
    read_at_start: bool = False

    @property
    def missing(self) -> str:
        """What is said when it isn't there."""
        if self.kind == "Service":
            return (
                f"Missing catalogue {self.role}: there is no Service {self.name} in namespace "
                f"{self.namespace}. Make the DicomEventDrivenIngestion, or correct "
                "dicomEventDrivenIngestionName."
            )
        return f"Missing {self.role} {self.kind} {self.name}.".replace("  ", " ")


def references(objects: Iterable[Manifest], values: Values, namespace: str) -> list[Reference]:
    """What is named, each once, the bucket first."""
    objects = [*objects]
    own = {(each["kind"], each["metadata"]["name"]) for each in objects}
    pods = [spec["template"]["spec"] for spec in _specs(objects, "Deployment")]
    named = [each for pod in pods for each in _of_pod(pod, namespace)]
    for ingress in _specs(objects, "Ingress"):
        named += _of_ingress(ingress, namespace)
    wanted = [each for each in named if (each.kind, each.name) not in own]
    return [*dict.fromkeys([*wanted, *_catalogue(values, namespace)])]


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
            yield from _told_by(source, "secret", "configMap", namespace)
    for container in [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]:
        for variable in container.get("env") or []:
            told = variable.get("valueFrom") or {}
            yield from _told_by(told, "secretKeyRef", "configMapKeyRef", namespace, at_start=True)
        for source in container.get("envFrom") or []:
            yield from _told_by(source, "secretRef", "configMapRef", namespace, at_start=True)
    for each in pod.get("imagePullSecrets") or []:
        yield Reference("Secret", namespace, each["name"], "image pull")


def _told_by(
    source: Mapping[str, Any],
    secret: str,
    config_map: str,
    namespace: str,
    *,
    at_start: bool = False,
) -> Iterator[Reference]:
    """The Secret or ConfigMap in one of these fields, unless the pod does without it."""
    for field, kind in ((secret, "Secret"), (config_map, "ConfigMap")):
        named = source.get(field)
        if named and not named.get("optional"):
            yield Reference(kind, namespace, named["name"], read_at_start=at_start)


def _of_volume(volume: Mapping[str, Any], namespace: str) -> Iterator[Reference]:
    role = _ROLES.get(volume["name"], "")
    for field, kind, key in (
        ("secret", "Secret", "secretName"),
        ("configMap", "ConfigMap", "name"),
        ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
    ):
        source = volume.get(field)
        if source and (role or not source.get("optional")):
            once = field == "secret" and not source.get("optional")
            yield Reference(kind, namespace, source[key], role, read_at_start=once)


def _catalogue(values: Values, namespace: str) -> Iterator[Reference]:
    """The Service of the release that is named; none where events and queries go elsewhere."""
    name = values.get("dicomEventDrivenIngestionName")
    if not name or (values.get("eventSink") and values.get("queryEndpoint")):
        return
    release, _, elsewhere = name.partition(".")
    shortened = release[:_LONGEST_NAME].removesuffix("-")
    yield Reference("Service", elsewhere or namespace, f"{shortened}-catalogue", name)

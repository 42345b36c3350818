"""One storage space on the cluster, provided for: its bucket, Secrets, values and release.

What a hospital's platform team does beside `helm install`. All names follow from the space's own,
its subject root and its bucket are of this run alone, and `removed` leaves nothing.
"""

import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import pod_http
from harness.addons.minio import MinioAddon
from harness.addons.nats import NatsAddon
from harness.imaging_zone import ImagingZone, NatsAccess, zone
from harness.kubernetes_objects import Namespace
from harness.release import Release

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
"""The label by which a namespace accepts only pods of the restricted Pod Security Standard."""

TEST_PROXY = "helm-test"


@dataclass(frozen=True)
class Platform:
    """The platform of spaces: the addons, and the product's image in the cluster."""

    kubeconfig: Path
    nats: NatsAddon
    minio: MinioAddon
    image: str


@dataclass(frozen=True)
class Space:
    """The storage space `name` in `namespace`; `run` distinguishes its bucket from another run's.

    `catalogue` is the catalogue's release when it isn't its own. `given` are further values.
    """

    platform: Platform
    namespace: Namespace
    name: str
    run: str
    catalogue: Release | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return f"{self.name}-{self.run}"

    @property
    def subject_root(self) -> str:
        """The root of its subjects on NATS."""
        return f"E2E.{self.name}-{self.run}"

    @property
    def bucket_object(self) -> str:
        """The name of its bucket's ConfigMap and Secret."""
        return f"{self.name}-bucket"

    @property
    def nats_secret(self) -> str:
        """The name of the Secret with the ingestion service's credential."""
        return f"{self.name}-nats"

    @property
    def provider(self) -> str:
        """The provider's name of its instances in the catalogue."""
        return self.name

    @cached_property
    def release(self) -> Release:
        """Its release, installed or not."""
        return Release(self.namespace, self.name)

    def values(self, **more: Any) -> dict[str, Any]:
        """Return its values file; `more` replaces keys."""
        own = {
            "image": self.platform.image,
            "replicas": 2,
            "bucketConfigName": self.bucket_object,
            "bucketSecretName": self.bucket_object,
            "providerName": self.provider,
            "dicomEventDrivenIngestionName": self._catalogue_name,
            "natsUrl": self.platform.nats.url_inside,
            "natsSubjectRoot": self.subject_root,
            "natsTokenSecret": self.nats_secret,
            "natsCaSecret": "nats-ca",
            "test": {"natsTokenSecret": f"{self.name}-test"},
            "ingestion": {"resources": SMALL},
            "dicomweb": {"enabled": False},
            "catalogue": {"resources": SMALL, "persistence": {"size": "1Gi"}},
        }
        return own | dict(self.given) | more

    def create_objects(self) -> "Space":
        """Create its bucket, ConfigMap and Secrets; return it."""
        nats = self.platform.nats
        self.create_bucket()
        self.create_bucket_key_secret()
        self.create_nats_secret(nats.ingestion_credentials(self.subject_root))
        self.namespace.put_secret("nats-ca", {"ca.crt": nats.ca_pem})
        credentials = nats.proxy_credentials(self.subject_root, TEST_PROXY)
        self.namespace.put_secret(f"{self.name}-test", {"nats.creds": credentials})
        if self.catalogue and self.catalogue.namespace.name != self.namespace.name:
            secret = _catalogue_secret(self.catalogue)
            self.namespace.put_secret(f"{self.catalogue.name}-catalogue", secret)
        return self

    def create_bucket(self) -> None:
        """Create its bucket, and the ConfigMap with its address."""
        minio = self.platform.minio
        minio.make_bucket(self.bucket)
        self.namespace.put_config_map(self.bucket_object, minio.bucket_config(self.bucket))

    def create_bucket_key_secret(self) -> None:
        """Create the Secret with its bucket's key."""
        keys = self.platform.minio.bucket_secret(self.bucket)
        self.namespace.put_secret(self.bucket_object, keys)

    def create_nats_secret(self, credentials: str) -> None:
        """Create the Secret with this credential of the ingestion service."""
        self.namespace.put_secret(self.nats_secret, {"nats.creds": credentials})

    def install(self) -> "Space":
        """Create its objects and install its release; return it."""
        self.create_objects().release.install(self.values())
        return self

    def remove(self) -> None:
        """Uninstall it and delete its bucket; the namespace's owner deletes that."""
        self.release.uninstall()
        self.platform.minio.remove_bucket(self.bucket)

    def zone(self, folder: Path, proxy_id: str = "ward7", **settings: str) -> ImagingZone:
        """Return a proxy outside the cluster that belongs to it, not started."""
        return zone(folder, self.access(proxy_id), self.subject_root, proxy_id, settings)

    def access(self, proxy_id: str = "ward7") -> NatsAccess:
        """Return the access to NATS of one of its proxies."""
        nats = self.platform.nats
        credentials = nats.proxy_credentials(self.subject_root, proxy_id)
        return NatsAccess(nats.url_outside, nats.ca_pem, credentials)

    @property
    def _catalogue_name(self) -> str:
        """Its catalogue's release, as it is called from its namespace; empty: its own."""
        if self.catalogue is None:
            return ""
        existing = self.catalogue.namespace.name
        return self.catalogue.name + ("" if existing == self.namespace.name else f".{existing}")

    def instances(self) -> set[str]:
        """Return the keys of the instances in its bucket."""
        every = self.platform.minio.keys(self.bucket)
        return {key for key in every if key.startswith("instances/")}

    def read(self, key: str) -> bytes:
        """Return an object of its bucket, read from outside the cluster."""
        return self.platform.minio.read(self.bucket, key)

    def catalogued_uids(self) -> set[str]:
        """Return the SOP Instance UIDs that the catalogue has of this space; queried in a pod."""
        release = self.catalogue or self.release
        (pod, *_) = release.pod_names("catalogue")
        body = {"scope": "IMAGE", "queryAttributes": [_SOP_INSTANCE_UID]}
        path = f"/query/instances?source={self.provider}"
        answer = pod_http.get(
            release.namespace, pod, path, body, port=8443, **_catalogue_access(release)
        )
        assert answer.status == 200, answer
        *matches, end = [json.loads(line) for line in answer.text.splitlines()]
        assert end["end"], end
        return {_sop_instance_uid(match) for match in matches}


def _catalogue_secret(release: Release) -> dict[str, str]:
    """Return what a client of a release's catalogue needs, as the chart generated it."""
    result = release.namespace.secret(f"{release.name}-catalogue")
    assert result is not None
    return {key: result[key] for key in ("ca.crt", "token")}


def _catalogue_access(release: Release) -> dict[str, Any]:
    secret = _catalogue_secret(release)
    return {
        "headers": {"Authorization": f"Bearer {secret['token']}"},
        "tls": ssl.create_default_context(cadata=secret["ca.crt"]),
    }


_SOP_INSTANCE_UID = {"group": "0008", "element": "0018", "vr": "UI", "value": ""}
SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}


def _sop_instance_uid(match: Sequence[Mapping[str, Any]]) -> str:
    (result,) = [each for each in match if (each["group"], each["element"]) == ("0008", "0018")]
    return str(result["value"])

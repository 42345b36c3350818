"""An S3 store in the cluster: MinIO over TLS, with a user and a policy for each bucket.

A bucket's user may do what docs/operating.md requires (list, read, write, remove, abort uploads) in
that bucket alone. Objects stand on a volume, so that `stop` and `start` lose none. The root user
and
the CA are in the Secret `minio-authority`; a bucket's keys follow from the root user's.
"""

import io
import json
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import urllib3
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

from harness.addons.certificates import certified, names_of
from harness.addons.workload import NAMESPACE, SecretFiles, Workload, derived_password, revision
from harness.images import in_cluster
from harness.kubernetes_objects import Namespace
from harness.services import eventually

if TYPE_CHECKING:
    from harness.cluster import Cluster

NODE_PORT = 30900
REGION = "us-east-1"
_AUTHORITY = "minio-authority"
_CERTIFICATES = "/etc/minio/certificates"
_CERTIFICATE_FILES = {"tls.crt": "public.crt", "tls.key": "private.key"}
_SERVICE = f"minio.{NAMESPACE}.svc"
_LONGEST_START = 30.0


@dataclass(frozen=True)
class MinioAddon:
    """MinIO as it runs in `namespace`; made by `installed`. `address` is host:port from outside."""

    namespace: Namespace
    authority: Mapping[str, str]
    address: str

    @property
    def ca_pem(self) -> str:
        """The PEM certificate of the CA that signed its certificate."""
        return self.authority["ca.crt"]

    @property
    def endpoint_outside(self) -> str:
        """The URL on this machine."""
        return f"https://{self.address}"

    def bucket_config(self, bucket: str) -> dict[str, str]:
        """Return a bucket's ConfigMap, as the services in the cluster read it."""
        return {
            "BUCKET_HOST": _SERVICE,
            "BUCKET_PORT": "9000",
            "BUCKET_NAME": bucket,
            "BUCKET_REGION": REGION,
            "BUCKET_SECURE": "true",
            "BUCKET_CA": self.ca_pem,
        }

    def bucket_secret(self, bucket: str) -> dict[str, str]:
        """Return a bucket's Secret: the keys of its own user, the same at every call."""
        return {
            "AWS_ACCESS_KEY_ID": _user(bucket),
            "AWS_SECRET_ACCESS_KEY": derived_password(
                self.authority["MINIO_ROOT_PASSWORD"], bucket
            ),
        }

    def make_bucket(self, bucket: str) -> str:
        """Create a bucket, its user and its policy, unless they exist; return its name."""
        if not self._client.bucket_exists(bucket):
            self._client.make_bucket(bucket)
        keys = self.bucket_secret(bucket)
        self._admin.policy_add(_user(bucket), policy=_policy(bucket))
        self._admin.user_add(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
        self._admin.policy_set(_user(bucket), user=_user(bucket))
        return bucket

    def remove_bucket(self, bucket: str) -> None:
        """Remove a bucket with all its objects, its user and its policy; what is missing is fine."""  # noqa: E501
        if self._client.bucket_exists(bucket):
            eventually(lambda: self._removed(bucket), bool)
        self.revoke(bucket)

    def _removed(self, bucket: str) -> bool:
        """Remove the objects, then the bucket; False when a late upload added one in between."""
        every = (DeleteObject(key) for key in self.keys(bucket))
        errors = list(self._client.remove_objects(bucket, every))
        assert not errors, f"not removed from {bucket}: {errors}"
        try:
            self._client.remove_bucket(bucket)
        except S3Error as error:
            if error.code != "BucketNotEmpty":
                raise
            return False
        return True

    def rotate(self, bucket: str) -> dict[str, str]:
        """Return another key for a bucket beside its own, as its Secret; `revoke` ends the own one's use."""  # noqa: E501
        name, key = f"{_user(bucket)}-{secrets.token_hex(4)}", secrets.token_urlsafe(24)
        self._admin.user_add(name, key)
        self._admin.policy_set(_user(bucket), user=name)
        return {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": key}

    def revoke(self, bucket: str) -> None:
        """Delete a bucket's own user; `made_bucket` creates it again."""
        if _user(bucket) in json.loads(self._admin.user_list()):
            self._admin.user_remove(_user(bucket))

    def admits(self, bucket: str, keys: Mapping[str, str]) -> bool:
        """Return whether these keys, as a Secret has them, may look into a bucket."""
        user, password = keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]
        asking = Minio(self.address, user, password, region=REGION, http_client=self._trusting)
        try:
            list(asking.list_objects(bucket, prefix="checks/"))
        except S3Error:
            return False
        return True

    def keys(self, bucket: str) -> list[str]:
        """Return the keys of all objects, in order."""
        return sorted(
            str(each.object_name) for each in self._client.list_objects(bucket, recursive=True)
        )

    def objects(self, bucket: str) -> dict[str, bytes]:
        """Return every object with its bytes, read from outside."""
        return {key: self.read(bucket, key) for key in self.keys(bucket)}

    def read(self, bucket: str, key: str) -> bytes:
        """Return one object's bytes."""
        answer = self._client.get_object(bucket, key)
        try:
            return bytes(answer.read())
        finally:
            answer.close()
            answer.release_conn()

    def write(self, bucket: str, key: str, content: bytes) -> None:
        """Put an object into the bucket, bypassing the product."""
        self._client.put_object(bucket, key, io.BytesIO(content), len(content))

    def stop(self) -> None:
        """Scale to zero and wait; objects, users and policies stay."""
        self.namespace.scale("minio", 0)

    def start(self) -> None:
        """Scale up and wait until it answers from outside."""
        self.namespace.scale("minio", 1)
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        """Wait for an answer through the NodePort; AssertionError with the last problem."""
        eventually(self._problem, lambda problem: not problem, _LONGEST_START)

    def remove(self) -> None:
        """Remove it with every bucket and key."""
        for kind in ("Deployment", "Service", "Secret", "PersistentVolumeClaim"):
            self.namespace.remove_all(kind, "app.kubernetes.io/name=minio")

    def _problem(self) -> str:
        try:
            self._client.list_buckets()
        except Exception as error:  # noqa: BLE001 - reported after the time-out
            return str(error)
        return ""

    @cached_property
    def _client(self) -> Minio:
        user, password = self._root
        return Minio(self.address, user, password, region=REGION, http_client=self._trusting)

    @cached_property
    def _admin(self) -> Any:
        return MinioAdmin(
            endpoint=self.address,
            credentials=StaticProvider(*self._root),
            region=REGION,
            http_client=self._trusting,
        )

    @property
    def _root(self) -> tuple[str, str]:
        return self.authority["MINIO_ROOT_USER"], self.authority["MINIO_ROOT_PASSWORD"]

    @cached_property
    def _trusting(self) -> urllib3.PoolManager:
        trust = ssl.create_default_context(cadata=self.ca_pem)
        return urllib3.PoolManager(ssl_context=trust, retries=False, timeout=10.0)


def install(cluster: "Cluster") -> MinioAddon:
    """Install MinIO and wait until it is ready; one that runs already stays, objects and all."""
    image = in_cluster(cluster, "minio")
    namespace = Namespace(cluster.kubeconfig, NAMESPACE).create()
    host, port = cluster.outside(NODE_PORT)
    authority = _authority(namespace, host)
    namespace.apply(*_workload(image, revision(authority)).objects({"s3": NODE_PORT}))
    namespace.wait_until_rolled_out("minio")
    addon = MinioAddon(namespace, authority, f"{host}:{port}")
    addon.wait_until_it_answers()
    return addon


def _authority(namespace: Namespace, host: str) -> dict[str, str]:
    return namespace.ensure_secret(
        _AUTHORITY,
        lambda: {
            "MINIO_ROOT_USER": "harness",
            "MINIO_ROOT_PASSWORD": secrets.token_urlsafe(24),
            **certified(*names_of("minio", NAMESPACE, [host])),
        },
        "minio",
    )


def _workload(image: str, of: str) -> Workload:
    probe = {"path": "/minio/health/ready", "port": "s3", "scheme": "HTTPS"}
    return Workload(
        name="minio",
        image=image,
        user=1000,
        ports={"s3": 9000},
        arguments=["server", "/data", "--address", ":9000", "--certs-dir", _CERTIFICATES],
        environment={"MINIO_BROWSER": "off", "MINIO_UPDATE": "off", "HOME": "/tmp"},
        secret_environment={"MINIO_ROOT_USER": _AUTHORITY, "MINIO_ROOT_PASSWORD": _AUTHORITY},
        readiness={"httpGet": probe},
        secrets=[SecretFiles(_AUTHORITY, _CERTIFICATES, _CERTIFICATE_FILES)],
        data="/data",
        data_size="4Gi",
        memory="512Mi",
        revision=of,
    )


def _user(bucket: str) -> str:
    """Return the name of a bucket's user, and of its policy."""
    return f"only-{bucket}"


def _policy(bucket: str) -> dict[str, Any]:
    on_bucket = ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]
    on_objects = [
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    ]
    arn = f"arn:aws:s3:::{bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": on_bucket, "Resource": [arn]},
            {"Effect": "Allow", "Action": on_objects, "Resource": [f"{arn}/*"]},
        ],
    }

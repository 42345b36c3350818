"""NATS in the cluster as in a hospital: TLS by an own CA, operator mode, a user for each service.

What a user may do is the table of docs/operating.md, *NATS permissions*, and no more. JetStream is
off. The operator's seeds, the CA and the server's key are in the Secret `nats-authority`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.addons.certificates import certified, is_for, names_of
from harness.addons.workload import NAMESPACE, SecretFiles, Workload, revision
from harness.addons.world_names import WorldName
from harness.images import in_cluster
from harness.kubernetes_objects import Namespace
from harness.nats_accounts import Operator, User

if TYPE_CHECKING:
    from harness.cluster import Cluster

NODE_PORT = 30422
WORLD_NAME = "0a0527d6.nip.io"
"""What the original's users call it in their resources, at port 443: `NatsAddon.world_name`."""
_AUTHORITY = "nats-authority"
_CONFIGURATION = "nats-configuration"
_PATH = "/etc/nats"


@dataclass(frozen=True)
class NatsAddon:
    """NATS as it runs in `namespace`; made by `installed`."""

    namespace: Namespace
    operator: Operator
    ca_pem: str
    url_outside: str
    url_inside: str = f"tls://nats.{NAMESPACE}.svc:4222"

    @property
    def world_name(self) -> WorldName:
        """The name by which custom resources refer to it, whether it exists or not."""
        return WorldName(WORLD_NAME, 443, self.namespace, "nats", "client")

    def proxy_credentials(self, root: str, proxy_id: str, expires_in: float | None = None) -> str:
        """Return a credentials file for proxy `proxy_id` on the subject root; `expires_in` is in seconds."""  # noqa: E501
        return self.operator.user(
            may_publish=[f"{root}.v1.svc.*", f"{root}.v1.in.>"],
            may_subscribe=[f"{root}._INBOX.{proxy_id}.>"],
            expires_in=expires_in,
        ).credentials_file

    def ingestion_credentials(self, root: str, expires_in: float | None = None) -> str:
        """Return a credentials file for the ingestion service of the subject root, for all its replicas."""  # noqa: E501
        return self._ingestion(root, expires_in=expires_in).credentials_file

    def ingestion_token(self, root: str) -> str:
        """Return the same as a bearer's JWT, which needs no seed."""
        return self._ingestion(root, bearer=True).jwt

    def _ingestion(self, root: str, **how: Any) -> User:
        return self.operator.user(
            may_publish=[f"{root}._INBOX.>"],
            may_subscribe=[f"{root}.v1.svc.* svc", f"{root}.v1.in.>"],
            **how,
        )

    def restart(self) -> None:
        """Kill the server and wait for the next one; clients reconnect."""
        for pod in self.namespace.pods("app.kubernetes.io/name=nats"):
            self.namespace.kill(pod["metadata"]["name"])
        self.namespace.wait_until_rolled_out("nats")

    def stop(self) -> None:
        """Scale to zero and wait until no pod runs."""
        self.namespace.scale("nats", 0)

    def start(self) -> None:
        """Scale up and wait until it is ready."""
        self.namespace.scale("nats", 1)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Have no server within the block, and one that is ready after it."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def remove(self) -> None:
        """Remove it, its keys too; credentials minted before are worth nothing then."""
        for kind in ("Deployment", "Service", "Secret"):
            self.namespace.remove_all(kind, "app.kubernetes.io/name=nats")


def install(cluster: "Cluster") -> NatsAddon:
    """Install NATS and wait until it is ready; one that runs already stays, keys and all."""
    image = in_cluster(cluster, "nats")
    namespace = Namespace(cluster.kubeconfig, NAMESPACE).create()
    host, port = cluster.outside(NODE_PORT)
    authority = _authority(namespace, host)
    operator = Operator.load(authority)
    configuration = namespace.ensure_secret(_CONFIGURATION, lambda: _secret(operator), "nats")
    workload = _workload(image, revision(authority, configuration))
    namespace.apply(*workload.objects({"client": NODE_PORT}))
    namespace.wait_until_rolled_out("nats")
    return NatsAddon(namespace, operator, authority["ca.crt"], f"tls://{host}:{port}")


def _authority(namespace: Namespace, host: str) -> dict[str, str]:
    """Return its keys and certificate; a stored certificate that lacks a name is replaced."""
    names = names_of("nats", NAMESPACE, [host, WORLD_NAME])
    remaining = namespace.ensure_secret(
        _AUTHORITY, lambda: Operator().saved | certified(*names), "nats"
    )
    if is_for(remaining["tls.crt"], names):
        return remaining
    namespace.delete("Secret", _AUTHORITY)
    return namespace.ensure_secret(_AUTHORITY, lambda: remaining | certified(*names), "nats")


def _secret(operator: Operator) -> dict[str, str]:
    return {"nats.json": json.dumps(_configuration(operator), indent=2)}


def _configuration(operator: Operator) -> dict[str, Any]:
    """Return the server's settings; a grant limit of 32 MiB needs 64 MiB pending."""
    return {
        "port": 4222,
        "http_port": 8222,
        "max_payload": 1024 * 1024,
        "max_pending": 64 * 1024 * 1024,
        "write_deadline": "10s",
        "tls": {"cert_file": f"{_PATH}/tls/tls.crt", "key_file": f"{_PATH}/tls/tls.key"},
        **operator.configuration,
    }


def _workload(image: str, of: str) -> Workload:
    return Workload(
        name="nats",
        image=image,
        user=1000,
        ports={"client": 4222, "monitor": 8222},
        arguments=["--config", f"{_PATH}/configuration/nats.json"],
        readiness={"httpGet": {"path": "/healthz", "port": "monitor"}},
        secrets=[
            SecretFiles(_CONFIGURATION, f"{_PATH}/configuration", {"nats.json": "nats.json"}),
            SecretFiles(_AUTHORITY, f"{_PATH}/tls", {"tls.crt": "tls.crt", "tls.key": "tls.key"}),
        ],
        revision=of,
    )

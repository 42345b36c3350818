"""Access to the catalogue where the cluster's network enforces the chart's policies.

It asks for a token, and beside that only services of this chart in its namespace may knock. Where
nothing is enforced (the airgap's node has a plain bridge) these tests are deselected.
"""

from typing import Any

import pytest

from harness.kubernetes_objects import Namespace
from harness.plugin import Workbench
from harness.services import eventually
from tests.e2e.conftest import Observed

pytestmark = pytest.mark.network_policies

_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()
except OSError as why:
    print(type(why).__name__)
else:
    print("connected")
"""


def connecting(namespace: Namespace, pod: str, host: str, port: int = 8443) -> str:
    """Return the result of a connection from within a pod."""
    return namespace.execute(pod, ["python3", "-c", _CONNECT, host, str(port)]).strip()


@pytest.fixture
def stranger(bench: Workbench) -> tuple[Namespace, str]:
    """Return a pod of somebody else's in another namespace."""
    namespace = bench.namespace("stranger")
    namespace.apply(idle_pod(bench.platform.image))
    eventually(namespace.pods, lambda pods: pods[0]["status"].get("phase") == "Running")
    return namespace, "stranger"


def idle_pod(image: str) -> dict[str, Any]:
    container = {
        "name": "idle",
        "image": image,
        "command": ["python3", "-c", "import signal; signal.pause()"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "containers": [container],
        "securityContext": security,
        "terminationGracePeriodSeconds": 0,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger"}, "spec": spec}


def test_the_ingestion_service_reaches_its_catalogue(observed: Observed) -> None:
    release = observed.space.release
    (pod, *_) = release.pod_names("ingestion")
    assert connecting(release.namespace, pod, f"{release.name}-catalogue") == "connected"


def test_no_pod_of_another_namespace_reaches_the_catalogue(
    observed: Observed, stranger: tuple[Namespace, str]
) -> None:
    release = observed.space.release
    host = f"{release.name}-catalogue.{release.namespace.name}.svc"
    assert connecting(*stranger, "kubernetes.default.svc", 443) == "connected"
    assert connecting(*stranger, host) == "TimeoutError"

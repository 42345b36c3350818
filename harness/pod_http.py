"""HTTP to a pod, through the API server's port forwarding: no Service, no NetworkPolicy in between.

For what a pod tells of itself (`/readyz`, `/metrics`) and for a catalogue that lets nobody else in.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

from kubernetes import client, config
from kubernetes.stream import portforward

from harness.kubernetes_objects import Namespace

PORT = 8080


@dataclass(frozen=True)
class Answered:
    """Status and text of an answer; status 0 and the reason when there was none."""

    status: int
    text: str


def asked(
    namespace: Namespace, pod: str, path: str, body: Mapping[str, Any] | None = None
) -> Answered:
    """A GET of the pod's HTTP port, or a POST of JSON when there is a `body`."""
    try:
        return _asked(namespace, pod, path, body)
    except (OSError, HTTPException, client.ApiException) as broken:
        return Answered(0, str(broken))


def _asked(namespace: Namespace, pod: str, path: str, body: Mapping[str, Any] | None) -> Answered:
    core = client.CoreV1Api(config.new_client_from_config(str(namespace.kubeconfig)))
    forwarded = portforward(
        core.connect_get_namespaced_pod_portforward, pod, namespace.name, ports=str(PORT)
    )
    try:
        return _spoken(forwarded.socket(PORT), path, body)
    finally:
        forwarded.close()


def _spoken(connected: Any, path: str, body: Mapping[str, Any] | None) -> Answered:
    connected.setblocking(True)
    speaking = HTTPConnection("pod", PORT)
    speaking.sock = connected
    headers = {"Connection": "close", "Content-Type": "application/json"}
    method = "GET" if body is None else "POST"
    speaking.request(method, path, None if body is None else json.dumps(body), headers)
    answer = speaking.getresponse()
    return Answered(answer.status, answer.read().decode())

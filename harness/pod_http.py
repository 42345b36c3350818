"""HTTP to a pod, through the API server's port forwarding: no Service, no NetworkPolicy in between.

For a pod's `/readyz` and `/metrics`, and for a catalogue that refuses other clients.
"""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


def get(
    namespace: Namespace,
    pod: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    port: int = PORT,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Answered:
    """Return a GET of the pod's HTTP port, or a POST of JSON when there is a `body`.

    With `tls` the pod must show a certificate for localhost.
    """
    sent = {"Connection": "close", "Content-Type": "application/json", **(headers or {})}
    try:
        with _connected(namespace, pod, port, tls) as speaking:
            return _spoken(speaking, path, body, sent)
    except (OSError, HTTPException, client.ApiException) as broken:
        return Answered(0, str(broken))


@contextmanager
def _connected(
    namespace: Namespace, pod: str, port: int, tls: ssl.SSLContext | None
) -> Iterator[HTTPConnection]:
    core = client.CoreV1Api(config.new_client_from_config(str(namespace.kubeconfig)))
    forwarded = portforward(
        core.connect_get_namespaced_pod_portforward, pod, namespace.name, ports=str(port)
    )
    try:
        speaking = HTTPConnection("pod", port)
        speaking.sock = forwarded.socket(port)
        speaking.sock.setblocking(True)
        if tls is not None:
            # the library's wrapper has no file descriptor of its own
            plain = getattr(speaking.sock, "_socket", speaking.sock)
            speaking.sock = tls.wrap_socket(plain, server_hostname="localhost")
        yield speaking
    finally:
        forwarded.close()


def _spoken(
    speaking: HTTPConnection,
    path: str,
    body: Mapping[str, Any] | None,
    headers: Mapping[str, str],
) -> Answered:
    method = "GET" if body is None else "POST"
    speaking.request(method, path, None if body is None else json.dumps(body), dict(headers))
    answer = speaking.getresponse()
    return Answered(answer.status, answer.read().decode())

"""All objects in a namespace, of every kind that the cluster serves.

For what shall be left and what shall not; single objects are `harness.kubernetes_objects`' matter.
"""

from collections.abc import Iterator
from typing import Any

from kubernetes import config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError
from kubernetes.dynamic.resource import Resource, ResourceList

from harness.kubernetes_objects import Namespace

_NOTES = {"Event", "Endpoints", "EndpointSlice", "Lease", "PodMetrics"}
"""What Kubernetes notes of others by itself, and lets go in its own time."""


def inventory(namespace: Namespace) -> set[str]:
    """Return every object as `Kind/name`."""
    client = DynamicClient(config.new_client_from_config(str(namespace.kubeconfig)))
    client.resources.invalidate_cache()  # of custom resources come and gone since the last look
    return {
        f"{kind.kind}/{each['metadata']['name']}"
        for kind in _listed(client)
        for each in _items(client, kind, namespace.name)
    }


def _items(client: DynamicClient, kind: Resource, namespace: str) -> list[dict[str, Any]]:
    """Return all objects of a kind; none when its definition was deleted meanwhile."""
    try:
        return list(client.get(kind, namespace=namespace).to_dict()["items"])
    except NotFoundError:
        return []


def _listed(client: DynamicClient) -> Iterator[Resource]:
    """Return the kinds whose objects are in namespaces and can be listed."""
    for kind in client.resources.search(namespaced=True):
        if not isinstance(kind, ResourceList) and "list" in kind.verbs and kind.kind not in _NOTES:
            yield kind

"""Requests to the Kubernetes API server that a release needs, each with a timeout.

A refused request raises `Refusal` with a sentence; no answer raises `Unreachable`, to be retried.
The kinds that the cluster serves are discovered when needed, and cached by the client.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import ResourceNotFoundError

from dimse_ingestion.operator.api_errors import Refusal, send
from dimse_ingestion.operator.kinds import GROUP
from dimse_ingestion.operator.resources import MANAGER, REPLICAS_MANAGER, Key, Manifest
from dimse_ingestion.settings import ConfigurationMistake

_LONGEST = 15.0
_NOT_FOUND = 404
_CONFLICT = 409


class Cluster:
    """A client of one API server."""

    def __init__(self, client: DynamicClient) -> None:
        self._client = client
        self._kinds = Kinds(client)

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply a manifest on the server's side; fields that it does not set stay as they are."""
        named, namespace = _named(manifest), manifest["metadata"]["namespace"]
        resource = await self._kinds.resource(manifest["apiVersion"], manifest["kind"])
        return await self._send(
            f"{named} can't be applied",
            self._client.server_side_apply(
                resource,
                body=manifest,
                namespace=namespace,
                field_manager=MANAGER,
                force_conflicts=True,
                _request_timeout=_LONGEST,
            ),
        )

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object and return it, or return the one that exists already."""
        metadata = manifest["metadata"]
        resource = await self._kinds.resource(manifest["apiVersion"], manifest["kind"])
        request = self._client.create(
            resource,
            body=manifest,
            namespace=metadata["namespace"],
            field_manager=MANAGER,
            _request_timeout=_LONGEST,
        )
        try:
            return await self._send(f"{_named(manifest)} can't be created", request)
        except Refusal as refusal:
            live = await self.get(
                manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"]
            )
            if refusal.status != _CONFLICT or live is None:
                raise
            return live

    async def hand_over_replicas(self, live: Manifest) -> bool:
        """Move the ownership of `spec.replicas` to another field manager; False on a conflict.

        The number then stays when our manager no longer applies it, until an autoscaler, which owns
        what it changes, sets another.
        """
        metadata, kind = live["metadata"], {name: live[name] for name in ("apiVersion", "kind")}
        resource = await self._kinds.resource(*kind.values())
        body = kind | {
            "metadata": {name: metadata[name] for name in ("name", "namespace", "resourceVersion")},
            "spec": {"replicas": live["spec"]["replicas"]},
        }
        request = self._client.server_side_apply(
            resource,
            body=body,
            namespace=metadata["namespace"],
            field_manager=REPLICAS_MANAGER,
            force_conflicts=True,
            _request_timeout=_LONGEST,
        )
        try:
            await self._send(f"The replicas of {_named(live)} can't be handed over", request)
        except Refusal as refusal:
            if refusal.status != _CONFLICT:
                raise
            return False
        return True

    async def set_managed_fields(
        self, live: Manifest, managed: Sequence[Mapping[str, Any]]
    ) -> None:
        """Replace an object's managedFields, if it still has the resourceVersion that was read."""
        metadata = live["metadata"]
        resource = await self._kinds.resource(live["apiVersion"], live["kind"])
        version = metadata["resourceVersion"]
        await self._send(
            f"{_named(live)} can't be repaired",
            self._client.patch(
                resource,
                body={"metadata": {"resourceVersion": version, "managedFields": managed}},
                name=metadata["name"],
                namespace=metadata["namespace"],
                content_type="application/merge-patch+json",
                field_manager=MANAGER,
                _request_timeout=_LONGEST,
            ),
        )

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Manifest | None:
        """Return an object, or None when it does not exist."""
        resource = await self._kinds.resource(api_version, kind)
        request = self._client.get(
            resource, name=name, namespace=namespace, _request_timeout=_LONGEST
        )
        try:
            return await self._send(f"{kind} {name} can't be read", request)
        except Refusal as refusal:
            if refusal.status == _NOT_FOUND:
                return None
            raise

    async def list_objects(
        self,
        api_version: str,
        kind: str,
        namespace: str = "",
        labels: Mapping[str, str] = {},
    ) -> list[Manifest]:
        """Return all objects of a kind with these labels; of every namespace when none is given."""
        resource = await self._kinds.resource(api_version, kind)
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        answer = await self._send(
            f"{kind} can't be listed",
            self._client.get(
                resource,
                namespace=namespace or None,
                label_selector=selector or None,
                _request_timeout=_LONGEST,
            ),
        )
        return [each | {"apiVersion": api_version, "kind": kind} for each in answer["items"]]

    async def delete(self, manifest: Manifest) -> None:
        """Delete an object and its dependents; one that does not exist is no error."""
        metadata = manifest["metadata"]
        resource = await self._kinds.resource(manifest["apiVersion"], manifest["kind"])
        try:
            await self._send(
                f"{_named(manifest)} can't be deleted",
                self._client.delete(
                    resource,
                    name=metadata["name"],
                    namespace=metadata["namespace"],
                    # exactly the object that was read, and its pods with it
                    body={
                        "preconditions": {"uid": metadata["uid"]},
                        "propagationPolicy": "Background",
                    },
                    _request_timeout=_LONGEST,
                ),
            )
        except Refusal as refusal:
            if refusal.status != _NOT_FOUND:
                raise

    async def patch_status(self, api_version: str, key: Key, status: Mapping[str, Any]) -> None:
        """Patch a custom resource's status; one that no longer exists is no error."""
        resource = await self._kinds.resource(api_version, key.kind)
        request = self._client.patch(
            resource.subresources["status"],
            body={"status": status},
            name=key.name,
            namespace=key.namespace,
            content_type="application/merge-patch+json",
            field_manager=MANAGER,
            _request_timeout=_LONGEST,
        )
        try:
            await self._send(f"The status of {key} can't be written", request)
        except Refusal as refusal:
            if refusal.status != _NOT_FOUND:
                raise

    async def _send(self, failed: str, request: Any) -> Manifest:
        answer = await send(request, failed)
        manifest: Manifest = answer.to_dict()
        return manifest


@asynccontextmanager
async def api_client() -> AsyncIterator[ApiClient]:
    """Open a client of the API server of this pod's cluster, or of the one in $KUBECONFIG.

    Raises ConfigurationMistake when there is neither.
    """
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)
    except ConfigException:
        try:
            await load_kube_config(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise ConfigurationMistake(
                [f"There is no API server: run in a pod, or name one in KUBECONFIG ({error})."]
            ) from None
    async with ApiClient(configuration) as client:
        yield client


@asynccontextmanager
async def open_cluster(client: ApiClient) -> AsyncIterator[Cluster]:
    """Open a cluster for the block; its discovery cache is deleted after it.

    Raises Unreachable, Refusal.
    """
    with tempfile.TemporaryDirectory(prefix="discovery-") as folder:
        dynamic = DynamicClient(client, cache_file=str(Path(folder) / "kinds.json"))
        yield Cluster(await send(dynamic))


def _named(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


class Kinds:
    """The kinds of one cluster, discovered by one request at a time."""

    def __init__(self, client: DynamicClient) -> None:
        self._client = client
        self._lock = asyncio.Lock()
        self._is_incomplete = False

    async def resource(self, api_version: str, kind: str) -> Any:
        """Return the client's description of a kind, discovering it if necessary.

        A discovery that is cancelled or not answered leaves the client's cache without any kinds,
        which the client does not notice: the next call then discovers everything again.
        """
        resources = self._client.resources
        async with self._lock:
            if self._is_incomplete:
                await send(resources.invalidate_cache())
            self._is_incomplete = True
            try:
                resource = await send(resources.get(api_version=api_version, kind=kind))
            except ResourceNotFoundError:
                self._is_incomplete = False
                raise Refusal(_unknown_kind(api_version, kind)) from None
            self._is_incomplete = False
        if not resource.namespaced:
            raise Refusal(f"A {kind} belongs to no namespace: make it yourself.")
        return resource


def _unknown_kind(api_version: str, kind: str) -> str:
    if api_version.startswith(GROUP):
        return f"The cluster knows no {kind} ({api_version}): install the operator's chart."
    return (
        f"The cluster knows no {kind} ({api_version}): install what brings it, "
        "or take it out of the values."
    )

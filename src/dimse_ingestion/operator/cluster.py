"""The API server, as far as a release needs it: six requests, each bounded in time.

Answers that say no are sentences (`Refusal`); no answer at all is `Unreachable`, to be tried again.
"""

import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from kubernetes.aio.dynamic import DynamicClient

from dimse_ingestion.operator.api_errors import Refusal, bounded
from dimse_ingestion.operator.discovery import Kinds
from dimse_ingestion.operator.resources import MANAGER, REPLICAS_MANAGER, Key, Manifest
from dimse_ingestion.settings import ConfigurationMistake

_LONGEST = 15.0
_NOT_FOUND = 404
_CONFLICT = 409


class Cluster:
    """Requests to one API server."""

    def __init__(self, client: DynamicClient) -> None:
        self._client = client
        self._kinds = Kinds(client)

    async def applied(self, manifest: Manifest) -> Manifest:
        """Make an object what the manifest says; what others say beside it stays."""
        named, namespace = _named(manifest), manifest["metadata"]["namespace"]
        resource = await self._kinds.resource(manifest["apiVersion"], manifest["kind"])
        return await self._asked(
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

    async def created(self, manifest: Manifest) -> Manifest:
        """Create an object and return it, or the one that is there already."""
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
            return await self._asked(f"{_named(manifest)} can't be made", request)
        except Refusal as refusal:
            there = await self.found(
                manifest["apiVersion"], manifest["kind"], metadata["namespace"], metadata["name"]
            )
            if refusal.status != _CONFLICT or there is None:
                raise
            return there

    async def hand_over_replicas(self, there: Manifest) -> bool:
        """Own an object's number of replicas by another field manager; False if it has changed.

        The number then stays when our manager no longer says it, until an autoscaler, which owns
        what it changes, says another.
        """
        metadata, kind = there["metadata"], {name: there[name] for name in ("apiVersion", "kind")}
        resource = await self._kinds.resource(*kind.values())
        body = kind | {
            "metadata": {name: metadata[name] for name in ("name", "namespace", "resourceVersion")},
            "spec": {"replicas": there["spec"]["replicas"]},
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
            await self._asked(f"The replicas of {_named(there)} can't be handed over", request)
        except Refusal as refusal:
            if refusal.status != _CONFLICT:
                raise
            return False
        return True

    async def owned(self, there: Manifest, managed: Sequence[Mapping[str, Any]]) -> None:
        """Say whose an object's fields are, as long as it is what was seen."""
        metadata = there["metadata"]
        resource = await self._kinds.resource(there["apiVersion"], there["kind"])
        version = metadata["resourceVersion"]
        await self._asked(
            f"{_named(there)} can't be put right",
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

    async def found(
        self, api_version: str, kind: str, namespace: str, name: str
    ) -> Manifest | None:
        """An object, or None when there is none."""
        resource = await self._kinds.resource(api_version, kind)
        request = self._client.get(
            resource, name=name, namespace=namespace, _request_timeout=_LONGEST
        )
        try:
            return await self._asked(f"{kind} {name} can't be read", request)
        except Refusal as refusal:
            if refusal.status == _NOT_FOUND:
                return None
            raise

    async def listed(
        self,
        api_version: str,
        kind: str,
        namespace: str = "",
        labels: Mapping[str, str] = {},
    ) -> list[Manifest]:
        """Every object of a kind with these labels; of all namespaces when none is named."""
        resource = await self._kinds.resource(api_version, kind)
        chosen = ",".join(f"{name}={value}" for name, value in labels.items())
        answer = await self._asked(
            f"{kind} can't be listed",
            self._client.get(
                resource,
                namespace=namespace or None,
                label_selector=chosen or None,
                _request_timeout=_LONGEST,
            ),
        )
        return [each | {"apiVersion": api_version, "kind": kind} for each in answer["items"]]

    async def deleted(self, manifest: Manifest) -> None:
        """Delete an object and what is its own; none being there is well, too."""
        metadata = manifest["metadata"]
        resource = await self._kinds.resource(manifest["apiVersion"], manifest["kind"])
        try:
            await self._asked(
                f"{_named(manifest)} can't be deleted",
                self._client.delete(
                    resource,
                    name=metadata["name"],
                    namespace=metadata["namespace"],
                    # the very one that was seen, and its pods with it
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

    async def told(self, api_version: str, key: Key, status: Mapping[str, Any]) -> None:
        """Write a custom resource's status; one that is gone needs none."""
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
            await self._asked(f"The status of {key} can't be written", request)
        except Refusal as refusal:
            if refusal.status != _NOT_FOUND:
                raise

    async def _asked(self, failed: str, request: Any) -> Manifest:
        answer = await bounded(request, failed)
        found: Manifest = answer.to_dict()
        return found


@asynccontextmanager
async def connected() -> AsyncIterator[ApiClient]:
    """A client of the API server that the pod is in, or that $KUBECONFIG names.

    Raises ConfigurationMistake when there is neither.
    """
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)
    except ConfigException:
        try:
            await load_kube_config(client_configuration=configuration)
        except (ConfigException, OSError) as trouble:
            raise ConfigurationMistake(
                [f"There is no API server: run in a pod, or name one in KUBECONFIG ({trouble})."]
            ) from None
    async with ApiClient(configuration) as client:
        yield client


@asynccontextmanager
async def cluster_of(client: ApiClient) -> AsyncIterator[Cluster]:
    """The requests of a client; what it discovers is forgotten after the block.

    Raises Unreachable, Refusal.
    """
    with tempfile.TemporaryDirectory(prefix="discovery-") as folder:
        dynamic = DynamicClient(client, cache_file=str(Path(folder) / "kinds.json"))
        yield Cluster(await bounded(dynamic))


def _named(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"

"""API discovery: the kinds that a cluster serves, looked up when needed and cached.

The client caches what it has discovered; a kind that is not in the cache causes a new discovery.
"""

import asyncio
from typing import Any

from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import ResourceNotFoundError

from dimse_ingestion.operator.api_errors import Refusal, send
from dimse_ingestion.operator.kinds import GROUP


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

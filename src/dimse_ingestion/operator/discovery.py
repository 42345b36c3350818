"""The kinds that a cluster knows: asked when needed, and whole again after an interruption.

The client keeps what it has discovered; a kind that it doesn't know has it ask for everything anew.
"""

import asyncio
from typing import Any

from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import ResourceNotFoundError

from dimse_ingestion.operator.api_errors import Refusal, bounded
from dimse_ingestion.operator.kinds import GROUP


class Kinds:
    """The kinds of one cluster, discovered by one request at a time."""

    def __init__(self, client: DynamicClient) -> None:
        self._client = client
        self._discovering = asyncio.Lock()
        self._is_interrupted = False

    async def resource(self, api_version: str, kind: str) -> Any:
        """Return what the client knows of a kind, discovering it where it must.

        A discovery that is cancelled or not answered leaves the client's cache without any kinds,
        which it doesn't notice: then everything is discovered anew.
        """
        known = self._client.resources
        async with self._discovering:
            if self._is_interrupted:
                await bounded(known.invalidate_cache())
            self._is_interrupted = True
            try:
                resource = await bounded(known.get(api_version=api_version, kind=kind))
            except ResourceNotFoundError:
                self._is_interrupted = False
                raise Refusal(_unknown(api_version, kind)) from None
            self._is_interrupted = False
        if not resource.namespaced:
            raise Refusal(f"A {kind} belongs to no namespace: make it yourself.")
        return resource


def _unknown(api_version: str, kind: str) -> str:
    if api_version.startswith(GROUP):
        return f"The cluster knows no {kind} ({api_version}): install the operator's chart."
    return (
        f"The cluster knows no {kind} ({api_version}): install what brings it, "
        "or take it out of the values."
    )

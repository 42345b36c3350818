"""What the operator knows of the cluster's kinds, when its questions about them are cut off."""

import asyncio

import pytest
from kubernetes.aio.config import new_client_from_config

from dimse_ingestion.operator.api_errors import Refusal
from dimse_ingestion.operator.cluster import open_cluster
from harness.api_server import ApiServer
from tests.integration.operator.namespace_api import ACCOUNT, NamespaceApi


async def test_a_discovery_that_is_cancelled_is_started_again(
    api: NamespaceApi, server: ApiServer
) -> None:
    """As when a resource is deleted while its release is being made."""
    async with (
        await new_client_from_config(str(server.kubeconfig(ACCOUNT))) as client,
        open_cluster(client) as cluster,
    ):
        server.pause()
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await cluster.get("no.such/v1", "No", api.namespace, "a")
        finally:
            server.resume()
        assert await cluster.get("apps/v1", "Deployment", api.namespace, "a") is None
        with pytest.raises(Refusal, match="The cluster knows no No"):
            await cluster.get("no.such/v1", "No", api.namespace, "a")

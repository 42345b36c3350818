"""An autoscaler that a spec enables sets the number of replicas from then on."""

import asyncio

import pytest
from kubernetes.aio.config import new_client_from_config

from dimse_ingestion.operator.cluster import open_cluster
from dimse_ingestion.operator.release import Releases
from dimse_ingestion.operator.resources import MANAGER, Manifest, Resource
from harness.api_server import ApiServer
from harness.services import ServiceProcess, eventually
from tests.integration.operator.namespace_api import ACCOUNT, NamespaceApi, example
from tests.integration.operator.test_definitions import changed

SPACE = changed(example("img-ingest.yaml"), replicas=5)
SCALING = {"ingestion": {"autoscaling": {"enabled": True}}}
INGESTION = "img-ingest-ingestion"


def replicas(api: NamespaceApi) -> int:
    deployment = api.get("apps/v1", "Deployment", INGESTION)
    return int(deployment["spec"]["replicas"]) if deployment else -1


def level(api: NamespaceApi) -> str:
    """Return the log level of the Deployment's pods, which shows that a change was applied."""
    deployment = api.get("apps/v1", "Deployment", INGESTION)
    assert deployment is not None
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return next(str(e["value"]) for e in container["env"] if e["name"] == "DIMSE_LOG_LEVEL")


def applied(api: NamespaceApi, log: str) -> None:
    """Apply the autoscaled space with another value, and wait for the operator."""
    api.apply(changed(SPACE, values=SCALING | {"logLevel": log}))
    eventually(lambda: level(api), lambda seen: seen == log)


def test_switching_it_on_takes_no_replica_away_nor_does_what_follows(
    api: NamespaceApi, operator: ServiceProcess
) -> None:
    api.apply(SPACE)
    eventually(lambda: replicas(api), lambda seen: seen == 5)
    applied(api, "debug")
    assert replicas(api) == 5
    applied(api, "info")
    assert replicas(api) == 5
    api.patch("apps/v1", "Deployment", INGESTION, {"spec": {"replicas": 7}}, "scale")
    applied(api, "warning")
    assert replicas(api) == 7


def owners_of_replicas(api: NamespaceApi) -> set[str]:
    """Return the field managers that set the number of replicas."""
    deployment = api.get("apps/v1", "Deployment", INGESTION)
    assert deployment is not None
    return {
        each["manager"]
        for each in deployment["metadata"]["managedFields"]
        if "f:replicas" in each["fieldsV1"].get("f:spec", {})
    }


def test_the_operator_does_not_own_the_number_of_an_autoscaler(
    api: NamespaceApi, operator: ServiceProcess
) -> None:
    api.apply(SPACE)
    eventually(lambda: replicas(api), lambda seen: seen == 5)
    assert owners_of_replicas(api) == {MANAGER}
    applied(api, "debug")
    assert MANAGER not in owners_of_replicas(api)
    api.patch("apps/v1", "Deployment", INGESTION, {"spec": {"replicas": 7}}, "scale")
    api.apply(SPACE)  # without an autoscaler
    eventually(lambda: replicas(api), lambda seen: seen == 5)
    assert MANAGER in owners_of_replicas(api)


async def test_a_number_that_is_set_between_reading_and_applying_stays(
    api: NamespaceApi, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = Resource(api.apply(example("img-ingest.yaml")))
    wanted: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "scaled", "namespace": api.namespace, "labels": resource.key.labels},
        "spec": {
            "selector": {"matchLabels": {"app": "scaled"}},
            "template": {
                "metadata": {"labels": {"app": "scaled"}},
                "spec": {"containers": [{"name": "one", "image": "registry.example.org/one:1"}]},
            },
        },
    }
    fixed = wanted | {"spec": wanted["spec"] | {"replicas": 2}}
    async with (
        await new_client_from_config(str(server.kubeconfig(ACCOUNT))) as client,
        open_cluster(client) as cluster,
    ):
        releases = Releases(cluster)
        assert (await releases.apply(resource, [fixed])).failures == []
        numbers, get = [5, 6], cluster.get

        async def get_then_scale(api_version: str, kind: str, *which: str) -> Manifest | None:
            existing = await get(api_version, kind, *which)
            scale = {"spec": {"replicas": numbers.pop(0)}}
            await asyncio.to_thread(api.patch, api_version, kind, "scaled", scale, "scale")
            return existing

        monkeypatch.setattr(cluster, "get", get_then_scale)
        assert (await releases.apply(resource, [wanted])).failures == []
    assert numbers == []
    scaled = api.get("apps/v1", "Deployment", "scaled")
    assert scaled is not None
    assert scaled["spec"]["replicas"] == 6

"""What no watch has told of: a look goes by the cluster, and knows what should have been told."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_kube_config
from prometheus_client import REGISTRY

from dimse_ingestion.operator.api_errors import Unreachable
from dimse_ingestion.operator.cluster import open_cluster
from dimse_ingestion.operator.reconcile import Reconciler
from dimse_ingestion.operator.render import chart_folder
from dimse_ingestion.operator.render_sandbox import open_renderer
from dimse_ingestion.operator.resources import Resource
from dimse_ingestion.operator.watch_health import ObjectWatchCheck
from harness.api_server import ApiServer
from harness.services import free_port
from tests.integration.operator.asked import ACCOUNT, OURS, Asked, Manifest, example

SPACE = example("img-ingest.yaml")


class Deaf:
    """A reconciler that no watch tells anything, and its clock."""

    def __init__(self, *of: Any) -> None:
        self.now = 0.0
        self.object_watch = ObjectWatchCheck((), lambda: self.now)
        self.reconciler = Reconciler(*of, {}, lambda *_: None, self.object_watch)

    async def look(self, resource: Resource) -> None:
        self.reconciler.known.setdefault(resource.key, resource)
        assert await self.reconciler.look(resource.key)


@pytest.fixture
async def connection(server: ApiServer) -> Configuration:
    configuration = Configuration()
    await load_kube_config(str(server.kubeconfig(ACCOUNT)), client_configuration=configuration)
    return configuration


@pytest.fixture
async def deaf(connection: Configuration) -> AsyncIterator[Deaf]:
    async with (
        ApiClient(connection) as client,
        open_cluster(client) as cluster,
        open_renderer(chart_folder()) as renderer,
    ):
        yield Deaf(cluster, renderer)


async def test_a_resource_that_has_gone_unheard_is_forgotten(asked: Asked, deaf: Deaf) -> None:
    resource = Resource(asked.apply(SPACE))
    asked.delete(OURS, "DimseIngestionService", "img-ingest")
    await deaf.look(resource)
    assert not asked.made()
    assert not deaf.reconciler.known


async def test_one_that_was_made_again_unheard_is_left_to_the_watch(
    asked: Asked, deaf: Deaf
) -> None:
    resource = Resource(asked.apply(SPACE))
    asked.delete(OURS, "DimseIngestionService", "img-ingest")
    asked.apply(SPACE)
    await deaf.look(resource)
    assert not asked.made()


@pytest.mark.parametrize(
    ("version", "kind", "name"),
    [
        ("apps/v1", "Deployment", "img-ingest-ingestion"),
        ("v1", "Secret", "img-ingest-s3"),
        ("v1", "ConfigMap", "img-ingest-s3"),
    ],
)
async def test_an_object_of_which_nothing_was_told_is_a_dead_watch(
    asked: Asked, deaf: Deaf, version: str, kind: str, name: str
) -> None:
    asked.make_what_is_named()
    resource = Resource(asked.apply(SPACE))
    await deaf.look(resource)
    deaf.now = 121.0
    for each in _watched(asked):
        if (each["kind"], each["metadata"]["name"]) != (kind, name):
            deaf.object_watch.record_event(each)
    assert f"{kind} {asked.namespace}/{name}" in deaf.object_watch.trouble
    found = asked.found(version, kind, name)
    assert found is not None
    deaf.object_watch.record_event(found)
    assert deaf.object_watch.trouble == ""


async def test_a_look_without_an_answer_is_counted(
    asked: Asked, deaf: Deaf, connection: Configuration
) -> None:
    before = unreachable()
    resource = Resource(asked.apply(SPACE))
    connection.host = f"https://127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable):
        await deaf.look(resource)
    assert unreachable() == before + 1


def unreachable() -> float:
    labels = {"kind": "DimseIngestionService", "outcome": "unreachable"}
    return REGISTRY.get_sample_value("dimse_operator_looks_total", labels) or 0.0


def _watched(asked: Asked) -> list[Manifest]:
    """Every object whose watch is looked after."""
    return [
        {"kind": kind} | found
        for version, kind in (
            ("apps/v1", "Deployment"),
            ("v1", "Service"),
            ("v1", "Secret"),
            ("v1", "ConfigMap"),
        )
        for name in asked.named(version, kind)
        if (found := asked.found(version, kind, name))
    ]

"""A reconciliation without watch events: it reads the cluster, and notices the missing events."""

from collections.abc import AsyncIterator

import pytest
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_kube_config
from prometheus_client import REGISTRY

from dimse_ingestion.operator.api_errors import Unreachable
from dimse_ingestion.operator.cluster import Cluster, open_cluster
from dimse_ingestion.operator.reconcile import Reconciler
from dimse_ingestion.operator.render import chart_folder
from dimse_ingestion.operator.render_sandbox import SandboxedRenderer, open_renderer
from dimse_ingestion.operator.resources import Resource
from dimse_ingestion.operator.watch_health import ObjectWatchCheck
from harness.api_server import ApiServer
from harness.ports import free_port
from tests.integration.operator.namespace_api import ACCOUNT, OURS, Manifest, NamespaceApi, example

SPACE = example("img-ingest.yaml")


class Unwatched:
    """A reconciler without watch events, and its clock."""

    def __init__(self, cluster: Cluster, renderer: SandboxedRenderer) -> None:
        self.now = 0.0
        self.object_watch = ObjectWatchCheck((), lambda: self.now)
        self.reconciler = Reconciler(cluster, renderer, {}, lambda *_: None, self.object_watch)

    async def reconcile(self, resource: Resource) -> None:
        self.reconciler.known.setdefault(resource.key, resource)
        assert await self.reconciler.reconcile(resource.key)


@pytest.fixture
async def connection(server: ApiServer) -> Configuration:
    configuration = Configuration()
    await load_kube_config(str(server.kubeconfig(ACCOUNT)), client_configuration=configuration)
    return configuration


@pytest.fixture
async def unwatched(connection: Configuration) -> AsyncIterator[Unwatched]:
    async with (
        ApiClient(connection) as client,
        open_cluster(client) as cluster,
        open_renderer(chart_folder()) as renderer,
    ):
        yield Unwatched(cluster, renderer)


async def test_a_resource_deleted_without_an_event_is_forgotten(
    api: NamespaceApi, unwatched: Unwatched
) -> None:
    resource = Resource(api.apply(SPACE))
    api.delete(OURS, "DimseIngestionService", "img-ingest")
    await unwatched.reconcile(resource)
    assert not api.release_objects()
    assert not unwatched.reconciler.known


async def test_one_that_was_created_again_without_an_event_is_left_to_the_watch(
    api: NamespaceApi, unwatched: Unwatched
) -> None:
    resource = Resource(api.apply(SPACE))
    api.delete(OURS, "DimseIngestionService", "img-ingest")
    api.apply(SPACE)
    await unwatched.reconcile(resource)
    assert not api.release_objects()


@pytest.mark.parametrize(
    ("version", "kind", "name"),
    [
        ("apps/v1", "Deployment", "img-ingest-ingestion"),
        ("v1", "Secret", "img-ingest-s3"),
        ("v1", "ConfigMap", "img-ingest-s3"),
    ],
)
async def test_an_object_without_an_event_is_a_dead_watch(
    api: NamespaceApi, unwatched: Unwatched, version: str, kind: str, name: str
) -> None:
    api.create_referenced_objects()
    resource = Resource(api.apply(SPACE))
    await unwatched.reconcile(resource)
    unwatched.now = 121.0
    for each in _watched_objects(api):
        if (each["kind"], each["metadata"]["name"]) != (kind, name):
            unwatched.object_watch.record_event(each)
    assert f"{kind} {api.namespace}/{name}" in unwatched.object_watch.problem
    match = api.get(version, kind, name)
    assert match is not None
    unwatched.object_watch.record_event(match)
    assert unwatched.object_watch.problem == ""


async def test_a_reconciliation_without_an_answer_is_counted(
    api: NamespaceApi, unwatched: Unwatched, connection: Configuration
) -> None:
    before = unreachable()
    resource = Resource(api.apply(SPACE))
    connection.host = f"https://127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable):
        await unwatched.reconcile(resource)
    assert unreachable() == before + 1


def unreachable() -> float:
    labels = {"kind": "DimseIngestionService", "outcome": "unreachable"}
    return REGISTRY.get_sample_value("dimse_operator_looks_total", labels) or 0.0


def _watched_objects(api: NamespaceApi) -> list[Manifest]:
    """Return every object whose watch is looked after."""
    return [
        {"kind": kind} | match
        for version, kind in (
            ("apps/v1", "Deployment"),
            ("v1", "Service"),
            ("v1", "Secret"),
            ("v1", "ConfigMap"),
        )
        for name in api.names(version, kind)
        if (match := api.get(version, kind, name))
    ]

"""A real API server with the operator's chart in it, and the operator as a process of its own.

The operator comes with the account and the roles of its chart, so that a right that is missing
fails here. No pod runs: the tests set a Deployment's status.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.api_server import ApiServer, api_server, why_not
from harness.chart import OPERATOR_CHART
from harness.chart.rendering import rendered
from harness.ports import free_port
from harness.services import ServiceProcess
from tests.integration.operator.namespace_api import ACCOUNT, NamespaceApi

OPERATORS, _, NAME = ACCOUNT.partition(":")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    if absent := why_not():
        pytest.skip(absent)
    with api_server(tmp_path_factory.mktemp("api"), [ACCOUNT]) as started:
        api = NamespaceApi(started, OPERATORS)
        api.create_namespace()
        for manifest in rendered(name=NAME, namespace=OPERATORS, chart=OPERATOR_CHART).manifests:
            api.apply(manifest)
        started.collect_garbage()
        yield started


@pytest.fixture
def api(server: ApiServer) -> Iterator[NamespaceApi]:
    """Yield requests in a namespace of this test."""
    api = NamespaceApi.in_new_namespace(server)
    yield api
    api.delete_resources()


@pytest.fixture(scope="module")
def operator(
    server: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """Yield a running operator that looks after every namespace."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    process = operator_process(server, log).start().ready()
    yield process
    process.stop()


def operator_process(
    server: ApiServer, log: Path, namespace: str = "", identity: str = "first"
) -> ServiceProcess:
    """Return an operator of one namespace, or of all, not started; all share one Lease."""
    port = free_port()
    return ServiceProcess(
        ["operator"],
        {
            "KUBECONFIG": str(server.kubeconfig(ACCOUNT)),
            "DIMSE_HTTP_HOST": "127.0.0.1",
            "DIMSE_HTTP_PORT": str(port),
            "DIMSE_OPERATOR_IMAGE": "registry.example.org/dimse-ingestion:1",
            "DIMSE_OPERATOR_NAMESPACES": namespace,
            "DIMSE_OPERATOR_NAMESPACE": OPERATORS,
            "DIMSE_OPERATOR_LEASE": NAME,
            "DIMSE_OPERATOR_LEASE_SECONDS": "5",
            "DIMSE_OPERATOR_IDENTITY": identity,
        },
        log,
        port,
    )

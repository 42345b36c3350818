"""A real API server for releases of the chart, installed by Helm's own library. No pod runs."""

from collections.abc import Iterator

import pytest

from harness.api_server import ApiServer, api_server, why_not
from tests.integration.chart.installed import MONITORING, Installed


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Yield one that knows the Prometheus Operator's kinds."""
    if absent := why_not():
        pytest.skip(absent)
    with api_server(tmp_path_factory.mktemp("api")) as started:
        installed = Installed.in_new_namespace(started)
        for definition in MONITORING:
            installed.api.apply(definition)
        for definition in MONITORING:
            installed.api.wait_until_served(definition)
        yield started


@pytest.fixture
def installed(server: ApiServer) -> Iterator[Installed]:
    """Yield a release called `radiology` in a namespace that is this test's own, not yet there."""
    installed = Installed.in_new_namespace(server)
    yield installed
    installed.uninstall()

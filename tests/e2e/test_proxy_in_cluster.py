"""A proxy in the release, by the chart's values: it spools on a volume, and gives images back.

`alone`: NATS is stopped, and one proxy at a time has the node port.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import scu
from harness.cluster import Cluster
from harness.instances import MadeInstance, made_instances
from harness.plugin import Workbench
from harness.ports import free_port
from harness.provisioning import Space
from harness.proxy_in_cluster import ProxyInCluster
from harness.services import eventually
from tests.e2e.keeping import assert_stored_once, waiting
from tests.e2e.retrieving import RETRIEVE, assert_gets, assert_moves, peers, stored_study

pytestmark = pytest.mark.alone


@dataclass(frozen=True)
class Ward:
    """A space with a proxy, and the port here of the proxy's only destination."""

    space: Space
    proxy: ProxyInCluster
    archive_port: int


@pytest.fixture(scope="module")
def ward(module_bench: Workbench, cluster: Cluster) -> Ward:
    namespace = module_bench.namespace("ward")
    space = module_bench.space("ward", namespace, replicas=1).create_objects()
    proxy, port = ProxyInCluster(space, cluster).create_objects(), free_port()
    archive = (cluster.this_machine() if cluster.name else "192.0.2.1", port)
    values = proxy.values(
        settings={"acknowledge": "spooled"}, retrieve=dict(RETRIEVE), peers=peers(archive)
    )
    space.release.install(space.values(proxy=values))
    return Ward(space, proxy, port)


@pytest.fixture(scope="module")
def study(ward: Ward, tmp_path_factory: pytest.TempPathFactory) -> list[MadeInstance]:
    made = stored_study(ward.proxy.peer(), tmp_path_factory.mktemp("study"))
    eventually(lambda: waiting(ward.proxy.metrics()), lambda count: count == 0)
    return made


async def test_a_study_is_given_to_who_gets_it(
    ward: Ward, study: list[MadeInstance], tmp_path: Path
) -> None:
    await assert_gets(ward.proxy.peer(), study, tmp_path / "out")


async def test_a_study_is_moved_to_a_destination_outside(
    ward: Ward, study: list[MadeInstance], tmp_path: Path, cluster: Cluster
) -> None:
    if not cluster.name:
        pytest.skip("whether a cluster that was there before reaches this machine is not known")
    await assert_moves(ward.proxy.peer(), study, tmp_path / "archive", ward.archive_port)


def test_what_is_spooled_outlives_the_pod_and_arrives_when_nats_is_back(
    ward: Ward, tmp_path: Path
) -> None:
    made = made_instances(tmp_path / "small", 30, 2**16)
    made += made_instances(tmp_path / "large", 2, 5 * 2**20)
    files = [each.path for each in made]
    with ward.space.platform.nats.away():
        assert {answer.status for answer in scu.store(ward.proxy.peer(), files)} == {0}
        ward.proxy.kill()
        assert f"outbox: {len(made)} data sets" in ward.proxy.readiness()
    eventually(lambda: waiting(ward.proxy.metrics()), lambda count: count == 0)
    assert_stored_once(ward.space, files)

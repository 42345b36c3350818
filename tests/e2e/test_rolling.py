"""What happens to releases and to what they stand on while modalities send: nothing is lost.

One space with two replicas; every test sends without a pause while something is replaced, killed,
exchanged or cut off.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.cluster import Cluster
from harness.imaging_zone import ImagingZone
from harness.load import Load, sending
from harness.plugin import Workbench
from harness.provisioning import Space
from harness.services import eventually
from tests.e2e.keeping import assert_stored
from tests.e2e.readiness import eventually_mounted, restarts


@dataclass(frozen=True)
class Busy:
    """A space and its proxy, which is sent to all the time."""

    space: Space
    zone: ImagingZone


@pytest.fixture(scope="module")
def busy(module_bench: Workbench) -> Busy:
    space = module_bench.space("busy", module_bench.namespace("busy")).install()
    return Busy(space, module_bench.zone(space).open())


def assert_nothing_failed(busy: Busy, load: Load) -> None:
    assert load.failed == []
    assert_stored(busy.space, load.succeeded)


def test_an_upgrade_fails_no_operation(busy: Busy, tmp_path: Path) -> None:
    before = pods(busy)
    with sending(busy.zone.peer, tmp_path) as load:
        busy.space.release.upgrade(busy.space.values(logLevel="debug"))
        load.goes_on()
    after = pods(busy)
    assert len(before) == len(after) == 3
    assert before.isdisjoint(after)
    assert_nothing_failed(busy, load)


def pods(busy: Busy) -> set[str]:
    release = busy.space.release
    return {*release.pod_names("ingestion"), *release.pod_names("catalogue")}


def test_a_rolling_restart_fails_no_operation(busy: Busy, tmp_path: Path) -> None:
    before = set(busy.space.release.pod_names("ingestion"))
    with sending(busy.zone.peer, tmp_path) as load:
        busy.space.release.restart("ingestion")
        load.goes_on()
    assert before.isdisjoint(busy.space.release.pod_names("ingestion"))
    assert_nothing_failed(busy, load)


def test_a_pod_killed_loses_nothing_that_was_answered_with_success(
    busy: Busy, tmp_path: Path
) -> None:
    killed, other = sorted(busy.space.release.pod_names("ingestion"))
    with sending(busy.zone.peer, tmp_path) as load:
        busy.space.namespace.kill(killed)
        load.goes_on()
        busy.space.namespace.wait_until_rolled_out(f"{busy.space.name}-ingestion")
    assert killed not in busy.space.release.pod_names("ingestion")
    assert other in busy.space.release.pod_names("ingestion")
    assert_nothing_failed(busy, load)


def test_a_process_killed_loses_nothing_that_was_answered_with_success(
    busy: Busy, tmp_path: Path, cluster: Cluster
) -> None:
    if not cluster.name:
        pytest.skip("the nodes of a cluster that was there before are not ours to work on")
    space, pod = busy.space, min(busy.space.release.pod_names("ingestion"))
    with sending(busy.zone.peer, tmp_path) as load:
        cluster.crash(container(space, pod)["containerID"])
        eventually(lambda: container(space, pod)["restartCount"], lambda count: count == 1)
        load.goes_on()
        space.namespace.wait_until_rolled_out(f"{space.name}-ingestion")
    assert_nothing_failed(busy, load)


def container(space: Space, pod: str) -> dict[str, Any]:
    """Return the status of a pod's only container."""
    (match,) = [p for p in space.release.pods("ingestion") if p["metadata"]["name"] == pod]
    (status,) = match["status"]["containerStatuses"]
    return dict(status)


def test_a_bucket_key_is_exchanged_without_a_failed_operation(busy: Busy, tmp_path: Path) -> None:
    space, minio = busy.space, busy.space.platform.minio
    old, new = minio.bucket_secret(space.bucket), minio.rotate(space.bucket)
    before = pods(busy), restarts(space)
    with sending(busy.zone.peer, tmp_path) as load:
        space.namespace.put_secret(space.bucket_object, new)
        eventually_mounted(space, "/etc/bucket/secret/AWS_ACCESS_KEY_ID", new["AWS_ACCESS_KEY_ID"])
        minio.revoke(space.bucket)
        load.goes_on()
    assert not minio.admits(space.bucket, old)
    assert (pods(busy), restarts(space)) == before
    assert_nothing_failed(busy, load)


@pytest.mark.alone
def test_nats_restarted_loses_nothing(busy: Busy, tmp_path: Path) -> None:
    with sending(busy.zone.peer, tmp_path) as load:
        busy.space.platform.nats.restart()
        load.goes_on()
    assert_nothing_failed(busy, load)

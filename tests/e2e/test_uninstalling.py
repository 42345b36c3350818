"""What `helm uninstall` leaves: what the operator made, and every image."""

from pathlib import Path

from harness.inventory import inventory
from harness.plugin import Workbench
from harness.reading import BY_DEFAULT
from tests.e2e.keeping import assert_stores, key_of


def test_nothing_is_left_but_the_bucket_and_what_the_operator_made(
    bench: Workbench, tmp_path: Path
) -> None:
    namespace = bench.namespace("leaving")
    space = bench.space("leaving", namespace, dicomweb=BY_DEFAULT).create_objects()
    before = inventory(namespace)
    space.release.install(space.values())
    remaining = key_of(assert_stores(space, bench.zone(space).open().peer, tmp_path))
    space.release.run_tests()
    assert {each.partition("/")[0] for each in inventory(namespace) - before} >= {
        *("Deployment", "Pod", "Service", "ServiceAccount"),
        *("PersistentVolumeClaim", "NetworkPolicy", "PodDisruptionBudget"),
    }
    space.release.uninstall()
    assert inventory(namespace) == before
    assert remaining in space.instances()
    secret = space.platform.minio.bucket_secret(space.bucket)
    assert namespace.secret(space.bucket_object) == secret

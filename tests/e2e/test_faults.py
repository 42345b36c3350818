"""Faults outside the release: requests are refused with a reason, and service recovers."""

from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from harness import scu
from harness.imaging_zone import zone
from harness.instances import made_instances
from harness.plugin import Workbench
from harness.services import eventually
from tests.e2e.conftest import Observed
from tests.e2e.keeping import assert_stores
from tests.e2e.readiness import MOUNTED_WITHIN, restarts, running, says

NOT_TRUSTED = "has a certificate that is not trusted"
OUT_OF_RESOURCES = 0xA700


def another_authority() -> str:
    return trustme.CA().cert_pem.bytes().decode()


def test_a_proxy_that_trusts_another_authority_reports_it_and_serves_nobody(
    observed: Observed, bench: Workbench, tmp_path: Path
) -> None:
    space = observed.space
    access = replace(space.access("ward8"), ca_pem=another_authority())
    ward = bench.ended(zone(tmp_path / "ward8", access, space.subject_root, "ward8"))
    ward.proxy.start()
    eventually(ward.proxy.readiness, lambda seen: NOT_TRUSTED in seen[1])
    (made,) = made_instances(tmp_path / "in", 1, 2**16)
    (answer,) = scu.store(ward.peer, [made.path])
    assert answer.status != 0
    assert NOT_TRUSTED in "\n".join(ward.proxy.lines())


def test_an_ingestion_service_that_trusts_another_authority_reports_it_until_it_has_the_right_one(
    bench: Workbench, tmp_path: Path
) -> None:
    space = bench.space("trusting", bench.namespace("trusting"), replicas=1).create_objects()
    space.namespace.put_secret("nats-ca", {"ca.crt": another_authority()})
    space.release.install(space.values(), wait=False)
    running(space)
    says(space, "nats", f"NATS at {space.platform.nats.url_inside} {NOT_TRUSTED}")
    space.namespace.put_secret("nats-ca", {"ca.crt": space.platform.nats.ca_pem})
    space.namespace.wait_until_rolled_out(f"{space.name}-ingestion", MOUNTED_WITHIN)
    assert restarts(space) == [0]
    assert_stores(space, bench.zone(space).open().peer, tmp_path)


@pytest.mark.alone
def test_a_bucket_that_is_down_ends_in_a700_and_is_got_over(
    observed: Observed, bench: Workbench, tmp_path: Path
) -> None:
    space, minio = observed.space, observed.space.platform.minio
    ward = bench.zone(space, "ward9", DIMSE_OPERATION_TIMEOUT="30").open()
    (made,) = made_instances(tmp_path / "in", 1, 2**16)
    minio.stop()
    try:
        (answer,) = scu.store(ward.peer, [made.path])
    finally:
        minio.start()
    assert answer.status == OUT_OF_RESOURCES, answer
    assert "bucket" in answer.comment.lower(), answer
    ward.proxy.ready()
    assert_stores(space, ward.peer, tmp_path)

"""Secrets and ConfigMaps that come late, and credentials for NATS that expire at work."""

import time
from dataclasses import replace
from pathlib import Path

from harness.imaging_zone import NatsAccess, zone
from harness.load import sending
from harness.plugin import Workbench
from harness.provisioning import Space
from harness.services import eventually
from tests.e2e.keeping import assert_stored, assert_stores
from tests.e2e.readiness import MOUNTED_WITHIN, eventually_mounted, restarts, running, says

VALID = 50.0
"""Seconds that a credential is valid which shall expire while it is in use."""


def test_what_is_missing_is_named_and_taken_up_when_it_appears(
    bench: Workbench, tmp_path: Path
) -> None:
    space = bench.space("late", bench.namespace("late"), replicas=1)
    space.release.install(space.values(), wait=False)
    running(space)
    says(space, "nats", f"Missing NATS credential Secret {space.nats_secret}: create it.")
    says(space, "bucket", f"Missing bucket ConfigMap {space.bucket_object}: create it.")
    space.create_bucket()
    says(space, "bucket", f"Missing bucket Secret {space.bucket_object}: create it.")
    space.create_objects()
    space.namespace.wait_until_rolled_out(f"{space.name}-ingestion", MOUNTED_WITHIN)
    assert restarts(space) == [0]
    assert_stores(space, bench.zone(space).open().peer, tmp_path)


def test_a_nats_credential_that_expires_is_exchanged_without_a_failed_operation(
    bench: Workbench, tmp_path: Path
) -> None:
    space = bench.space("expiring", bench.namespace("expiring"), replicas=1).create_objects()
    nats, root = space.platform.nats, space.subject_root
    until = time.monotonic() + VALID
    space.create_nats_secret(nats.ingestion_credentials(root, expires_in=VALID))
    short = nats.proxy_credentials(root, "ward7", expires_in=VALID)
    ward = bench.ended(zone(tmp_path / "ward7", access_with(space, short), root, "ward7"))
    space.release.install(space.values())
    ward.open()
    lasting = nats.ingestion_credentials(root)
    space.create_nats_secret(lasting)
    ward.change_credential(nats.proxy_credentials(root, "ward7"))
    eventually_mounted(space, "/etc/nats/token/nats.creds", lasting)
    left = until - time.monotonic()
    assert left > 0, "the credential expired before another was there: let VALID be longer"
    with sending(ward.peer, tmp_path) as load:
        eventually(time.monotonic, lambda now: now > until, left + 1)
        load.goes_on()
    assert "xpired" in "".join(ward.proxy.lines())
    assert load.failed == []
    assert restarts(space) == [0]
    assert_stored(space, load.succeeded)


def test_an_upgrade_keeps_the_catalogues_secret_and_its_token_is_replaced_at_work(
    bench: Workbench, tmp_path: Path
) -> None:
    space = bench.space("kept", bench.namespace("kept"), replicas=1).install()
    name = f"{space.name}-catalogue"
    generated = space.namespace.secret(name)
    assert generated is not None
    space.release.upgrade(space.values())
    assert space.namespace.secret(name) == generated
    peer = bench.zone(space).open().peer
    assert_stores(space, peer, tmp_path)
    with sending(peer, tmp_path) as load:
        replaced = generated | {"token": "another", "previous-token": generated["token"]}
        space.namespace.put_secret(name, replaced)
        eventually_mounted(space, "/etc/catalogue/token", "another")
        eventually_mounted(space, "/etc/catalogue/token", "another", "catalogue")
        load.goes_on()
    assert load.failed == []
    assert restarts(space) == [0]
    assert_stored(space, load.succeeded)
    space.release.upgrade(space.values())
    assert space.namespace.secret(name) == replaced


def access_with(space: Space, credentials: str) -> NatsAccess:
    return replace(space.access(), credentials=credentials)

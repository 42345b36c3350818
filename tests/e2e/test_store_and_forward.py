"""NATS in the cluster away: one proxy outside answers from its spool, the other says A700.

A proxy in the cluster whose spool is on a volume is `test_proxy_in_cluster`.
"""

import time
from pathlib import Path

import pytest

from harness import scu
from harness.instances import made_instances
from harness.plugin import Workbench
from harness.services import eventually
from tests.e2e.committing import references, ward
from tests.e2e.conftest import Observed
from tests.e2e.keeping import assert_stored_once, assert_stores, waiting

pytestmark = pytest.mark.alone

OUT_OF_RESOURCES = 0xA700
PATIENCE = 10
"""Seconds that the proxy retries a C-STORE; by default 50."""


def test_what_a_proxy_outside_spools_arrives_when_nats_is_back_and_is_committed_then(
    observed: Observed, bench: Workbench, tmp_path: Path
) -> None:
    of = ward(bench, observed.space, "ward13", tmp_path / "journal", DIMSE_ACKNOWLEDGE="spooled")
    proxy = of.zone.open().proxy
    made = made_instances(tmp_path / "small", 30, 2**16)
    made += made_instances(tmp_path / "large", 2, 5 * 2**20)
    files = [each.path for each in made]
    with of.console.listening(of.console_port):
        with observed.space.platform.nats.away():
            assert {answer.status for answer in scu.store(of.zone.peer, files)} == {0}
            status, transaction_uid = of.console.request(references(made))
            assert status == 0
            proxy.kill()
            proxy.start().ready()
            _, text = proxy.readiness()
            assert f"outbox: {len(made)} data sets" in text
            assert of.console.received == []
        report = of.console.report(transaction_uid)
    assert (report.transaction_uid, report.event_type_id) == (transaction_uid, 1)
    assert sorted(report.committed) == sorted(each.sop_instance_uid for each in made)
    eventually(lambda: waiting(proxy.get("/metrics")[1]), lambda count: count == 0)
    assert_stored_once(observed.space, files)


def test_without_nats_a_proxy_that_does_not_spool_answers_a700_and_stores_afterwards(
    observed: Observed, bench: Workbench, tmp_path: Path
) -> None:
    space = observed.space
    zone = bench.zone(space, "ward14", DIMSE_OPERATION_TIMEOUT=str(PATIENCE)).open()
    (made,) = made_instances(tmp_path / "in", 1, 2**16)
    with space.platform.nats.away():
        began = time.monotonic()
        (answer,) = scu.store(zone.peer, [made.path])
        took = time.monotonic() - began
    assert answer.status == OUT_OF_RESOURCES, answer
    assert "NATS" in answer.comment, answer
    assert took < 3 * PATIENCE  # the default's 50 s would be over it
    zone.proxy.ready()
    assert_stores(space, zone.peer, tmp_path)

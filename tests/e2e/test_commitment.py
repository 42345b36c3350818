"""Storage commitment: a console outside is told what bucket and catalogue in the cluster have."""

from pathlib import Path

from pydicom.uid import CTImageStorage, generate_uid

from harness import scu
from harness.instances import made_instances
from harness.plugin import Workbench
from tests.e2e.committing import references, ward
from tests.e2e.conftest import Observed

NO_SUCH_OBJECT_INSTANCE = 0x0112


def test_a_report_comes_on_a_new_association_and_tells_stored_from_missing(
    observed: Observed, bench: Workbench, tmp_path: Path
) -> None:
    made, never = made_instances(tmp_path / "in", 3, 2**16), str(generate_uid())
    of = ward(bench, observed.space, "ward12", tmp_path / "journal")
    of.zone.open()
    answers = scu.store(of.zone.peer, [each.path for each in made])
    assert [answer.status for answer in answers] == [0, 0, 0]
    with of.console.listening(of.console_port):
        status, transaction_uid = of.console.request(references(made))
        report = of.console.report(transaction_uid)
        assert (status, report.transaction_uid, report.event_type_id) == (0, transaction_uid, 1)
        assert sorted(report.committed) == sorted(each.sop_instance_uid for each in made)
        assert (report.failed, report.is_scp_role) == ({}, True)

        status, transaction_uid = of.console.request(
            [*references(made[:1]), (str(CTImageStorage), never)]
        )
        report = of.console.report(transaction_uid)
    assert (status, report.transaction_uid, report.event_type_id) == (0, transaction_uid, 2)
    assert report.committed == [made[0].sop_instance_uid]
    assert report.failed == {never: NO_SUCH_OBJECT_INSTANCE}

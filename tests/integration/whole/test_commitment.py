"""Storage commitment with real services: a report says what bucket and catalogue have.

The SCUs are pynetdicom, which takes the report on either kind of association, and Orthanc.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from harness import orthanc, scu
from harness.commitment_scu import CommitmentScu, Report
from harness.instances import MadeInstance, made_instances
from harness.modalities import Peer
from harness.nats_server import NatsServer, nats_server
from harness.ports import free_port
from harness.services import eventually
from tests.integration.whole.conftest import System, started

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
GRACE = 2


@dataclass
class Archive:
    """A storage space whose proxy commits for CONSOLE, and that AE."""

    system: System
    console: CommitmentScu
    console_port: int

    def store(self, folder: Path, count: int = 3) -> list[MadeInstance]:
        made = made_instances(folder, count, 4096)
        answers = scu.store(self.system.peer, [each.path for each in made])
        assert [each.status for each in answers] == [0] * count
        return made


def archive_of(folder: Path, nats: NatsServer, port: int, **extra: str) -> Archive:
    address = {"host": "127.0.0.1", "port": port}
    peers = [
        {"aeTitle": "CONSOLE", "may": ["commit"], **address},
        {"aeTitle": "ORTHANC", "may": ["commit"], **address},
        {"aeTitle": "WORKSTATION", **address},
    ]
    settings = {
        "DIMSE_STORAGE_COMMITMENT_ENABLED": "true",
        "DIMSE_STORAGE_COMMITMENT_GRACE": str(GRACE),
        "DIMSE_STORAGE_COMMITMENT_DIRECTORY": str(folder / "commitment"),
        "DIMSE_PEERS": json.dumps(peers),
    }
    system = started(folder, nats, 1, **(settings | extra))
    peer = Peer("127.0.0.1", system.space.dimse_port, calling="CONSOLE")
    return Archive(system, CommitmentScu(peer), port)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("commitment")
    with nats_server(folder / "nats") as nats:
        archive = archive_of(folder / "space", nats, free_port())
        yield archive
        archive.system.space.close()


@pytest.fixture
def own_archive(tmp_path: Path) -> Iterator[Archive]:
    """Return one whose services a test may kill."""
    with nats_server(tmp_path / "nats") as nats:
        archive = archive_of(tmp_path / "space", nats, free_port())
        yield archive
        archive.system.space.close()


def references(made: list[MadeInstance]) -> list[tuple[str, str]]:
    return [(CT, each.sop_instance_uid) for each in made]


def journal(archive: Archive) -> list[Path]:
    return list((archive.system.space.folder / "commitment" / "1").glob("*.transaction"))


def assert_whole(report: Report, requested: list[tuple[str, str]]) -> None:
    """Check that each reference is in exactly one sequence."""
    reported = [*report.committed, *report.failed]
    assert sorted(reported) == sorted(uid for _, uid in requested)


def test_what_is_stored_is_reported_on_a_new_association(archive: Archive, tmp_path: Path) -> None:
    requested = references(archive.store(tmp_path))
    with archive.console.listening(archive.console_port):
        status, transaction_uid = archive.console.request(requested)
        report = archive.console.report(transaction_uid)
    assert (status, report.event_type_id) == (0, 1)
    assert report.failed == {}
    assert_whole(report, requested)
    assert report.sop_instance_uid == "1.2.840.10008.1.20.1.1"
    assert (report.calling_ae_title, report.is_scp_role) == ("DICOM-INGEST", True)
    eventually(lambda: journal(archive), lambda left: left == [])


def test_a_console_that_stays_gets_the_report_on_its_association(
    archive: Archive, tmp_path: Path
) -> None:
    requested = references(archive.store(tmp_path))
    status, transaction_uid = archive.console.request(requested, stay=True)
    report = archive.console.report(transaction_uid)
    assert (status, report.event_type_id) == (0, 1)
    assert report.calling_ae_title == "CONSOLE"
    assert_whole(report, requested)
    eventually(lambda: journal(archive), lambda left: left == [])
    assert archive.console.reports(transaction_uid, 1) == [report]


def test_each_failure_has_its_reason(archive: Archive, tmp_path: Path) -> None:
    stored, gone, short, other = archive.store(tmp_path, 4)
    objects = archive.system.objects()
    objects[gone.sha256].unlink()
    objects[short.sha256].write_bytes(objects[short.sha256].read_bytes()[:-1])
    never = generate_uid()
    requested = [
        *references([stored, gone, short]),
        (MR, other.sop_instance_uid),
        (CT, never),
        ("1.2.840.10008.5.1.4.38.1", "1.2.3.4"),
    ]
    with archive.console.listening(archive.console_port):
        status, transaction_uid = archive.console.request(requested)
        report = archive.console.report(transaction_uid)
    assert (status, report.event_type_id) == (0, 2)
    assert_whole(report, requested)
    assert report.committed == [stored.sop_instance_uid]
    assert report.failed == {
        gone.sop_instance_uid: 0x0112,
        short.sop_instance_uid: 0x0110,
        other.sop_instance_uid: 0x0119,
        never: 0x0112,
        "1.2.3.4": 0x0122,
    }


def test_an_instance_that_comes_within_the_grace_is_committed(
    archive: Archive, tmp_path: Path
) -> None:
    made = made_instances(tmp_path, 1, 4096)
    with archive.console.listening(archive.console_port):
        status, transaction_uid = archive.console.request(references(made))
        scu.store(archive.system.peer, [made[0].path])
        report = archive.console.report(transaction_uid)
    assert (status, report.failed) == (0, {})


def test_several_hundred_references_are_checked_in_batches(
    archive: Archive, tmp_path: Path
) -> None:
    requested = references(archive.store(tmp_path, 10))
    requested += [(CT, f"1.2.3.{number}") for number in range(500)]
    with archive.console.listening(archive.console_port):
        _, transaction_uid = archive.console.request(requested)
        report = archive.console.report(transaction_uid)
    assert_whole(report, requested)
    assert len(report.committed) == 10


@pytest.mark.parametrize(
    ("changed", "calling", "status"),
    [
        ({"sop_instance_uid": "1.2.3"}, "CONSOLE", 0x0112),
        ({"action_type_id": 2}, "CONSOLE", 0x0123),
        ({}, "STRANGER", 0x0110),
        ({}, "WORKSTATION", 0x0124),
    ],
)
def test_what_can_not_be_accepted_is_refused(
    archive: Archive, changed: dict[str, object], calling: str, status: int
) -> None:
    peer = Peer("127.0.0.1", archive.system.space.dimse_port, calling=calling)
    answered, _ = CommitmentScu(peer).request([(CT, "1.2.3")], **changed)  # type: ignore[arg-type] # by name
    assert answered == status
    assert journal(archive) == []


def test_a_request_without_references_is_an_invalid_argument(archive: Archive) -> None:
    assert archive.console.request([])[0] == 0x0115


def test_other_references_under_a_transaction_uid_in_use_are_a_duplicate(
    archive: Archive, tmp_path: Path
) -> None:
    requested = references(archive.store(tmp_path))
    missing = [(CT, generate_uid())]  # keeps the first request open for the grace
    status, transaction_uid = archive.console.request([*requested, *missing])
    with archive.console.listening(archive.console_port):
        again, _ = archive.console.request(requested[:1], transaction_uid)
        reports = archive.console.reports(transaction_uid, 2)
    assert (status, again) == (0, 0)
    failures = sorted((list(report.failed.values()) for report in reports), key=len)
    assert sorted(reason for each in failures for reason in each) == [0x0112, 0x0131]


def test_a_proxy_killed_before_the_report_sends_it_after_its_start(
    own_archive: Archive, tmp_path: Path
) -> None:
    archive = own_archive
    requested = references(archive.store(tmp_path / "in"))
    for service in archive.system.ingestion:
        service.kill()
    status, transaction_uid = archive.console.request(requested)
    archive.system.proxy.kill()
    assert status == 0
    assert len(journal(archive)) == 1
    with archive.console.listening(archive.console_port):
        archive.system.proxy.start()
        for service in archive.system.ingestion:
            service.start().ready()
        report = archive.console.report(transaction_uid)
    assert report.failed == {}
    assert_whole(report, requested)


def test_a_console_that_is_down_gets_its_report_after_a_restart_of_the_proxy(
    own_archive: Archive, tmp_path: Path
) -> None:
    archive = own_archive
    requested = references(archive.store(tmp_path / "in"))
    _, transaction_uid = archive.console.request(requested)
    proxy = archive.system.proxy
    eventually(proxy.lines, lambda lines: any("was not delivered" in each for each in lines))
    proxy.kill()
    proxy.start().ready()
    eventually(proxy.lines, lambda lines: sum("was not delivered" in each for each in lines) == 2)
    assert proxy.stop() == 0
    with archive.console.listening(archive.console_port):
        proxy.start().ready()
        report = archive.console.report(transaction_uid)
    assert report.failed == {}
    eventually(lambda: journal(archive), lambda left: left == [])


def test_a_catalogue_that_is_down_is_no_failure(own_archive: Archive, tmp_path: Path) -> None:
    archive = own_archive
    requested = references(archive.store(tmp_path / "in"))
    archive.system.catalogue.kill()
    with archive.console.listening(archive.console_port):
        status, transaction_uid = archive.console.request(requested)
        eventually(
            archive.system.proxy.lines,
            lambda lines: any("could not be checked" in each for each in lines),
        )
        archive.system.catalogue.start().ready()
        report = archive.console.report(transaction_uid)
    assert (status, report.failed) == (0, {})


def test_what_is_in_the_spool_is_committed_when_it_is_stored(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as nats:
        archive = archive_of(tmp_path / "space", nats, free_port(), DIMSE_ACKNOWLEDGE="spooled")
        try:
            for service in archive.system.ingestion:
                service.kill()
            requested = references(archive.store(tmp_path / "in", 20))
            with archive.console.listening(archive.console_port):
                status, transaction_uid = archive.console.request(requested)
                assert archive.system.objects() == {}
                archive.system.proxy.kill()
                archive.system.proxy.start()
                for service in archive.system.ingestion:
                    service.start().ready()
                report = archive.console.report(transaction_uid, seconds=120)
        finally:
            archive.system.space.close()
    assert (status, report.failed) == (0, {})
    assert_whole(report, requested)
    assert report.event_type_id == 1


def test_each_worker_of_a_proxy_commits_for_itself(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as nats:
        archive = archive_of(tmp_path / "space", nats, free_port(), DIMSE_WORKERS="2")
        try:
            requested = references(archive.store(tmp_path / "in"))
            missing = [(CT, generate_uid())]
            # the supervisor passes connections to its workers in turn
            accepted = [archive.console.request([*requested, *missing]) for _ in range(4)]
            with archive.console.listening(archive.console_port):
                reports = [archive.console.report(uid) for _, uid in accepted]
        finally:
            archive.system.space.close()
    folders = [each.name for each in (tmp_path / "space" / "commitment").iterdir()]
    assert sorted(folders) == ["1", "2"]
    for report in reports:
        assert_whole(report, [*requested, *missing])
        assert list(report.failed.values()) == [0x0112]


def test_what_another_worker_has_in_its_spool_is_waited_for(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as nats:
        settings = {"DIMSE_ACKNOWLEDGE": "spooled", "DIMSE_WORKERS": "2"}
        archive = archive_of(tmp_path / "space", nats, free_port(), **settings)
        try:
            space = archive.system.space
            space.bucket.rename(tmp_path / "aside")
            space.bucket.write_text(
                "no folder"
            )  # the service refuses images, and checks references
            with scu.associate(archive.console.archive, [(scu.VERIFICATION, None)]):
                made = archive.store(tmp_path / "in")  # at one of the workers
            never = (CT, generate_uid())
            with archive.console.listening(archive.console_port):
                uids = request_at_each_worker(archive, [*references(made), never])
                with pytest.raises(TimeoutError):
                    archive.console.report(uids[0], seconds=2 * GRACE)
                assert archive.console.received == []
                space.bucket.unlink()
                (tmp_path / "aside").rename(space.bucket)
                reports = [archive.console.report(uid) for uid in uids]
        finally:
            archive.system.space.close()
    for report in reports:
        assert report.failed == {never[1]: 0x0112}
        assert sorted(report.committed) == sorted(each.sop_instance_uid for each in made)


def request_at_each_worker(archive: Archive, requested: list[tuple[str, str]]) -> list[str]:
    """Send requests until both workers have one; return their Transaction UIDs."""
    folder = archive.system.space.folder / "commitment"
    uids = list[str]()
    while len(uids) < 20:
        with ExitStack() as stack:
            if len(uids) % 2 == 0:  # one connection more than the other worker has
                stack.enter_context(
                    scu.associate(archive.console.archive, [(scu.VERIFICATION, None)])
                )
            status, transaction_uid = archive.console.request(requested)
        assert status == 0
        uids.append(transaction_uid)
        if len({each.parent.name for each in folder.rglob("*.transaction")}) == 2:
            return uids
    raise AssertionError("one worker got all requests")


def test_the_digest_finds_a_changed_byte(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as nats:
        extra = {"DIMSE_STORAGE_COMMITMENT_VERIFY": "digest"}
        archive = archive_of(tmp_path / "space", nats, free_port(), **extra)
        try:
            whole, changed = archive.store(tmp_path / "in", 2)
            path = archive.system.objects()[changed.sha256]
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)
            with archive.console.listening(archive.console_port):
                _, transaction_uid = archive.console.request(references([whole, changed]))
                report = archive.console.report(transaction_uid)
        finally:
            archive.system.space.close()
    assert report.committed == [whole.sop_instance_uid]
    assert report.failed == {changed.sop_instance_uid: 0x0110}


@pytest.mark.skipif(bool(orthanc.missing()), reason=orthanc.missing())
def test_orthanc_is_told_that_its_instances_are_safe(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as nats:
        port = free_port()
        archive = archive_of(tmp_path / "space", nats, port)
        try:
            made = archive.store(tmp_path / "in")
            known = {"archive": archive.system.peer}
            with orthanc.running_orthanc(tmp_path / "orthanc", known, port) as other:
                never = generate_uid()
                asked = [*references(made), (CT, never)]
                answer = other.post(
                    "/modalities/archive/storage-commitment",
                    {
                        "DicomInstances": [
                            {"SOPClassUID": sop_class, "SOPInstanceUID": uid}
                            for sop_class, uid in asked
                        ]
                    },
                )
                job = eventually(
                    lambda: other.get(answer["Path"]), lambda seen: seen["Status"] != "Pending"
                )
        finally:
            archive.system.space.close()
    assert job["Status"] == "Failure"
    assert sorted(each["SOPInstanceUID"] for each in job["Success"]) == sorted(
        each.sop_instance_uid for each in made
    )
    assert [(each["SOPInstanceUID"], each["FailureReason"]) for each in job["Failures"]] == [
        (never, 0x0112)
    ]

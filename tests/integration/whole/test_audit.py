"""The audit trail of a real proxy process: what modalities do arrives at a repository over TLS."""

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from harness import modalities, scu
from harness.instances import made_instances
from harness.modalities import Peer
from harness.nats_server import nats_server
from harness.ports import free_port
from harness.services import ServiceProcess, StorageSpace, eventually
from tests.audit_repository import Received, Repository, certificates, tls_repository
from tests.integration.whole.conftest import System, started
from tests.integration.whole.test_retrieving import ct_files, getscu

pytestmark = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
TRANSFERRED, ALERT = "DICOM Instances Transferred", "Security Alert"
STUDY = "1.2.826.0.1.3680043.8.498.78"


@dataclass
class Audited:
    """A system whose proxy reports to a repository."""

    system: System
    repository: Repository
    environment: dict[str, Any]

    def transferred(self, study: str, number: int = 1) -> list[Received]:
        return self.repository.wait_for(
            lambda each: each.event == TRANSFERRED and each.study == study, number
        )


def environment_of(folder: Path, port: int) -> dict[str, Any]:
    return {
        "DIMSE_AUDIT_REPOSITORY": f"tls://localhost:{port}",
        "DIMSE_AUDIT_CA_PATH": str(folder / "audit-ca.pem"),
        "DIMSE_AUDIT_DIRECTORY": str(folder / "audit"),
        "DIMSE_AUDIT_SITE_ID": "Hospital",
        "DIMSE_CALLING_AE_TITLES": "CT1,WS1,HARNESS,STORESCU,FINDSCU",
        "DIMSE_RETRIEVE_ENABLED": "true",
    }


@contextmanager
def audited(folder: Path, **extra: str) -> Iterator[Audited]:
    own = certificates(folder)
    with (
        tls_repository(own.server) as repository,
        nats_server(folder / "nats") as nats,
    ):
        port = int(repository.address.rpartition(":")[2])
        environment = environment_of(folder, port) | extra
        system = started(folder / "space", nats, **environment)
        try:
            yield Audited(system, repository, environment)
        finally:
            system.space.close()


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("audited")
    port = free_port()
    peers = [
        {"aeTitle": "WS1", "host": "127.0.0.1", "port": port, "may": ["get", "move"]},
        {"aeTitle": "CT1", "host": "127.0.0.1", "port": port},
    ]
    with audited(folder, DIMSE_PEERS=json.dumps(peers)) as trail:
        yield trail


def as_caller(trail: Audited, title: str) -> Peer:
    return replace(trail.system.peer, calling=title)


async def store(trail: Audited, folder: Path, study: str, count: int) -> None:
    ct_files(folder, count, study)
    ended = await modalities.storescu(as_caller(trail, "CT1"), folder, options=["+sd"])
    assert ended.status == 0, ended.output


async def test_one_message_for_all_instances_of_an_association_and_study(
    trail: Audited, tmp_path: Path
) -> None:
    study = f"{STUDY}.1"
    await store(trail, tmp_path / "in", study, 5)
    (message,) = trail.transferred(study)
    image = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    assert message.patient == (str(image.PatientID), str(image.PatientName))
    assert message.sop_classes == {CT_IMAGE: 5}
    assert message.event_attribute("ActionCode") == "C"
    assert message.event_attribute("OutcomeIndicator") == "0"
    (caller, source, asked), (itself, destination, _) = message.participants
    assert (caller, source, asked, destination) == ("CT1", "110153", True, "110152")
    assert itself.startswith("proxy@")
    sender, receiver = message.xml.findall("ActiveParticipant")
    assert sender.get("NetworkAccessPointID") == "127.0.0.1"
    assert receiver.get("AlternativeUserID") == f"AETITLES={trail.system.peer.called}"
    origin = message.xml.find("AuditSourceIdentification")
    assert origin.get("AuditEnterpriseSiteID") == "Hospital"


async def test_instances_that_were_held_before_are_read_and_not_created(
    trail: Audited, tmp_path: Path
) -> None:
    study = f"{STUDY}.2"
    await store(trail, tmp_path / "in", study, 1)
    ended = await modalities.storescu(as_caller(trail, "CT1"), tmp_path / "in", options=["+sd"])
    assert ended.status == 0
    found = trail.transferred(study, 2)
    assert [each.event_attribute("ActionCode") for each in found] == ["C", "R"]


async def test_what_the_service_refuses_is_a_failed_transfer(
    trail: Audited, tmp_path: Path
) -> None:
    study = f"{STUDY}.3"
    ct_files(tmp_path / "in", 1, study)
    image: Any = dcmread(tmp_path / "in" / "0.dcm")
    image.SOPInstanceUID = f"{study}.99"  # the data set is another one's than the command's
    image.file_meta.MediaStorageSOPInstanceUID = f"{study}.1.0"
    path = tmp_path / "wrong.dcm"
    image.save_as(path, enforce_file_format=False)
    answers = scu.store(as_caller(trail, "CT1"), [path])
    message = trail.transferred(study)[0]
    expected = "0" if answers[0].status == 0 else "8"
    assert message.event_attribute("OutcomeIndicator") == expected


async def test_a_query_is_reported_with_its_identifier(trail: Audited) -> None:
    ended = await modalities.findscu(
        as_caller(trail, "WS1"), "QueryRetrieveLevel=STUDY", "PatientID=AUDIT1"
    )
    assert ended.status == 0, ended.output
    (message,) = trail.repository.wait_for(
        lambda each: each.event == "Query" and b"AUDIT1" in query_of(each)
    )
    assert message.participants[0] == ("WS1", "110153", True)
    assert message.object("110181").get("ParticipantObjectID") == FIND
    assert message.detail("110181", "TransferSyntax").startswith(b"1.2.840.10008.1.2")


def query_of(message: Received) -> bytes:
    return b64decode(message.object("110181").findtext("ParticipantObjectQuery"))


async def test_an_unknown_caller_and_an_unknown_called_title_are_alerts(trail: Audited) -> None:
    await modalities.echoscu(as_caller(trail, "EVIL"))
    (message,) = trail.repository.wait_for(
        lambda each: each.event == ALERT and each.participants[1][0] == "EVIL"
    )
    assert message.type == "Node Authentication"
    assert message.event_attribute("OutcomeIndicator") == "4"
    assert message.object("110182").get("ParticipantObjectID") == "127.0.0.1"
    assert b"calling AE title" in message.detail("110182", "Alert Description")
    await modalities.echoscu(replace(as_caller(trail, "CT1"), called="NOBODY"))
    trail.repository.wait_for(
        lambda each: (
            each.event == ALERT and b"called AE title" in each.detail("110182", "Alert Description")
        )
    )


async def test_a_get_is_a_transfer_to_its_caller_and_without_the_right_an_alert(
    trail: Audited, tmp_path: Path
) -> None:
    study = f"{STUDY}.4"
    await store(trail, tmp_path / "in", study, 3)
    ended = await getscu(as_caller(trail, "WS1"), tmp_path / "out", study=study)
    assert ended.status == 0, ended.output
    (message,) = trail.repository.wait_for(
        lambda each: (
            each.event == TRANSFERRED and each.study == study and each.participants[1][0] == "WS1"
        )
    )
    assert message.participants[1] == ("WS1", "110152", True)
    assert message.participants[0][1:] == ("110153", False)
    assert message.sop_classes == {CT_IMAGE: 3}
    assert message.event_attribute("ActionCode") == "R"
    await getscu(as_caller(trail, "CT1"), tmp_path / "none", study=study)
    (alert,) = trail.repository.wait_for(lambda each: each.type == "Use of Restricted Function")
    assert alert.participants[1][0] == "CT1"


async def test_a_move_names_source_destination_and_who_asked(
    trail: Audited, tmp_path: Path
) -> None:
    study = f"{STUDY}.5"
    await store(trail, tmp_path / "in", study, 2)
    peers = json.loads(trail.environment["DIMSE_PEERS"])
    (tmp_path / "out").mkdir()
    with modalities.storescp(tmp_path / "out", port=peers[0]["port"]):
        ended = await modalities.ran(
            modalities.program("movescu"),
            *as_caller(trail, "WS1").arguments(
                "-S", "-aem", "CT1", "-k", "0008,0052=STUDY", "-k", f"0020,000d={study}"
            ),
        )
    assert ended.status == 0, ended.output
    (message,) = trail.repository.wait_for(
        lambda each: (
            each.event == TRANSFERRED and each.study == study and len(each.participants) == 3
        )
    )
    assert message.participants[0][1:] == ("110153", False)
    assert message.participants[1] == ("CT1", "110152", False)
    assert message.participants[2] == ("WS1", "", True)
    assert message.sop_classes == {CT_IMAGE: 2}


async def test_no_line_of_the_log_names_a_patient(trail: Audited, tmp_path: Path) -> None:
    study = f"{STUDY}.6"
    ct_files(tmp_path / "in", 1, study)
    image: Any = dcmread(tmp_path / "in" / "0.dcm")
    image.PatientName, image.PatientID = "Verysecret^Name", "VERYSECRETID"
    image.save_as(tmp_path / "in" / "0.dcm")
    ended = await modalities.storescu(as_caller(trail, "CT1"), tmp_path / "in" / "0.dcm")
    assert ended.status == 0
    assert trail.transferred(study)[0].patient == ("VERYSECRETID", "Verysecret^Name")
    assert "very" not in trail.system.proxy.log.read_text().lower()


@contextmanager
def proxy_alone(folder: Path, port: int, **extra: str) -> Iterator[tuple[ServiceProcess, Peer]]:
    """Run a proxy that takes data sets into its spool, and has no NATS."""
    environment = environment_of(folder, port) | {"DIMSE_ACKNOWLEDGE": "spooled"} | extra
    space = StorageSpace(folder / "space", f"nats://127.0.0.1:{free_port()}", extra=environment)
    proxy = space.proxy().start()
    try:
        proxy.ready()
        yield proxy, Peer("127.0.0.1", space.dimse_port, calling="CT1")
    finally:
        space.close()


def test_messages_of_a_proxy_that_was_killed_arrive(tmp_path: Path) -> None:
    own = certificates(tmp_path)
    port = free_port()
    made = [each for n in range(3) for each in made_instances(tmp_path / f"made{n}", 1, 512)]
    with proxy_alone(tmp_path, port) as (proxy, peer):
        for each in made:  # an association each, so a message each
            assert [answer.status for answer in scu.store(peer, [each.path])] == [0]
        eventually(lambda: queued(proxy), lambda number: number > len(made))
        proxy.kill()
        with tls_repository(own.server, port) as repository:
            proxy.start().ready()
            found = repository.wait_for_event(TRANSFERRED, len(made))
            starts = repository.wait_for(lambda each: each.type == "Application Start", 2)
            assert starts[0].process_id != starts[1].process_id
    assert [each.study for each in found] == [each.study_instance_uid for each in made]
    # whether the service holds them is not known when they are answered
    assert {each.event_attribute("ActionCode") for each in found} == {"R"}


def queued(proxy: ServiceProcess) -> int:
    """Return how many audit messages a proxy has made durable."""
    _, text = proxy.get("/metrics")
    line = next(each for each in text.splitlines() if each.startswith("dimse_audit_queued_total "))
    return int(float(line.split()[1]))


def test_workers_of_one_proxy_each_report(tmp_path: Path) -> None:
    own = certificates(tmp_path)
    with tls_repository(own.server) as repository:
        port = int(repository.address.rpartition(":")[2])
        with proxy_alone(tmp_path, port, DIMSE_WORKERS="2") as (_, peer):
            starts = repository.wait_for(lambda each: each.type == "Application Start", 2)
            assert len({each.process_id for each in starts}) == 2
            for each in made_instances(tmp_path / "made", 4, 512):
                scu.store(peer, [each.path])
            found = repository.wait_for_event(TRANSFERRED, 4)
    assert {each.process_id for each in found} <= {each.process_id for each in starts}

"""C-GET by DCMTK's getscu and by pynetdicom through proxy, NATS, service and bucket."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.filereader import read_dataset
from pydicom.uid import UID
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu import P_DATA_TF

from harness import modalities
from harness.modalities import Peer
from harness.nats_server import nats_server
from harness.services import ServiceProcess, eventually
from tests.integration.whole.conftest import System, started

pytestmark = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())

CT = UID("1.2.840.10008.5.1.4.1.1.2")
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
EXPLICIT, IMPLICIT = UID("1.2.840.10008.1.2.1"), UID("1.2.840.10008.1.2")
LAST_OF_DATA_SET = b"\x02"
"""Message Control Header of the last fragment of a data set, PS3.8 E.2."""
STUDY = "1.2.826.0.1.3680043.8.498.77"
RIGHTS = {
    "DIMSE_RETRIEVE_ENABLED": "true",
    "DIMSE_PEERS": json.dumps([{"aeTitle": "WS1", "may": ["get"]}]),
}


@pytest.fixture(scope="module")
def retrievable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("retrievable")
    with nats_server(folder / "nats") as nats:
        system = started(folder / "space", nats, replicas=2, **RIGHTS)
        yield system
        system.space.close()


def ct_files(folder: Path, count: int, study: str = STUDY) -> None:
    """Write a series of CT images."""
    folder.mkdir()
    image: Any = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    for number in range(count):
        image.StudyInstanceUID = study
        image.SeriesInstanceUID = f"{study}.1"
        image.SOPInstanceUID = f"{study}.1.{number}"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.InstanceNumber = str(number)
        image.save_as(folder / f"{number}.dcm")


def data_set_of(file: bytes) -> bytes:
    """Return the bytes after the file meta information."""
    return file[144 + int.from_bytes(file[140:144], "little") :]


def workstation(system: System, calling: str = "WS1") -> Peer:
    return replace(system.peer, calling=calling)


async def stored_study(system: System, folder: Path, count: int, study: str) -> dict[str, bytes]:
    """Store a study; return the data sets that the bucket has of it, by SOP instance UID."""
    before = set(system.space.bucket.rglob("*.dcm"))
    await asyncio.to_thread(ct_files, folder, count, study)
    ended = await modalities.storescu(system.peer, folder, options=["+sd"])
    assert ended.status == 0, ended.output
    paths = set(system.space.bucket.rglob("*.dcm")) - before
    return {path.stem: data_set_of(path.read_bytes()) for path in paths}


async def getscu(peer: Peer, folder: Path, *options: str, study: str) -> modalities.Ended:
    await asyncio.to_thread(folder.mkdir)
    keys = ["-k", "0008,0052=STUDY", "-k", f"0020,000d={study}"]
    arguments = peer.arguments("-v", "-S", *keys, "-od", str(folder), *options)
    return await modalities.ran(modalities.program("getscu"), *arguments)


async def test_dcmtk_gets_a_study_whole(retrievable: System, tmp_path: Path) -> None:
    study = f"{STUDY}.1"
    written = await stored_study(retrievable, tmp_path / "in", 30, study)
    ended = await getscu(workstation(retrievable), tmp_path / "out", study=study)
    assert ended.status == 0, ended.output
    received = [dcmread(path) for path in (tmp_path / "out").iterdir()]
    assert {str(each.SOPInstanceUID) for each in received} == written.keys()
    for each in received:  # DCMTK writes sequences with an undefined length
        (stored,) = retrievable.space.bucket.rglob(f"{each.SOPInstanceUID}.dcm")
        assert each == dcmread(stored)


async def test_a_caller_without_the_right_gets_nothing(retrievable: System, tmp_path: Path) -> None:
    study = f"{STUDY}.2"
    await stored_study(retrievable, tmp_path / "in", 1, study)
    ended = await getscu(workstation(retrievable, "OTHER"), tmp_path / "out", "-d", study=study)
    assert "0x0124" in ended.output
    assert "no right to get" in ended.output
    assert list((tmp_path / "out").iterdir()) == []


class Scu:
    """pynetdicom as the SCU of a C-GET: its responses, and what it received."""

    def __init__(self, system: System, syntaxes: list[UID], **options: Any) -> None:
        self.peer = workstation(system)
        self.received: dict[str, bytes] = {}
        self.answers: list[Any] = []
        self.identifiers: list[Any] = []
        self._syntaxes, self._options = syntaxes, options

    def get(self, study: str, level: str = "STUDY", cancel_after: int = -1) -> Any:
        """Return the final response."""
        ae = AE(ae_title=self.peer.calling)
        ae.add_requested_context(STUDY_ROOT_GET)
        ae.add_requested_context(CT, self._syntaxes)
        roles: list[Any] = (
            [build_role(CT, scp_role=True)] if self._options.get("role", True) else []
        )
        association = ae.associate(
            self.peer.host,
            self.peer.port,
            ae_title=self.peer.called,
            ext_neg=roles,
            evt_handlers=[(evt.EVT_C_STORE, self._store), (evt.EVT_PDU_SENT, self._sent)],
        )
        assert association.is_established
        query: Any = Dataset()
        query.QueryRetrieveLevel, query.StudyInstanceUID = level, study
        for status, identifier in association.send_c_get(query, STUDY_ROOT_GET, msg_id=9):
            self.answers.append(status)
            self.identifiers.append(identifier)
            if len(self.answers) == cancel_after:
                association.send_c_cancel(9, query_model=STUDY_ROOT_GET)
        association.release()
        return self.answers[-1]

    def _sent(self, event: evt.Event) -> None:
        """Cancel when the identifier is sent, if that is an option."""
        if not (self._options.get("cancels_at_once") and isinstance(event.pdu, P_DATA_TF)):
            return
        items = event.pdu.presentation_data_value_items
        if any((each.presentation_data_value or b"")[:1] == LAST_OF_DATA_SET for each in items):
            event.assoc.send_c_cancel(9, query_model=STUDY_ROOT_GET)

    def _store(self, event: evt.Event) -> int:
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID)
        self.received[uid] = request.DataSet.getvalue()
        statuses: dict[str, int] = self._options.get("statuses", {})
        return statuses.get(uid, 0)


def counts(response: Any) -> tuple[Any, ...]:
    return (
        response.NumberOfCompletedSuboperations,
        response.NumberOfFailedSuboperations,
        response.NumberOfWarningSuboperations,
        response.get("NumberOfRemainingSuboperations"),
    )


async def test_pynetdicom_gets_a_study_with_counts_and_failures(
    retrievable: System, tmp_path: Path
) -> None:
    study = f"{STUDY}.3"
    written = await stored_study(retrievable, tmp_path / "in", 5, study)
    refused, warned = f"{study}.1.2", f"{study}.1.4"
    scu = Scu(retrievable, [EXPLICIT], statuses={refused: 0xA700, warned: 0xB000})
    final = await asyncio.to_thread(scu.get, study)
    assert scu.received == written
    assert (final.Status, counts(final)) == (0xB000, (3, 1, 1, None))
    assert counts(scu.answers[0]) == (0, 0, 0, 5)
    assert scu.identifiers[-1] is not None
    assert scu.identifiers[-1].FailedSOPInstanceUIDList == refused


async def test_an_instance_is_re_encoded_where_only_another_native_syntax_is_accepted(
    retrievable: System, tmp_path: Path
) -> None:
    study = f"{STUDY}.8"
    written = await stored_study(retrievable, tmp_path / "in", 3, study)
    scu = Scu(retrievable, [IMPLICIT])
    final = await asyncio.to_thread(scu.get, study)
    assert (final.Status, counts(final)) == (0x0000, (3, 0, 0, None))
    for uid, content in scu.received.items():
        received = read_dataset(BytesIO(content), True, True)
        stored = read_dataset(BytesIO(written[uid]), False, True)
        assert received.PixelData == stored.PixelData
        assert {each.tag for each in received} == {each.tag for each in stored if each.tag.element}
        assert received.PatientName == stored.PatientName


async def test_nothing_found_is_a_success_with_zero_counts(retrievable: System) -> None:
    scu = Scu(retrievable, [EXPLICIT])
    final = await asyncio.to_thread(scu.get, "1.2.3.4.5.6")
    assert (final.Status, counts(final)) == (0x0000, (0, 0, 0, None))


async def test_an_empty_unique_key_is_refused(retrievable: System) -> None:
    final = await asyncio.to_thread(Scu(retrievable, [EXPLICIT]).get, "")
    assert final.Status == 0xA900
    assert "(0020,000D)" in final.ErrorComment


async def test_without_the_scp_role_every_sub_operation_fails(
    retrievable: System, tmp_path: Path
) -> None:
    study = f"{STUDY}.4"
    await stored_study(retrievable, tmp_path / "in", 2, study)
    scu = Scu(retrievable, [EXPLICIT], role=False)
    final = await asyncio.to_thread(scu.get, study)
    assert (final.Status, counts(final)) == (0xA702, (0, 2, 0, None))
    assert "role" in final.ErrorComment
    assert scu.received == {}


async def test_a_cancel_ends_it_with_the_numbers_so_far(
    retrievable: System, tmp_path: Path
) -> None:
    study = f"{STUDY}.5"
    await stored_study(retrievable, tmp_path / "in", 60, study)
    scu = Scu(retrievable, [EXPLICIT])
    final = await asyncio.to_thread(scu.get, study, cancel_after=1)
    completed, failed, warned, remaining = counts(final)
    assert (final.Status, failed, warned) == (0xFE00, 0, 0)
    assert completed + remaining == 60
    assert completed == len(scu.received) < 60


async def test_a_cancel_does_not_wait_for_a_catalogue_that_is_silent(
    retrievable: System, tmp_path: Path
) -> None:
    study = f"{STUDY}.8"
    await stored_study(retrievable, tmp_path / "in", 2, study)
    scu = Scu(retrievable, [EXPLICIT], cancels_at_once=True)
    os.kill(retrievable.catalogue.pid, signal.SIGSTOP)
    try:
        final = await asyncio.to_thread(scu.get, study)
    finally:
        os.kill(retrievable.catalogue.pid, signal.SIGCONT)
    assert (final.Status, counts(final)) == (0xFE00, (0, 0, 0, 0))
    assert len(scu.answers) == 1


async def test_a_get_that_is_aborted_for_a_damaged_object_is_logged_as_failed(
    retrievable: System, tmp_path: Path
) -> None:
    study = f"{STUDY}.10"
    for number in (1, 2):
        file = tmp_path / f"{number}.dcm"
        uid = await asyncio.to_thread(large_file, file, study, 8, number)
        ended = await modalities.storescu(retrievable.peer, file)
        assert ended.status == 0, ended.output
        (stored,) = retrievable.space.bucket.rglob(f"{uid}.dcm")
        with stored.open("r+b") as damaged:
            damaged.seek(-1, 2)
            damaged.write(b"\xee")
    scu = Scu(retrievable, [EXPLICIT])
    before = len(retrievable.proxy.lines())
    with pytest.raises(AttributeError):  # the last response has no status: there is none
        await asyncio.to_thread(lambda: scu.get(study).Status)

    def ends() -> list[str]:
        return [each for each in retrievable.proxy.lines()[before:] if '"C-GET' in each]

    (line,) = await asyncio.to_thread(eventually, ends, bool)
    record = json.loads(line)
    assert (record["level"], record["event"], record["status"]) == (
        "warning",
        "C-GET failed.",
        "A702",
    )
    assert "aborted" in record["comment"]
    assert "does not have its digest" in record["comment"]
    assert scu.received == {}


async def test_an_object_that_is_gone_or_damaged_fails_alone_and_is_named_in_the_log(
    retrievable: System, tmp_path: Path
) -> None:
    study = f"{STUDY}.6"
    written = await stored_study(retrievable, tmp_path / "in", 4, study)
    bad = [f"{study}.1.1", f"{study}.1.3"]
    lost, damaged = (next(retrievable.space.bucket.rglob(f"{each}.dcm")) for each in bad)
    lost.unlink()
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    scu = Scu(retrievable, [EXPLICIT])
    final = await asyncio.to_thread(scu.get, study)
    assert (final.Status, counts(final)) == (0xB000, (2, 2, 0, None))
    assert scu.received.keys() == written.keys() - set(bad)
    lines = [each for each in retrievable.proxy.lines() if f'"{study}.' in each]
    named = [json.loads(line) for line in lines if "An object can't" in line]
    objects = {each["sop_instance_uid"]: retrievable.space.bucket / each["key"] for each in named}
    assert objects == {bad[0]: lost, bad[1]: damaged}


@pytest.mark.parametrize(
    ("calling", "title", "availability"),
    [("WS1", "DICOM-INGEST", "ONLINE"), ("OTHER", "", "UNAVAILABLE")],
)
async def test_a_query_says_to_whom_instances_would_be_sent(
    retrievable: System, tmp_path: Path, calling: str, title: str, availability: str
) -> None:
    study = f"{STUDY}.7"
    await stored_study(retrievable, tmp_path / "in", 1, study)
    keys = ("0008,0052=STUDY", f"0020,000d={study}", "0008,0054", "0008,0056")
    ended = await modalities.findscu(workstation(retrievable, calling), *keys)
    lines = [each for each in ended.output.splitlines() if "(0008,0054) AE" in each]
    line = lines[-1]  # the first one is the key of the request
    assert title in line
    assert ("no value available" in line) is (title == "")
    assert f"[{availability}" in ended.output


def large_file(path: Path, study: str, megabytes: int, number: int = 1) -> str:
    """Write a multi-frame CT of this size; return its SOP instance UID."""
    image: Any = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    image.StudyInstanceUID, image.SOPInstanceUID = study, f"{study}.{number}"
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.Rows = image.Columns = 1024
    image.NumberOfFrames = megabytes // 2
    image.PixelData = b"".join(bytes([frame]) * 2**21 for frame in range(megabytes // 2))
    image.save_as(path)
    return str(image.SOPInstanceUID)


async def test_a_replica_that_is_killed_in_mid_transfer_costs_no_byte(
    tmp_path: Path,
) -> None:
    study = f"{STUDY}.9"
    with nats_server(tmp_path / "nats") as nats:
        system = started(tmp_path / "space", nats, replicas=2, **RIGHTS)
        try:
            uid = await asyncio.to_thread(large_file, tmp_path / "large.dcm", study, 96)
            ended = await modalities.storescu(system.peer, tmp_path / "large.dcm")
            assert ended.status == 0, ended.output
            (stored,) = system.space.bucket.rglob(f"{uid}.dcm")
            scu = Scu(system, [EXPLICIT])
            getting = asyncio.create_task(asyncio.to_thread(scu.get, study))
            survivor = await asyncio.to_thread(kill_a_sender, system)
            final = await getting
            assert sent(survivor) > 2**20
            assert (final.Status, counts(final)) == (0x0000, (1, 0, 0, None))
            assert scu.received == {uid: data_set_of(stored.read_bytes())}
        finally:
            system.space.close()


def kill_a_sender(system: System) -> ServiceProcess:
    """Kill the replica that has sent a part of a data set; return the other one."""
    (sender, *_) = eventually(
        lambda: [each for each in system.ingestion if sent(each) > 8 * 2**20], bool
    )
    sender.kill()
    return next(each for each in system.ingestion if each is not sender)


def sent(replica: ServiceProcess) -> float:
    """Return the bytes of data sets that a replica has sent."""
    lines = replica.get("/metrics")[1].splitlines()
    name = "dimse_ingestion_fetched_bytes_total"
    return sum(float(each.rsplit(" ", 1)[1]) for each in lines if each.startswith(name))

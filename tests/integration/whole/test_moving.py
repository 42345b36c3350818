"""C-MOVE by DCMTK's movescu, pynetdicom and Orthanc through proxy, NATS, service and bucket."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE, evt

from harness import modalities, orthanc
from harness.modalities import Peer
from harness.nats_server import nats_server
from harness.ports import free_port
from harness.services import eventually
from tests.integration.whole.conftest import System, started
from tests.integration.whole.test_retrieving import (
    counts,
    data_set_of,
    stored_study,
    workstation,
)

pytestmark = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
EXPLICIT = "1.2.840.10008.1.2.1"
STUDY = "1.2.826.0.1.3680043.8.498.88"


class House:
    """A system, and the port of each destination that its proxy knows."""

    def __init__(self, system: System, ports: dict[str, int]) -> None:
        self.system = system
        self.ports = ports

    @property
    def workstation(self) -> Peer:
        return workstation(self.system)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Run a system whose proxy knows destinations at ports that are free for the tests."""
    folder = tmp_path_factory.mktemp("house")
    ports = {title: free_port() for title in ("ARCHIVE", "OTHER", "ORTHANC", "GONE")}
    peers: list[dict[str, Any]] = [
        {"aeTitle": title, "host": "127.0.0.1", "port": port} for title, port in ports.items()
    ]
    peers += [{"aeTitle": "WS1", "may": ["move"]}, {"aeTitle": "GETTER", "may": ["get"]}]
    peers[2]["may"] = ["move"]
    rights = {
        "DIMSE_RETRIEVE_ENABLED": "true",
        "DIMSE_RETRIEVE_PENDING_INTERVAL": "0.2",
        "DIMSE_PEERS": json.dumps(peers),
    }
    with nats_server(folder / "nats") as nats:
        system = started(folder / "space", nats, replicas=2, **rights)
        yield House(system, ports)
        system.space.close()


async def movescu(peer: Peer, destination: str, study: str, *options: str) -> modalities.Ended:
    keys = ["-k", "0008,0052=STUDY", "-k", f"0020,000d={study}"]
    arguments = peer.arguments("-d", "-S", "-aem", destination, *keys, *options)
    return await modalities.ran(modalities.program("movescu"), *arguments)


def received(folder: Path) -> dict[str, bytes]:
    """Return the data sets of the files in a folder, by SOP instance UID."""
    files = [each for each in folder.iterdir() if each.is_file()]
    return {
        str(dcmread(file, stop_before_pixels=True).SOPInstanceUID): data_set_of(file.read_bytes())
        for file in files
    }


async def test_dcmtk_moves_a_study_to_storescp_byte_for_byte(house: House, tmp_path: Path) -> None:
    study = f"{STUDY}.1"
    written = await stored_study(house.system, tmp_path / "in", 30, study)
    (tmp_path / "out").mkdir()
    with modalities.storescp(tmp_path / "out", "-B", port=house.ports["ARCHIVE"]):
        ended = await movescu(house.workstation, "ARCHIVE", study)
    assert ended.status == 0, ended.output
    assert received(tmp_path / "out") == written
    assert "0xff00" in ended.output.lower()


@pytest.mark.parametrize(
    ("option", "final"),
    [("--refuse", "0xa702"), ("--abort-after", "0xa702"), ("--abort-during", "0xa702")],
)
async def test_a_destination_that_refuses_or_aborts(
    option: str, final: str, house: House, tmp_path: Path
) -> None:
    study = f"{STUDY}.2.{sum(map(ord, option))}"
    await stored_study(house.system, tmp_path / "in", 2, study)
    (tmp_path / "out").mkdir()
    with modalities.storescp(tmp_path / "out", option, port=house.ports["ARCHIVE"]):
        ended = await movescu(house.workstation, "ARCHIVE", study)
    assert final in ended.output.lower(), ended.output


async def test_pending_responses_come_while_a_destination_is_slow(
    house: House, tmp_path: Path
) -> None:
    study = f"{STUDY}.3"
    written = await stored_study(house.system, tmp_path / "in", 2, study)
    (tmp_path / "out").mkdir()
    options = ["-B", "--sleep-during", "1"]
    with modalities.storescp(tmp_path / "out", *options, port=house.ports["ARCHIVE"]):
        scu = Scu(house)
        final = await asyncio.to_thread(scu.move, study, "ARCHIVE")
    assert (final.Status, counts(final)) == (0, (2, 0, 0, None))
    assert len(scu.answers) > 3
    assert received(tmp_path / "out") == written


class Scu:
    """pynetdicom as the SCU of a C-MOVE: its responses."""

    def __init__(self, house: House, calling: str = "WS1") -> None:
        self.peer = workstation(house.system, calling)
        self.answers: list[Any] = []
        self.identifiers: list[Any] = []

    def move(
        self,
        study: str,
        destination: str,
        during: Callable[[], object] = lambda: None,
        cancel_after: int = -1,
    ) -> Any:
        """Return the final response; `during` is called after each pending one."""
        ae = AE(ae_title=self.peer.calling)
        ae.add_requested_context(STUDY_ROOT_MOVE)
        ae.dimse_timeout = ae.network_timeout = 120
        assoc = ae.associate(self.peer.host, self.peer.port, ae_title=self.peer.called)
        assert assoc.is_established
        query: Any = Dataset()
        query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study
        for status, identifier in assoc.send_c_move(query, destination, STUDY_ROOT_MOVE, msg_id=9):
            self.answers.append(status)
            self.identifiers.append(identifier)
            during()
            if len(self.answers) == cancel_after:
                assoc.send_c_cancel(9, query_model=STUDY_ROOT_MOVE)
        assoc.release()
        return self.answers[-1]


class Destination:
    """pynetdicom as a move destination: what it received, and from whom."""

    def __init__(self, port: int, syntaxes: list[str] | None = None, seconds: float = 0) -> None:
        self.received: dict[str, bytes] = {}
        self.originators: set[tuple[str, int, str]] = set()
        self.statuses: dict[str, int] = {}
        self.lose: set[str] = set()
        self.action: Any = None
        self._seconds = seconds
        ae = AE("OTHER")
        ae.add_supported_context(CT, syntaxes or [EXPLICIT])
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store)]
        self._server: Any = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)

    def _store(self, event: evt.Event) -> int:
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID)
        self.originators.add(
            (
                str(request.MoveOriginatorApplicationEntityTitle),
                int(request.MoveOriginatorMessageID),
                event.assoc.requestor.ae_title,
            )
        )
        time.sleep(self._seconds)
        if uid in self.lose:
            self.lose.remove(uid)
            event.assoc.abort()
            return 0
        self.received[uid] = request.DataSet.getvalue()
        if self.action is not None:
            self.action()
        return self.statuses.get(uid, 0)

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each received data set."""
        return {uid: sha256(content).hexdigest() for uid, content in self.received.items()}

    def __enter__(self) -> "Destination":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()


async def test_counts_failed_list_and_originator(house: House, tmp_path: Path) -> None:
    study = f"{STUDY}.4"
    written = await stored_study(house.system, tmp_path / "in", 5, study)
    refused, warned = f"{study}.1.2", f"{study}.1.4"
    with Destination(house.ports["OTHER"]) as destination:
        destination.statuses = {refused: 0xA700, warned: 0xB000}
        destination.lose = {f"{study}.1.3"}
        scu = Scu(house)
        final = await asyncio.to_thread(scu.move, study, "OTHER")
    assert destination.received == written
    assert destination.originators == {("WS1", 9, house.system.peer.called)}
    assert (final.Status, counts(final)) == (0xB000, (3, 1, 1, None))
    assert counts(scu.answers[0]) == (0, 0, 0, 5)
    assert scu.identifiers[-1].FailedSOPInstanceUIDList == refused


async def test_statuses_of_moves_that_can_not_begin(house: House, tmp_path: Path) -> None:
    study = f"{STUDY}.5"
    await stored_study(house.system, tmp_path / "in", 2, study)

    async def status(destination: str, calling: str = "WS1", study: str = study) -> Any:
        return await asyncio.to_thread(Scu(house, calling).move, study, destination)

    assert (await status("NOBODY")).Status == 0xA801
    assert (await status("WS1")).Status == 0xA801
    assert (await status("GONE", "GETTER")).Status == 0x0124
    assert (await status("GONE", "STRANGER")).Status == 0x0124
    assert (await status("GONE", study="")).Status == 0xA900
    nothing = await status("GONE", study="1.2.3.4.5.6")
    assert (nothing.Status, counts(nothing)) == (0, (0, 0, 0, None))
    unreachable = await status("GONE")
    assert (unreachable.Status, counts(unreachable)) == (0xA702, (0, 2, 0, None))


async def test_all_uids_fail_when_the_destination_is_gone(house: House, tmp_path: Path) -> None:
    study = f"{STUDY}.6"
    written = await stored_study(house.system, tmp_path / "in", 3, study)
    scu = Scu(house)
    final = await asyncio.to_thread(scu.move, study, "GONE")
    assert final.Status == 0xA702
    assert set(scu.identifiers[-1].FailedSOPInstanceUIDList) == set(written)
    assert "127.0.0.1" not in final.ErrorComment


async def test_a_cancel_ends_it_with_the_numbers_so_far(house: House, tmp_path: Path) -> None:
    study = f"{STUDY}.7"
    await stored_study(house.system, tmp_path / "in", 30, study)
    with Destination(house.ports["OTHER"], seconds=0.05) as destination:
        final = await asyncio.to_thread(Scu(house).move, study, "OTHER", cancel_after=2)
    completed, failed, warned, remaining = counts(final)
    assert (final.Status, failed, warned) == (0xFE00, 0, 0)
    assert completed + remaining == 30
    assert completed == len(destination.received) < 30


async def test_a_destination_that_dies_fails_the_rest(house: House, tmp_path: Path) -> None:
    study = f"{STUDY}.8"
    await stored_study(house.system, tmp_path / "in", 20, study)
    with ExitStack() as stack:
        (tmp_path / "out").mkdir()
        server = modalities.storescp(
            tmp_path / "out", "-B", "--sleep-after", "1", port=house.ports["ARCHIVE"]
        )
        stack.enter_context(server)
        scu = Scu(house)

        def kill() -> None:
            if list((tmp_path / "out").iterdir()):
                stack.close()

        final = await asyncio.to_thread(scu.move, study, "ARCHIVE", kill)
    completed, failed, _, _ = counts(final)
    assert final.Status in (0xB000, 0xA702)
    assert completed + failed == 20
    assert completed <= len(received(tmp_path / "out"))


@pytest.mark.skipif(bool(orthanc.missing()), reason=orthanc.missing())
async def test_orthanc_is_the_destination_and_requests_moves_to_itself(
    house: House, tmp_path: Path
) -> None:
    study = f"{STUDY}.9"
    written = await stored_study(house.system, tmp_path / "in", 4, study)
    ours = {"ours": house.system.peer}
    with orthanc.running_orthanc(tmp_path / "orthanc", ours, port=house.ports["ORTHANC"]) as other:
        final = await asyncio.to_thread(Scu(house).move, study, "ORTHANC")
        assert final.Status == 0
        assert orthanc_data_sets(other, tmp_path) == written
        for each in other.get("/studies"):
            other.delete(f"/studies/{each}")
        query = {"Level": "Study", "Query": {"StudyInstanceUID": study}}
        answer = await asyncio.to_thread(other.post, "/modalities/ours/query", query)
        retrieve = {"TargetAet": "ORTHANC", "Synchronous": True}
        await asyncio.to_thread(other.post, f"{answer['Path']}/retrieve", retrieve)
        eventually(lambda: len(other.get("/instances")), lambda count: count == 4)
        assert orthanc_data_sets(other, tmp_path) == written


def orthanc_data_sets(other: orthanc.Orthanc, folder: Path) -> dict[str, bytes]:
    found = {}
    for each in other.get("/instances"):
        file = folder / "orthanc.dcm"
        file.write_bytes(other.file(each))
        found[str(dcmread(file).SOPInstanceUID)] = data_set_of(file.read_bytes())
    return found

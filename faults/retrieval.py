"""Faults that happen while a workstation retrieves a study again and again, by C-MOVE or C-GET.

An instance that a response counts as completed, and that the destination does not have, is lost;
one with other bytes is wrong; one that was answered with success, and is sent again in the same
operation, is doubled.
"""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt

from faults import tally
from faults.fault import STORED, Fault
from faults.system import Deployment, System
from faults.tally import Tally
from harness import scu
from harness.instances import made_instances
from harness.pausing import pause, resume
from harness.services import eventually

_WORKSTATION, _ARCHIVE = "WORKSTATION", "ARCHIVE"
_MOVE, _GET = UID("1.2.840.10008.5.1.4.1.2.2.2"), UID("1.2.840.10008.5.1.4.1.2.2.3")
_INSTANCES = 30
_LENGTH = 512 * 2**10
_TIME = 0.03  # seconds that a destination takes for an instance
_SLOW = 1.0
_BUCKET_DELAY = 0.5
_AWAY = 8.0
_HANGS = 15.0
"""Seconds: operations that no replica answers end after 10 s."""
_LONGEST_WAIT = 180.0
_PAUSE = 0.3


def _data_set(event: evt.Event) -> bytes:
    request: Any = event.request
    data_set: bytes = request.DataSet.getvalue()
    return data_set


@dataclass(frozen=True)
class Sample:
    """A study to retrieve: its files, and by SOP instance UID the digest of what must arrive."""

    paths: list[Path]
    study_instance_uid: str
    digests: dict[str, str]
    bytes_of: Callable[[evt.Event], bytes] = _data_set
    """What the digest of an instance that arrives is computed of."""


def _stored_sample(folder: Path) -> Sample:
    """Return a study that is sent as it is stored."""
    made = made_instances(folder, _INSTANCES, _LENGTH)
    digests = {each.sop_instance_uid: each.sha256 for each in made}
    return Sample([each.path for each in made], made[0].study_instance_uid, digests)


@dataclass
class Destination:
    """What takes the instances: a server for C-MOVE, the workstation itself for C-GET."""

    port: int
    seconds: float = _TIME
    """The time that it takes for each instance."""
    is_gone: bool = False
    """Whether it aborts an association instead of taking an instance."""
    received: list[tuple[str, str]] = field(default_factory=list)
    """UID and digest of each instance of an operation, in their order."""
    total: int = 0
    """The instances of all operations."""
    bytes_of: Callable[[evt.Event], bytes] = _data_set
    _server: Any = None

    def take(self, event: evt.Event) -> int:
        """Take an instance, or abort."""
        request: Any = event.request
        threading.Event().wait(self.seconds)
        if self.is_gone:
            association: Any = event.assoc
            association.abort()
            association.dimse.msg_queue.put((None, None))  # else a C-GET waits for its time-out
            return 0
        digest = hashlib.sha256(self.bytes_of(event)).hexdigest()
        self.received.append((str(request.AffectedSOPInstanceUID), digest))
        self.total += 1
        return 0

    def listen(self) -> None:
        """Accept associations."""
        ae = AE(_ARCHIVE)
        ae.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
        self._server = ae.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self.take)]
        )

    def close(self) -> None:
        """Accept no more associations."""
        self._server.shutdown()


@dataclass
class Workstation:
    """An AE that retrieves one study again and again."""

    system: System
    model: UID
    destination: Destination
    study: str
    digests: dict[str, str]
    statuses: Counter[int] = field(default_factory=Counter)
    last_success: float = 0.0
    lost: int = 0
    wrong: int = 0
    doubled: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def wait_for_instances(self, more: int = 3) -> None:
        """Wait until so many further instances have come, in the middle of an operation."""
        wanted = self.destination.total + more
        eventually(lambda: self.destination.total, lambda seen: seen >= wanted, _LONGEST_WAIT)

    def wait_for_success(self, after: float) -> float:
        """Return when an operation that began after a moment has ended with 0000."""
        return eventually(lambda: self.last_success, lambda last: last > after, _LONGEST_WAIT)

    @contextmanager
    def retrieving(self) -> Iterator[None]:
        """Retrieve within the block, from a first operation that ended with 0000 on."""
        with ThreadPoolExecutor(1) as threads:
            working = threads.submit(self._retrieve_all)
            try:
                self.wait_for_success(0.0)
                yield
            finally:
                self._ended.set()
        working.result()

    def _retrieve_all(self) -> None:
        while not self._ended.is_set():
            self.destination.received.clear()
            response = self._retrieve()
            status = int(response.get("Status", -1))
            self._count(status, int(response.get("NumberOfCompletedSuboperations") or 0))
            if status:
                self._ended.wait(_PAUSE)

    def _retrieve(self) -> Dataset:
        """Perform one operation; return its final response, empty without one."""
        ae = AE(_WORKSTATION)
        ae.dimse_timeout = ae.network_timeout = ae.acse_timeout = 120
        ae.add_requested_context(self.model)
        roles: list[Any] = []
        if self.model == _GET:
            ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
            roles = [build_role(CTImageStorage, scp_role=True)]
        peer = self.system.peer
        association = ae.associate(
            peer.host,
            peer.port,
            ae_title=peer.called,
            ext_neg=roles,
            evt_handlers=[(evt.EVT_C_STORE, self.destination.take)],
        )
        response = Dataset()
        if not association.is_established:
            return response
        try:
            for response, _ in self._responses(association):  # noqa: B007 - the last one counts
                pass
        except RuntimeError:  # the association was lost
            return Dataset()
        finally:
            association.release()
        return response

    def _responses(self, association: Any) -> Iterator[tuple[Dataset, Any]]:
        query: Any = Dataset()
        query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", self.study
        if self.model == _GET:
            return iter(association.send_c_get(query, _GET))
        return iter(association.send_c_move(query, _ARCHIVE, _MOVE))

    def _count(self, status: int, completed: int) -> None:
        self.statuses[status] += 1
        received = Counter(uid for uid, _ in self.destination.received)
        if status == 0:
            self.last_success = time.monotonic()
            completed = len(self.digests)
        self.lost += max(0, completed - len(received))
        self.wrong += sum(self.digests[uid] != sha256 for uid, sha256 in self.destination.received)
        self.doubled += received.total() - len(received)


Happen = Callable[[System, Workstation], float]


def measure(
    model: UID,
    happen: Happen,
    system: System,
    folder: Path,
    sample_in: Callable[[Path], Sample] = _stored_sample,
) -> Tally:
    """Break the system while a study is retrieved, repair it, and count."""
    sample = sample_in(folder / "made")
    answers = scu.store(system.peer, sample.paths)
    assert {each.status for each in answers} == {0}
    destination = Destination(system.peer_ports[_ARCHIVE], bytes_of=sample.bytes_of)
    workstation = Workstation(system, model, destination, sample.study_instance_uid, sample.digests)
    destination.listen()
    try:
        with workstation.retrieving():
            repaired = happen(system, workstation)
            recovery = workstation.wait_for_success(repaired) - repaired
            workstation.wait_for_success(workstation.last_success)
    finally:
        destination.close()
    refused = Counter(workstation.statuses)
    succeeded = refused.pop(0, 0)
    return Tally(
        operations=workstation.statuses.total(),
        acknowledged=succeeded,
        refused={tally.status_name(status): many for status, many in sorted(refused.items())},
        lost=workstation.lost,
        wrong=workstation.wrong,
        doubled=workstation.doubled,
        recovery=recovery,
    )


def _kill_replicas(system: System, workstation: Workstation) -> float:
    """Kill each replica while it sends instances."""
    for replica in system.ingestion:
        workstation.wait_for_instances()
        replica.kill()
        workstation.wait_for_instances(1)
        system.restart(replica)
    return time.monotonic()


def _hang_replica(system: System, workstation: Workstation) -> float:
    """Pause one of two replicas, which stays subscribed and answers nothing."""
    workstation.wait_for_instances()
    process = system.ingestion[0].process
    assert process is not None
    pause(process)
    threading.Event().wait(_HANGS)
    resume(process)
    return time.monotonic()


def _restart_nats(system: System, workstation: Workstation) -> float:
    for _ in range(2):
        workstation.wait_for_instances()
        system.nats.kill()
        system.nats.start()
    return time.monotonic()


def _slow_bucket(system: System, workstation: Workstation) -> float:
    assert system.to_bucket is not None
    workstation.wait_for_instances()
    system.to_bucket.delay = _BUCKET_DELAY
    threading.Event().wait(_AWAY)
    system.to_bucket.delay = 0.0
    return time.monotonic()


def _slow_destination(system: System, workstation: Workstation) -> float:
    workstation.wait_for_instances()
    workstation.destination.seconds = _SLOW
    threading.Event().wait(_AWAY)
    workstation.destination.seconds = _TIME
    return time.monotonic()


def _destination_gone(system: System, workstation: Workstation) -> float:
    """Have the destination abort in the middle of an operation, and accept nothing for a while."""
    destination = workstation.destination
    workstation.wait_for_instances()
    destination.is_gone = True
    destination.close()
    threading.Event().wait(_AWAY)
    destination.is_gone = False
    destination.listen()
    return time.monotonic()


def faults(
    name: str,
    happen: Happen,
    *,
    minio: bool = False,
    sample_in: Callable[[Path], Sample] = _stored_sample,
) -> tuple[Fault, ...]:
    """Return the fault for C-MOVE and for C-GET."""
    deployment = Deployment(
        replicas=2,
        minio=minio,
        relays_bucket=minio,
        peers={_WORKSTATION: ("move", "get"), _ARCHIVE: ()},
        environment={
            "DIMSE_RETRIEVE_ENABLED": "true",
            "DIMSE_RETRIEVE_PENDING_INTERVAL": "0.2",
        },
    )
    return tuple(
        Fault(
            f"{kind}: {name}",
            partial(measure, model, happen, sample_in=sample_in),
            deployment,
            modes=(STORED,),
        )
        for kind, model in (("C-MOVE", _MOVE), ("C-GET", _GET))
    )


FAULTS = (
    *faults("replicas killed in mid-fetch", _kill_replicas),
    *faults("one of two replicas hangs for 15 s", _hang_replica),
    *faults("NATS restarted", _restart_nats),
    *faults("bucket slow", _slow_bucket, minio=True),
    *faults("destination slow", _slow_destination),
    *faults("destination gone for 8 s", _destination_gone),
)

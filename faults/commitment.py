"""Faults that happen while a console requests storage commitment of what modalities store.

Each accepted transaction must be reported, with each reference once and with the right result: what
was stored is committed, what was never stored is missing. A transaction without a report counts as
lost, a reference with another result as wrong, a report that contradicts an earlier one as doubled.
That a report comes twice is allowed, and not counted.
"""

import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pydicom.uid import CTImageStorage, generate_uid

from faults import load, stores, tally
from faults.fault import Fault
from faults.load import Load
from faults.system import Deployment, System
from faults.tally import Tally
from harness.commitment_scu import CommitmentScu, Report
from harness.modalities import Peer
from harness.services import eventually

_TITLE = "CONSOLE"
_PAUSE = 0.3
_AWAY = 12.0
_WITH_A_MISSING_ONE = 3
"""Each so many transactions, one references an instance that was never stored."""
_LONGEST_WAIT = 180.0


@dataclass
class Console:
    """An AE that requests storage commitment again and again, and takes the reports."""

    port: int
    scu: CommitmentScu
    statuses: Counter[int] = field(default_factory=Counter)
    requested: dict[str, set[str]] = field(default_factory=dict)
    """The SOP Instance UIDs of each accepted transaction."""
    missing: set[str] = field(default_factory=set)
    """SOP Instance UIDs that were never stored."""
    reports: dict[str, list[Report]] = field(default_factory=lambda: defaultdict(list))
    last_report: float = 0.0
    _ended: threading.Event = field(default_factory=threading.Event)
    _listening: ExitStack = field(default_factory=ExitStack)

    def listen(self) -> None:
        """Take reports from now on."""
        self._listening.enter_context(self.scu.listening(self.port))

    def close(self) -> None:
        """Take no reports."""
        self._listening.close()

    @contextmanager
    def requesting(self, sent: Load) -> Iterator[None]:
        """Request commitment of what is stored within the block, until a first report at least."""
        with ThreadPoolExecutor(1) as threads:
            working = threads.submit(self._request_all, sent)
            try:
                self.wait_for_report(0.0)
                yield
            finally:
                self._ended.set()
        working.result()

    def wait_for_report(self, after: float) -> float:
        """Return the moment of the next report that comes after one."""
        return eventually(self._take, lambda last: last > after, _LONGEST_WAIT)

    def wait_for_all(self) -> None:
        """Wait until each accepted transaction is reported, as far as that ever happens."""
        deadline = time.monotonic() + _LONGEST_WAIT
        eventually(
            lambda: self._take() and self._unreported() and time.monotonic() < deadline,
            lambda waits: not waits,
            2 * _LONGEST_WAIT,
        )

    def count(self, stored: Tally) -> Tally:
        """Return the count of both: what was stored, and the requests."""
        refused = Counter(self.statuses)
        accepted = refused.pop(0, 0)
        return replace(
            stored,
            operations=self.statuses.total(),
            acknowledged=accepted,
            refused={tally.status_name(status): many for status, many in sorted(refused.items())},
            lost=stored.lost + self._unreported(),
            wrong=stored.wrong + sum(self._wrong(uid) for uid in self.requested),
            doubled=stored.doubled + sum(map(_contradictions, self.reports.values())),
        )

    def _request_all(self, sent: Load) -> None:
        done: set[Path] = set()
        while not self._ended.is_set():
            new = [path for path in list(sent.acknowledged) if path not in done]
            if new:
                uids = {sent.acknowledged[path].sop_instance_uid for path in new}
                if len(self.requested) % _WITH_A_MISSING_ONE == 1:
                    uids.add(never := str(generate_uid()))
                    self.missing.add(never)
                self._request(uids)
                done |= set(new)
            self._ended.wait(_PAUSE)

    def _request(self, uids: set[str]) -> None:
        """Request commitment until the request is accepted."""
        transaction_uid = str(generate_uid())
        references = [(str(CTImageStorage), uid) for uid in sorted(uids)]
        status = -1
        while status and not self._ended.is_set():
            try:
                status, _ = self.scu.request(references, transaction_uid)
            except (OSError, RuntimeError, ValueError):  # no association, or it was lost
                status = -1
            self.statuses[status] += 1
            if status == 0:
                self.requested[transaction_uid] = uids
            else:
                self._ended.wait(_PAUSE)

    def _take(self) -> float:
        """Take the reports that have come; return the moment of the last one."""
        taken = sum(map(len, self.reports.values()))
        for report in self.scu.received[taken:]:
            self.reports[report.transaction_uid].append(report)
            self.last_report = time.monotonic()
        return self.last_report

    def _unreported(self) -> int:
        return sum(uid not in self.reports for uid in list(self.requested))

    def _wrong(self, transaction_uid: str) -> int:
        """Return how many references of a transaction have not the right result."""
        requested = self.requested[transaction_uid]
        wrong = set[str]()
        for report in self.reports.get(transaction_uid, ()):
            reported = Counter([*report.committed, *report.failed])
            wrong |= {uid for uid in requested if reported[uid] != 1}
            wrong |= set(report.committed) & self.missing
            wrong |= set(report.failed) - self.missing
        return len(wrong)


def _contradictions(reports: list[Report]) -> int:
    first = reports[0]
    return sum(
        (set(each.committed), each.failed) != (set(first.committed), first.failed)
        for each in reports
    )


Happen = Callable[[System, Console], float]


def measure(happen: Happen, system: System, folder: Path) -> Tally:
    """Break the system while a console requests commitment, repair it, and count."""
    peer = Peer("127.0.0.1", system.space.dimse_port, calling=_TITLE)
    console = Console(system.peer_ports[_TITLE], CommitmentScu(peer))
    console.listen()
    try:
        modalities = load.sending(system.peer, folder / "modalities")
        with modalities as sent, console.requesting(sent):
            repaired = happen(system, console)
            recovery = console.wait_for_report(repaired) - repaired
            sent.wait_for_successes(4)
        stores.wait_for_delivery(system, sent)
        console.wait_for_all()
    finally:
        console.close()
    return console.count(tally.count(system, sent, recovery))


def _kill_before_the_report(system: System, console: Console) -> float:
    """Kill the proxy when a request is answered and its references are about to be checked."""
    for _ in range(3):
        seen = system.to_nats.watch(b"Dimse-Op: COMMIT\r\n", system.proxy.kill)
        assert seen.wait(_LONGEST_WAIT), "no check passed"
        system.restart(system.proxy)
    return time.monotonic()


def _console_down(system: System, console: Console) -> float:
    console.close()
    threading.Event().wait(_AWAY)
    console.listen()
    return time.monotonic()


def _catalogue_and_bucket_down(system: System, console: Console) -> float:
    assert system.minio is not None
    system.catalogue.kill()
    system.minio.stop(signal.SIGKILL)
    threading.Event().wait(_AWAY)
    system.minio.start()
    system.catalogue.start().ready()
    return time.monotonic()


_COMPRESSED = """
from dimse_ingestion.proxy.commitment import reports

reports.FIRST_PAUSE, reports.LONGEST_PAUSE = 0.5, 30.0
"""
"""The pauses between reports, compressed sixty times."""


def _committing(name: str, happen: Happen, *, minio: bool = False, proxy_patch: str = "") -> Fault:
    enabled = {
        "DIMSE_STORAGE_COMMITMENT_ENABLED": "true",
        "DIMSE_STORAGE_COMMITMENT_GRACE": "2",
    }
    deployment = Deployment(
        minio=minio, peers={_TITLE: ("commit",)}, proxy_patch=proxy_patch, environment=enabled
    )
    return Fault(f"commitment: {name}", partial(measure, happen), deployment)


FAULTS = (
    _committing("proxy killed between response and report", _kill_before_the_report),
    _committing("console away, time compressed", _console_down, proxy_patch=_COMPRESSED),
    _committing("catalogue and bucket away", _catalogue_and_bucket_down, minio=True),
)

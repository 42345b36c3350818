"""Reports of storage commitment to pynetdicom, and to AEs that refuse them or are not there."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pynetdicom import AE, evt

from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.proxy.commitment import reports
from dimse_ingestion.proxy.commitment.event_reports import EventReports
from dimse_ingestion.proxy.commitment.journal import Entry
from dimse_ingestion.proxy.commitment.reports import Report, Reporter, ReportRefused
from dimse_ingestion.proxy.commitment.transactions import Decided
from dimse_ingestion.proxy.peers import PeerAssociations
from dimse_ingestion.settings import Peer
from harness.ports import free_port
from tests.unit.proxy.commitment_examples import STARTED_AT, accepted
from tests.unit.proxy.fakes import proxy_settings

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
VERIFICATION = "1.2.840.10008.1.1"
REPORT = Report(accepted(), Decided(decided_at=STARTED_AT, failures={1: 0x0112}))


class Console:
    """pynetdicom as the AE that gets reports."""

    def __init__(self, *statuses: int) -> None:
        self.port = free_port()
        self.statuses = list(statuses)
        self.received: list[Any] = []
        self.arrived = threading.Event()

    @property
    def sender(self) -> EventReports:
        peer = Peer(ae_title="CT1", host="127.0.0.1", port=self.port, may=frozenset({"commit"}))
        settings = proxy_settings(peers=(peer,))
        return EventReports(PeerAssociations(settings), settings.peer)

    @asynccontextmanager
    async def listening(
        self,
        abstract_syntax: str = STORAGE_COMMITMENT,
        configure: Callable[[AE], None] | None = None,
    ) -> AsyncIterator[None]:
        ae = AE("CT1")
        ae.add_supported_context(abstract_syntax, scu_role=False, scp_role=True)
        if configure is not None:
            configure(ae)
        server: Any = ae.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._take)],
        )
        try:
            yield
        finally:
            await asyncio.to_thread(server.shutdown)

    def _take(self, event: Any) -> tuple[int, None]:
        self.received.append(event.event_information)
        status = self.statuses.pop(0) if self.statuses else 0
        if status == ABORT:
            event.assoc.abort()
        return status, None


ABORT = -1


async def test_a_report_arrives_whole() -> None:
    console = Console()
    async with console.listening():
        await console.sender.send(REPORT)
    (information,) = console.received
    assert information.TransactionUID == REPORT.accepted.transaction_uid
    assert len(information.ReferencedSOPSequence) == 2
    assert information.FailedSOPSequence[0].FailureReason == 0x0112


async def test_a_failure_in_the_response_is_a_refusal_of_the_report() -> None:
    console = Console(0x0110)
    async with console.listening():
        with pytest.raises(ReportRefused, match="0110H"):
            await console.sender.send(REPORT)


async def test_an_ae_that_is_not_there_is_no_refusal_of_the_report() -> None:
    with pytest.raises(Unavailable, match="is not reached"):
        await Console().sender.send(REPORT)


async def test_an_ae_that_rejects_the_association_is_no_refusal_of_the_report() -> None:
    def strict(ae: AE) -> None:
        ae.require_calling_aet = ["OTHER"]

    console = Console()
    async with console.listening(configure=strict):
        with pytest.raises(Failure, match="calling AE title not recognized") as caught:
            await console.sender.send(REPORT)
    assert not isinstance(caught.value, ReportRefused)


async def test_an_ae_without_the_service_is_no_refusal_of_the_report() -> None:
    console = Console()
    async with console.listening(VERIFICATION):
        with pytest.raises(Unavailable, match="refuses the Storage Commitment Push Model"):
            await console.sender.send(REPORT)


async def test_an_ae_that_aborts_has_not_taken_the_report() -> None:
    console = Console(ABORT)
    async with console.listening():
        with pytest.raises(Unavailable):
            await console.sender.send(REPORT)


async def test_an_ae_that_was_removed_from_the_settings_gets_no_report() -> None:
    settings = proxy_settings()
    with pytest.raises(Unavailable, match="not in peers any more"):
        await EventReports(PeerAssociations(settings), settings.peer).send(REPORT)


async def test_an_ae_that_is_down_and_then_fails_gets_its_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pauses are compressed: an hour of retries takes a second."""
    monkeypatch.setattr(reports, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(reports, "LONGEST_PAUSE", 0.6)
    console = Console(0x0213, ABORT)
    reporter = Reporter(console.sender, 3600.0, lambda: STARTED_AT)
    entry = Entry(
        id="t1",
        transaction_uid="1.2",
        calling_ae_title="CT1",
        called_ae_title="DICOM-INGEST",
        received_at=STARTED_AT,
        references=3,
        digest=b"",
        length=1,
        decided_at=STARTED_AT,
    )

    async def load() -> Report:
        attempts.append(asyncio.get_running_loop().time())
        if len(attempts) == 7:
            down.set()
        return REPORT

    attempts: list[float] = []
    down = asyncio.Event()
    delivering = asyncio.create_task(reporter.deliver(entry, load))
    await down.wait()  # seven attempts without anybody listening
    async with console.listening():
        await delivering
    assert len(console.received) == 3

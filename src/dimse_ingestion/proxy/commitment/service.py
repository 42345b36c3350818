"""Storage commitment as a whole: the journal, the worker, and the answer to requests.

It starts before associations are accepted and stops after the last one, so that a request that is
answered during a drain is recorded too.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from dimse_ingestion.dicom.contexts import is_storage
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.proxy.commitment.check import (
    Checker,
    CheckPolicy,
    NothingPending,
    PendingInstances,
)
from dimse_ingestion.proxy.commitment.journal import Entry, Journal
from dimse_ingestion.proxy.commitment.reports import Report, Reporter, ReportSender
from dimse_ingestion.proxy.commitment.requests import CommitmentRequests
from dimse_ingestion.proxy.commitment.worker import CommitmentWorker
from dimse_ingestion.proxy.identifier import IdentifierBuffer
from dimse_ingestion.settings import ProxySettings
from dimse_ingestion.settings.errors import directory_mistake
from dimse_ingestion.transport.contract import TransportClient
from dimse_ingestion.upper_layer.services import AssociationHandle, DataSetSink, Message


class NoReports:
    """A `ReportSender` without connections."""

    async def send_on(self, association: AssociationHandle, report: Report) -> None:  # noqa: ARG002 - the interface's
        """Raise Unavailable."""
        raise Unavailable("This proxy sends no reports on the association of the request.")

    async def send(self, report: Report) -> None:  # noqa: ARG002 - the interface's
        """Raise Unavailable."""
        raise Unavailable("This proxy opens no associations.")


class StorageCommitment:
    """Storage commitment as the bridge uses it."""

    def __init__(
        self, journal: Journal, requests: CommitmentRequests, worker: CommitmentWorker
    ) -> None:
        self._journal = journal
        self._requests = requests
        self._worker = worker

    @property
    def is_busy(self) -> bool:
        """Return whether a transaction waits for its check or its report."""
        return bool(self._journal.entries)

    def open_data_set(self, association: AssociationHandle) -> DataSetSink:
        """Return the sink for the Action Information of an N-ACTION."""
        return IdentifierBuffer(self._requests.longest(association.request.calling_ae_title))

    async def accept(self, message: Message) -> Entry:
        """Record a request durably, and return its transaction. Raises Failure."""
        return await self._requests.accept(message)

    def start(self, entry: Entry, association: AssociationHandle) -> None:
        """Start a transaction, after its request was answered."""
        self._worker.add(entry, association)


@asynccontextmanager
async def open_commitment(
    settings: ProxySettings,
    client: TransportClient,
    sender: ReportSender,
    pending: PendingInstances | None = None,
    clock: Callable[[], float] = time.time,
    worker_number: int = 1,
) -> AsyncIterator[StorageCommitment | None]:
    """Run storage commitment within the block; yield None where it is not enabled.

    Each worker of a proxy, by its number from 1, has a journal of its own.

    Raises ConfigurationMistake when the journal's folder can't be used.
    """
    if not settings.storage_commitment_enabled:
        yield None
        return
    journal = await asyncio.to_thread(_open_journal, settings, worker_number)
    checker = Checker(client, pending or NothingPending(), _policy(settings), clock)
    space = settings.ae_title
    reporter = Reporter(sender, settings.storage_commitment_retry_for, clock, space)
    worker = CommitmentWorker(journal, checker, reporter, clock, space)
    worker.start()
    try:
        requests = CommitmentRequests(journal, settings.peer, clock)
        yield StorageCommitment(journal, requests, worker)
    finally:
        await worker.stop()
        journal.close()


def _open_journal(settings: ProxySettings, worker_number: int) -> Journal:
    folder = settings.storage_commitment_directory
    journal = Journal(folder / str(worker_number), space=settings.ae_title)
    try:
        journal.open()
        if worker_number == 1:
            for other in sorted(each for each in folder.iterdir() if each.name.isdecimal()):
                if int(other.name) > settings.workers:
                    journal.adopt(other)
    except OSError as error:
        journal.close()
        variable = "DIMSE_STORAGE_COMMITMENT_DIRECTORY"
        raise directory_mistake(variable, str(folder), error) from None
    return journal


def _policy(settings: ProxySettings) -> CheckPolicy:
    return CheckPolicy(
        grace=settings.storage_commitment_grace,
        give_up_after=settings.storage_commitment_retry_for,
        reads_objects=settings.storage_commitment_verify == "digest",
        is_accepted=partial(_is_accepted, settings),
    )


def _is_accepted(settings: ProxySettings, sop_class_uid: str) -> bool:
    """Return whether this AE stores a class now: a reload may change the list."""
    classes = settings.image_sop_classes
    allowed = not classes or sop_class_uid in classes
    return allowed and is_storage(sop_class_uid)

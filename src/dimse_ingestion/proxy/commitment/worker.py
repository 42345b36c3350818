"""The tasks of transactions: each is checked, decided, reported, and removed from the journal.

One task for each transaction; it holds no references while it waits. At the start of the proxy the
tasks of what the journal has are started again: a decision is not made twice, a report that the AE
has taken just before the process ended is sent again.
"""

import asyncio
from collections.abc import Callable

from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import log_context, logger
from dimse_ingestion.proxy.commitment.check import Checker, Progress, count_reasons
from dimse_ingestion.proxy.commitment.journal import Entry, Journal
from dimse_ingestion.proxy.commitment.record_file import Content, Damaged
from dimse_ingestion.proxy.commitment.reports import Report, Reporter
from dimse_ingestion.proxy.commitment.transactions import Decided
from dimse_ingestion.upper_layer.services import AssociationHandle

_LOG = logger(__name__)
_CONCURRENT_CHECKS = 4
_DISK_PAUSE = 60.0
_GAUGE_INTERVAL = 5.0


class CommitmentWorker:
    """Runs the transactions of a storage space's journal; `clock` returns the Unix time."""

    def __init__(
        self,
        journal: Journal,
        checker: Checker,
        reporter: Reporter,
        clock: Callable[[], float],
        space: str = "",
    ) -> None:
        self._journal = journal
        self._checker = checker
        self._reporter = reporter
        self._clock = clock
        self._space = space
        self._checks = asyncio.Semaphore(_CONCURRENT_CHECKS)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._gauges: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the transactions that the journal has from the last process."""
        for entry in self._journal.entries:
            self.add(entry, None)
        self._gauges = asyncio.create_task(self._watch(), name="commitment gauges")

    def add(self, entry: Entry, association: AssociationHandle | None) -> None:
        """Start a transaction, unless it is running; its request came on `association`."""
        if entry.id in self._tasks:
            return
        task = asyncio.create_task(self._run(entry, association), name="storage commitment")
        self._tasks[entry.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(entry.id, None))

    async def stop(self) -> None:
        """Cancel all tasks; the journal has what they need after the next start."""
        tasks = [*self._tasks.values(), *([self._gauges] if self._gauges else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, entry: Entry, association: AssociationHandle | None) -> None:
        with log_context(operation_id=entry.id):
            is_over = await self._is_over(entry, association)
            while not is_over:
                await asyncio.sleep(_DISK_PAUSE)
                is_over = await self._is_over(entry, association)

    async def _is_over(self, entry: Entry, association: AssociationHandle | None) -> bool:
        """Perform a transaction; return False if it must be tried again because of an error."""
        try:
            try:
                await self._perform(entry, association)
            except Damaged:
                await self._journal.set_aside(entry)
        except OSError as error:
            _LOG.error("The commitment journal can't be read or written.", reason=str(error))
            return False
        except Exception:  # noqa: BLE001 - the other transactions continue
            _LOG.exception("A transaction failed because of an error in this software.")
            return False
        return True

    async def _perform(self, entry: Entry, association: AssociationHandle | None) -> None:
        if entry.decided_at is None:
            await self._decide(entry)
        if association is None or not await self._reporter.deliver_on(
            association, await self._report(entry)
        ):
            await self._reporter.deliver(entry, lambda: self._report(entry))
        await self._journal.remove(entry)

    async def _decide(self, entry: Entry) -> None:
        """Check a transaction until it is decided, and record the decision."""
        progress: Progress | None = None
        while True:
            async with self._checks:
                content = await self._journal.read(entry)
                progress = progress or self._checker.start(content.accepted)
                result = await self._checker.advance(content.accepted, progress)
            if isinstance(result, Decided):
                break
            del content
            await asyncio.sleep(result)
        await self._journal.decide(entry, result)
        self._record_decided(content, result)

    async def _report(self, entry: Entry) -> Report:
        content = await self._journal.read(entry)
        if content.decided is None:
            raise Damaged(entry.id)
        return Report(content.accepted, content.decided)

    async def _watch(self) -> None:
        while True:
            self._set_gauges()
            await asyncio.sleep(_GAUGE_INTERVAL)

    def _set_gauges(self) -> None:
        entries = self._journal.entries
        now = self._clock()
        since = {
            "checking": [each.received_at for each in entries if each.decided_at is None],
            "reporting": [each.decided_at for each in entries if each.decided_at is not None],
        }
        for state, times in since.items():
            metrics.commitment_transactions.labels(state, self._space).set(len(times))
            oldest = max(0.0, now - min(times)) if times else 0.0
            metrics.commitment_oldest_seconds.labels(state, self._space).set(oldest)
        metrics.commitment_journal_bytes.labels(self._space).set(self._journal.bytes_used)

    def _record_decided(self, content: Content, decided: Decided) -> None:
        accepted = content.accepted
        reasons = dict(count_reasons(accepted, decided))
        for reason, number in reasons.items():
            metrics.commitment_references.labels(reason, self._space).inc(number)
        _LOG.info(
            "Storage commitment decided.",
            transaction_uid=accepted.transaction_uid,
            calling_ae_title=accepted.calling_ae_title,
            references=len(accepted.references),
            reasons={reason: number for reason, number in reasons.items() if number},
        )

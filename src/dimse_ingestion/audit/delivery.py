"""The delivery of one audit queue: the oldest messages first, in batches, again after failures.

A batch is sent again when it may not have arrived, so a repository may get a message twice and
never misses one. `send_order` decides what is sent next; the queue on disk is an `outbox`.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

from dimse_ingestion.audit.repository import NotSent, Repository
from dimse_ingestion.audit.send_order import SendOrder
from dimse_ingestion.background_tasks import background_tasks
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.outbox.opened_entry import Damaged
from dimse_ingestion.outbox.outbox import Outbox
from dimse_ingestion.outbox.waiting import Entry

_LOG = logger(__name__)
_AFTER_ERROR = 1.0  # seconds until a queue that can't be read is read again


class Delivery:
    """Sends what one queue has until it is cancelled."""

    def __init__(self, queue: Outbox, repository: Repository) -> None:
        self._queue = queue
        self._repository = repository
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._order = SendOrder(queue.queue, repository.batch)
        self._idle = asyncio.Event()
        self.problem = ""
        """Why the last batch was not sent; empty after one that was."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send within the block; a batch under way at its end is given up, and stays queued."""
        try:
            async with background_tasks(self._run(), name="audit delivery"):
                try:
                    yield
                finally:
                    self._repository.abort()
        finally:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._repository.close)
            self._thread.shutdown()

    async def wait_until_sent(self, longest: float) -> None:
        """Wait until nothing waits, at most for `longest` seconds, and not while it is down.

        Messages that the repository refuses are left.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(longest):
                while self._order.waiting and not self.problem:
                    self._idle.clear()
                    await self._idle.wait()

    async def wait_until_empty(self) -> None:
        """Wait until everything is sent, however long that takes."""
        while len(self._queue.queue):
            self._idle.clear()
            await self._idle.wait()

    async def _run(self) -> None:
        while True:
            self._queue.added.clear()
            try:
                pause = await self._send_next()
            except Exception:  # noqa: BLE001 - the messages must be sent nevertheless
                _LOG.exception(
                    "Sending audit messages failed because of an error in this software."
                )
                pause = _AFTER_ERROR
            self._idle.set()
            if pause is None:
                await self._wait_until_due()
            elif pause:
                await asyncio.sleep(pause)

    async def _wait_until_due(self) -> None:
        """Wait until a message is added, or a refused one is due."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._order.next_due()):
                await self._queue.added.wait()

    async def _send_next(self) -> float | None:
        """Send a batch; return the seconds until the next one, None if nothing is due."""
        if not (entries := self._order.take(_now())):
            return None
        try:
            messages = [message for entry in entries if (message := await self._read(entry))]
            if messages:
                await self._send(messages)
        except NotSent as failure:
            self._note_failure(_left(entries), failure)
            return self._order.pause * (0.5 + random.random() / 2)  # noqa: S311 - jitter
        except BaseException as error:
            self._order.put_back(_left(entries))
            if not isinstance(error, OSError):
                raise
            _LOG.error("The audit queue can't be read.", reason=error.strerror)
            return _AFTER_ERROR
        sent = _left(entries)
        for entry in sent:
            self._queue.delivered(entry)
        if sent:
            self._order.note_taken(sent, _now())
        return 0.0

    async def _send(self, messages: list[bytes]) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._repository.send, messages)
        if self.problem:
            _LOG.info("The audit repository takes messages again.", waiting=len(self._queue.queue))
        self.problem = ""

    async def _read(self, entry: Entry) -> bytes:
        """Return a message; nothing for one that is damaged, which goes to the quarantine."""
        try:
            opened = await self._queue.open_entry(entry)
        except Damaged as damaged:
            await self._queue.quarantine(entry, str(damaged))
            return b""
        try:
            return opened.read(0, entry.size)
        finally:
            opened.close()

    def _note_failure(self, entries: Sequence[Entry], failure: NotSent) -> None:
        metrics.audit_failures.inc()
        if not failure.was_reached:
            self._order.note_unreached(entries)
        elif self._order.note_not_taken(entries, _now()):
            _LOG.warning(
                "The audit repository takes other messages but not this one; it is sent again.",
                reason=failure.comment,
                size=entries[0].size,
            )
        if not self._order.is_doubtful:
            return
        if failure.comment != self.problem:
            _LOG.warning(
                "The audit repository is not reached; messages wait and are sent again.",
                reason=failure.comment,
                waiting=len(self._queue.queue),
            )
        self.problem = failure.comment


def _left(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that are not done; a damaged one is in quarantine."""
    return [entry for entry in entries if not entry.done]


def _now() -> float:
    return asyncio.get_running_loop().time()

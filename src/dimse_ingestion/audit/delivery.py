"""The delivery of one audit queue: the oldest messages first, in batches, again after failures.

A batch is sent again when it may not have arrived, so a repository may get a message twice and
never misses one. The queue on disk is an `outbox`.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

from dimse_ingestion.audit.repository import NotSent, Repository
from dimse_ingestion.background_tasks import background_tasks
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.outbox.outbox import Damaged, Outbox
from dimse_ingestion.outbox.waiting import Entry

_LOG = logger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
_AFTER_ERROR = 1.0  # seconds until a queue that can't be read is read again


class Delivery:
    """Sends what one queue has until it is cancelled."""

    def __init__(self, queue: Outbox, repository: Repository) -> None:
        self._queue = queue
        self._repository = repository
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._failures = 0
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
        """Wait until nothing waits, at most for `longest` seconds, and not while it is down."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest):
                while len(self._queue.queue) and not self.problem:
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
            if pause:
                await asyncio.sleep(pause)
            elif not len(self._queue.queue):
                await self._queue.added.wait()

    async def _send_next(self) -> float:
        """Send a batch; return the seconds to wait before the next one."""
        # one alone after a failure: what is sent in vain is sent again
        entries = self._take(1 if self._failures else self._repository.batch)
        sent = False
        try:
            messages = [message for entry in entries if (message := await self._read(entry))]
            if messages:
                await self._send(messages)
            sent = True
        except NotSent as failure:
            return self._fail(failure.comment)
        except OSError as error:
            _LOG.error("The audit queue can't be read.", reason=error.strerror)
            return _AFTER_ERROR
        finally:
            for entry in entries:
                if not sent:
                    self._queue.queue.put_back(entry, 0.0)
                elif not entry.done:
                    self._queue.delivered(entry)
        return 0.0

    async def _send(self, messages: list[bytes]) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._repository.send, messages)
        if self.problem:
            _LOG.info("The audit repository takes messages again.", waiting=len(self._queue.queue))
        self.problem, self._failures = "", 0

    def _take(self, most: int) -> list[Entry]:
        now = asyncio.get_running_loop().time()
        entries: list[Entry] = []
        while len(entries) < most and (entry := self._queue.queue.take(now)) is not None:
            entries.append(entry)
        return entries

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

    def _fail(self, reason: str) -> float:
        metrics.audit_failures.inc()
        self._failures += 1
        if reason != self.problem:
            _LOG.warning(
                "The audit repository is not reached; messages wait and are sent again.",
                reason=reason,
                waiting=len(self._queue.queue),
            )
        self.problem = reason
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10))
        return longest * (0.5 + random.random() / 2)  # noqa: S311 - jitter

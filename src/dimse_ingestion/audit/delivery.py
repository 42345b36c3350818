"""The delivery of one audit queue: the oldest messages first, in batches, again after failures.

A batch is sent again when it may not have arrived, so a repository may get a message twice and
never misses one. A message that fails again and again lets others pass: the repository may close
the connection because of it. The queue on disk is an `outbox`.
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
from dimse_ingestion.outbox.opened_entry import Damaged
from dimse_ingestion.outbox.outbox import Outbox
from dimse_ingestion.outbox.waiting import Entry

_LOG = logger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
_ATTEMPTS_IN_ORDER = 3
"""Failures of a message that was sent alone after which later ones are sent before it."""
_AFTER_ERROR = 1.0  # seconds until a queue that can't be read is read again


class Delivery:
    """Sends what one queue has until it is cancelled."""

    def __init__(self, queue: Outbox, repository: Repository) -> None:
        self._queue = queue
        self._repository = repository
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._failures = 0
        self._sent = 0
        self._sent_when_set_aside: dict[int, int] = {}
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
            # one alone after a failure: what is sent in vain is sent again
            entries = self._take(1 if self._failures else self._repository.batch)
            if not entries:
                self._idle.set()
                await self._wait_until_due()
                continue
            try:
                pause = await self._send_entries(entries)
            except Exception:  # noqa: BLE001 - the messages must be sent nevertheless
                _LOG.exception(
                    "Sending audit messages failed because of an error in this software."
                )
                pause = _AFTER_ERROR
            self._idle.set()
            if pause:
                await asyncio.sleep(pause)

    async def _wait_until_due(self) -> None:
        """Wait until a message is added, or one that was set aside may be sent."""
        due = self._queue.queue.next_due()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._queue.added.wait()

    async def _send_entries(self, entries: list[Entry]) -> float:
        """Send a batch; return the seconds to wait before the next one."""
        due: float | None = 0.0
        try:
            messages = [message for entry in entries if (message := await self._read(entry))]
            if messages:
                await self._send(messages)
            due = None
        except NotSent as failure:
            due = self._due_after_failure(entries)
            return self._fail(failure.comment)
        except OSError as error:
            _LOG.error("The audit queue can't be read.", reason=error.strerror)
            return _AFTER_ERROR
        finally:
            for entry in entries:
                if due is not None:
                    self._queue.queue.put_back(entry, due)
                elif not entry.done:
                    self._queue.delivered(entry)
                    self._sent_when_set_aside.pop(entry.number, None)
        return 0.0

    def _due_after_failure(self, entries: list[Entry]) -> float:
        """Return when entries that failed are due: at once, or later for one that fails often."""
        if len(entries) > 1:
            return 0.0
        (entry,) = entries
        entry.failures += 1
        if entry.failures < _ATTEMPTS_IN_ORDER:
            return 0.0
        before = self._sent_when_set_aside.get(entry.number, self._sent)
        if self._sent > before:
            _LOG.warning(
                "The audit repository takes other messages but not this one; it is sent again.",
                attempts=entry.failures,
                size=entry.size,
            )
        self._sent_when_set_aside[entry.number] = self._sent
        return asyncio.get_running_loop().time() + LONGEST_PAUSE

    async def _send(self, messages: list[bytes]) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._repository.send, messages)
        if self.problem:
            _LOG.info("The audit repository takes messages again.", waiting=len(self._queue.queue))
        self.problem, self._failures = "", 0
        self._sent += len(messages)

    def _take(self, most: int) -> list[Entry]:
        now = asyncio.get_running_loop().time()
        entries: list[Entry] = []
        while len(entries) < most and (entry := self._queue.queue.take(now)) is not None:
            if entry.failures >= _ATTEMPTS_IN_ORDER and entries:
                self._queue.queue.put_back(entry, 0.0)
                break
            entries.append(entry)
            if entry.failures >= _ATTEMPTS_IN_ORDER:
                break  # alone: it would have the others sent again
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

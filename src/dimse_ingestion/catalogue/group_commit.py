"""Group commit: events that arrive while a commit is under way form the next one.

An fsync is the main cost of a commit, and all events of a batch share it. There is no timer: under
low load an event is committed at once, under high load batches grow by themselves. A request is
answered only after the commit with its event, because its 2xx means that the event is durable. What
is written is in `record`.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dimse_ingestion.catalogue.record import Outcome
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
Commit = Callable[[Sequence[ImageStoredEvent]], list[Outcome]]
_NEVER = ("", float("-inf"))
_NOT_READY_AFTER_FAILURE = 5.0  # seconds; then ready again, because only a new event shows a repair


@dataclass(frozen=True, slots=True)
class _Waiting:
    event: ImageStoredEvent
    outcome: "asyncio.Future[Outcome]"


class GroupCommit:
    """Commit events in batches of at most `most` by `commit`, which runs in its own thread."""

    def __init__(self, commit: Commit, most: int) -> None:
        self._commit = commit
        self._most = most
        self._waiting: deque[_Waiting] = deque()
        self._has_events = asyncio.Event()
        self._last_failure = _NEVER

    @property
    def problem(self) -> str:
        """Return why the last commit failed, if that was within the last seconds."""
        reason, failed_at = self._last_failure
        return reason if time.monotonic() - failed_at < _NOT_READY_AFTER_FAILURE else ""

    async def submit(self, event: ImageStoredEvent) -> Outcome:
        """Return the event's outcome once it is committed; raises Failure if that fails."""
        return await self._add(event)

    async def submit_all(
        self, events: Sequence[ImageStoredEvent]
    ) -> "list[Outcome | BaseException]":
        """Return the outcome of each event, or the Failure that it failed with."""
        futures = [self._add(event) for event in events]
        return await asyncio.gather(*futures, return_exceptions=True)

    async def run(self) -> None:
        """Commit submitted events until cancelled; events that still wait then fail."""
        with ThreadPoolExecutor(1, "commit") as executor:
            try:
                while True:
                    await self._has_events.wait()
                    if batch := self._next_batch():
                        await self._commit_batch(batch, executor)
            finally:
                self._fail(self._waiting, Unavailable("The catalogue is shutting down."))

    def _next_batch(self) -> list[_Waiting]:
        """Return the next events; those whose request was cancelled meanwhile are dropped."""
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self._most:
            each = self._waiting.popleft()
            if not each.outcome.done():
                batch.append(each)
        if not self._waiting:
            self._has_events.clear()
        return batch

    def _add(self, event: ImageStoredEvent) -> "asyncio.Future[Outcome]":
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(event, future))
        self._has_events.set()
        return future

    async def _commit_batch(self, batch: list[_Waiting], executor: ThreadPoolExecutor) -> None:
        metrics.catalogue_commit_events.observe(len(batch))
        loop = asyncio.get_running_loop()
        try:
            events = [each.event for each in batch]
            outcomes = await loop.run_in_executor(executor, self._commit, events)
        except asyncio.CancelledError:
            self._fail(batch, Unavailable("The catalogue is shutting down."))
            raise
        except Failure as failure:
            _LOG.warning("Events were not committed.", events=len(batch), reason=failure.comment)
            self._fail(batch, failure)
            return
        except Exception as error:  # noqa: BLE001 - every waiting request must get an answer
            _LOG.exception("Events could not be committed.", events=len(batch))
            self._fail(batch, Unavailable(f"The catalogue failed ({type(error).__name__})."))
            return
        self._last_failure = _NEVER
        for each, outcome in zip(batch, outcomes, strict=True):
            if not each.outcome.done():
                each.outcome.set_result(outcome)

    def _fail(self, batch: Sequence[_Waiting], failure: Failure) -> None:
        self._last_failure = (failure.comment, time.monotonic())
        for each in batch:
            if not each.outcome.done():
                each.outcome.set_exception(failure)

"""Events gathered into commits: while one is under way the next fills up.

So that a commit's cost, an fsync, is shared by all who wait for it. Each waiter is answered only
after the commit that holds its event. What a commit does is `recording`'s matter.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dimse_ingestion.catalogue.record import Outcome
from dimse_ingestion.dicom.failure import DimseFailure, OutOfResources
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
Commit = Callable[[Sequence[ImageStoredEvent]], list[Outcome]]
_NEVER = ("", float("-inf"))
_TROUBLE_LASTS = 5.0  # seconds; then events are let in again, to see


@dataclass(frozen=True, slots=True)
class _Waiting:
    event: ImageStoredEvent
    outcome: "asyncio.Future[Outcome]"


class GroupCommit:
    """Commits by `commit`, which runs in a thread of its own, at most `most` events at once."""

    def __init__(self, commit: Commit, most: int) -> None:
        self._commit = commit
        self._most = most
        self._waiting: deque[_Waiting] = deque()
        self._news = asyncio.Event()
        self._failed = _NEVER

    @property
    def trouble(self) -> str:
        """Why the last commit failed, if that was within the last seconds."""
        why, when = self._failed
        return why if time.monotonic() - when < _TROUBLE_LASTS else ""

    async def submit(self, event: ImageStoredEvent) -> Outcome:
        """The outcome once it is committed; raises DimseFailure when it could not be."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(event, future))
        self._news.set()
        return await future

    async def run(self) -> None:
        """Commit what comes, until cancelled; what still waits then fails."""
        with ThreadPoolExecutor(1, "commit") as executor:
            try:
                while True:
                    await self._news.wait()
                    if batch := self._next_batch():
                        await self._commit_batch(batch, executor)
            finally:
                self._fail(self._waiting, OutOfResources("The catalogue is shutting down."))

    def _next_batch(self) -> list[_Waiting]:
        """The next events that somebody still waits for."""
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self._most:
            each = self._waiting.popleft()
            if not each.outcome.done():
                batch.append(each)
        if not self._waiting:
            self._news.clear()
        return batch

    async def _commit_batch(self, batch: list[_Waiting], executor: ThreadPoolExecutor) -> None:
        metrics.catalogue_commit_events.observe(len(batch))
        loop = asyncio.get_running_loop()
        try:
            events = [each.event for each in batch]
            outcomes = await loop.run_in_executor(executor, self._commit, events)
        except asyncio.CancelledError:
            self._fail(batch, OutOfResources("The catalogue is shutting down."))
            raise
        except DimseFailure as failure:
            _LOG.warning("Events were not committed.", events=len(batch), why=failure.comment)
            self._fail(batch, failure)
            return
        except Exception as error:  # noqa: BLE001 - every waiter must hear of it
            _LOG.exception("Events could not be committed.", events=len(batch))
            self._fail(batch, OutOfResources(f"The catalogue failed ({type(error).__name__})."))
            return
        self._failed = _NEVER
        for each, outcome in zip(batch, outcomes, strict=True):
            if not each.outcome.done():
                each.outcome.set_result(outcome)

    def _fail(self, batch: Sequence[_Waiting], failure: DimseFailure) -> None:
        self._failed = (failure.comment, time.monotonic())
        for each in batch:
            if not each.outcome.done():
                each.outcome.set_exception(failure)

"""Events gathered into commits: while one is under way the next fills up.

So that a commit's cost, an fsync, is shared by all who wait for it. Each waiter is answered only
after the commit that holds its event.
"""

import asyncio
from collections.abc import Callable, Sequence

from dimse_ingestion.catalogue.recording import Outcome
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
Commit = Callable[[Sequence[ImageStoredEvent]], list[Outcome]]
_Waiting = tuple[ImageStoredEvent, "asyncio.Future[Outcome]"]


class Committing:
    """Commits by `commit`, which runs in a thread, at most `most` events at once."""

    def __init__(self, commit: Commit, most: int) -> None:
        self._commit = commit
        self._most = most
        self._waiting: list[_Waiting] = []
        self._news = asyncio.Event()

    async def committed(self, event: ImageStoredEvent) -> Outcome:
        """The outcome once it is committed; raises DimseFailure when it could not be."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, future))
        self._news.set()
        return await future

    async def run(self) -> None:
        """Commit what comes, until cancelled."""
        while True:
            await self._news.wait()
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if not self._waiting:
                self._news.clear()
            await self._commit_batch([each for each in batch if not each[1].done()])

    async def _commit_batch(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        metrics.catalogue_commit_events.observe(len(batch))
        try:
            outcomes = await asyncio.to_thread(self._commit, [event for event, _ in batch])
        except Exception as error:  # noqa: BLE001 - every waiter must hear of it
            self._fail(batch, error)
            return
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)

    def _fail(self, batch: list[_Waiting], error: Exception) -> None:
        if not isinstance(error, DimseFailure):
            _LOG.exception("Events could not be committed.", events=len(batch))
        for _, future in batch:
            if not future.done():
                future.set_exception(error)

"""Group commit: events that arrive while a commit is under way form the next one.

An fsync is the main cost of a commit, and all events of a batch share it. There is no timer: under
low load an event is committed at once, under high load batches grow by themselves. A request is
answered only after the commit with its event, because its 2xx means that the event is durable. What
is written is in `record`.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

from dimse_ingestion.catalogue.record import Outcome
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
Commit = Callable[[Sequence[ImageStoredEvent]], list[Outcome]]
_NEVER = ("", float("-inf"))
_NOT_READY_AFTER_FAILURE = 5.0  # seconds; then ready again, because only a new event shows a repair


class _Request:
    """The events of a request, and their outcomes as they come."""

    __slots__ = ("_left", "_outcomes", "done")

    def __init__(self, events: int) -> None:
        self.done: asyncio.Future[list[Outcome | Failure]]
        self.done = asyncio.get_running_loop().create_future()
        self._outcomes: list[Outcome | Failure] = [_shutting_down()] * events
        self._left = events
        if not events:
            self.done.set_result([])

    def set(self, number: int, outcome: Outcome | Failure) -> None:
        """Set the outcome of the event with this number, once."""
        self._outcomes[number] = outcome
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(self._outcomes)


class _Waiting(NamedTuple):
    event: ImageStoredEvent
    request: _Request
    number: int


class GroupCommit:
    """Commit events in batches of at most `most` by `commit`, which runs in its own thread.

    The thread takes a batch from a queue and gives its outcomes back in one call to the event loop:
    an executor's futures would cost more than the statements of one event.
    """

    def __init__(self, commit: Commit, most: int) -> None:
        self._commit = commit
        self._most = most
        self._waiting: deque[_Waiting] = deque()
        self._batches: SimpleQueue[list[_Waiting] | None] = SimpleQueue()
        self._committing: Sequence[_Waiting] = ()
        self._is_ready = False  # to start a commit: `run` runs, and none is under way or scheduled
        self._is_closed = False
        self._last_failure = _NEVER

    @property
    def problem(self) -> str:
        """Return why the last commit failed, if that was within the last seconds."""
        reason, failed_at = self._last_failure
        return reason if time.monotonic() - failed_at < _NOT_READY_AFTER_FAILURE else ""

    def submit(
        self, events: Sequence[ImageStoredEvent]
    ) -> "asyncio.Future[list[Outcome | Failure]]":
        """Return what will be the outcome of each event, or the Failure that it failed with.

        Events of a request that is cancelled before their commit are dropped.
        """
        request = _Request(len(events))
        self._waiting += [_Waiting(each, request, number) for number, each in enumerate(events)]
        if self._is_closed:
            self._fail_waiting()
        elif self._is_ready:
            self._schedule()
        return request.done

    async def run(self) -> None:
        """Commit submitted events until cancelled; events that still wait then fail."""
        loop = asyncio.get_running_loop()
        thread = Thread(target=self._commit_batches, args=(loop,), name="commit")
        thread.start()
        try:
            self._schedule()
            await loop.create_future()
        finally:
            self._is_ready, self._is_closed = False, True
            self._fail_waiting()
            self._batches.put(None)
            thread.join()
            self._fail(self._committing, _shutting_down())

    def _schedule(self) -> None:
        """Start a commit in the event loop's next turn, so that what arrives in this one joins."""
        self._is_ready = False
        asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        if self._is_closed:
            return
        if batch := self._next_batch():
            metrics.catalogue_commit_events.observe(len(batch))
            self._committing = batch
            self._batches.put(batch)
        else:
            self._is_ready = True

    def _next_batch(self) -> list[_Waiting]:
        """Return the next events; those whose request was cancelled meanwhile are dropped."""
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self._most:
            each = self._waiting.popleft()
            if not each.request.done.done():
                batch.append(each)
        return batch

    def _commit_batches(self, loop: asyncio.AbstractEventLoop) -> None:
        """Commit batches in the thread until there is no more."""
        while (batch := self._batches.get()) is not None:
            outcomes = self._outcomes([each.event for each in batch])
            loop.call_soon_threadsafe(self._finish, batch, outcomes)

    def _outcomes(self, events: Sequence[ImageStoredEvent]) -> list[Outcome] | Failure:
        try:
            return self._commit(events)
        except Failure as failure:
            _LOG.warning("Events were not committed.", events=len(events), reason=failure.comment)
            return failure
        except Exception as error:  # noqa: BLE001 - every waiting request must get an answer
            _LOG.exception("Events could not be committed.", events=len(events))
            return Unavailable(f"The catalogue failed ({type(error).__name__}).")

    def _finish(self, batch: Sequence[_Waiting], outcomes: list[Outcome] | Failure) -> None:
        """Set the outcomes of a batch and start the next."""
        if self._is_closed:
            return
        self._committing = ()
        if isinstance(outcomes, Failure):
            self._fail(batch, outcomes)
        else:
            self._last_failure = _NEVER
            for each, outcome in zip(batch, outcomes, strict=True):
                each.request.set(each.number, outcome)
        self._start()

    def _fail_waiting(self) -> None:
        self._fail(self._waiting, _shutting_down())
        self._waiting.clear()

    def _fail(self, batch: Iterable[_Waiting], failure: Failure) -> None:
        self._last_failure = (failure.comment, time.monotonic())
        for each in batch:
            each.request.set(each.number, failure)


def _shutting_down() -> Unavailable:
    return Unavailable("The catalogue is shutting down.")

"""The retry loop: the attempts of an operation, one after the other, until one has a result.

Every attempt is a new open with the same operation id, so that a replica recognizes an operation
that it already performs or has finished. The messages of an attempt are in `attempt`, the
pauses in `backoff`.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from dimse_ingestion.observability import metrics, tracing
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.transport.carrier import Carrier
from dimse_ingestion.transport.client.attempt import Attempt
from dimse_ingestion.transport.client.backoff import NO_TIME, RetryBudget
from dimse_ingestion.transport.client.inboxes import Inboxes
from dimse_ingestion.transport.client.replica_search import ReplicaSearch
from dimse_ingestion.transport.protocol.codec import Message, Reject, Result
from dimse_ingestion.transport.protocol.state import NO_ANSWER, AttemptFailed, Outcome
from dimse_ingestion.transport.protocol.subjects import Subjects
from dimse_ingestion.transport.protocol.timeouts import Timeouts

_LOG = logger(__name__)
FinalResult = Result | Reject
T = TypeVar("T")


class RetriesExhausted(Exception):
    """No attempt had a final result, for the reason of the last one."""


@dataclass(frozen=True, slots=True)
class Operation:
    """The properties that all attempts of one operation share."""

    service: str
    operation_id: str
    deadline: float
    """Seconds after the start of the operation in which attempts may start."""
    limits_attempts: bool = True
    """True if the deadline also ends a running attempt."""


class Retrier:
    """Runs the attempts of all operations of one proxy."""

    def __init__(
        self,
        carrier: Carrier,
        subjects: Subjects,
        inboxes: Inboxes,
        timeouts: Timeouts,
        space: str = "",
    ) -> None:
        self.carrier, self.inboxes, self.timeouts = carrier, inboxes, timeouts
        self._space = space
        self._subjects = subjects
        self._search = ReplicaSearch(carrier, subjects, inboxes, timeouts)

    async def close(self) -> None:
        """End what runs beside the operations."""
        await self._search.close()

    def now(self) -> float:
        """Return the event loop's time in seconds."""
        return asyncio.get_running_loop().time()

    async def run_attempt(
        self, operation: Operation, attempt: Attempt, opening: Message
    ) -> Outcome:
        """Run one attempt, from its open to its outcome."""
        service = self._subjects.service(operation.service)
        with self.inboxes.registered(attempt):
            return await attempt.run(service, opening, tracing.headers())

    async def run(
        self,
        operation: Operation,
        attempt: Callable[[], Awaitable[Outcome]],
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> FinalResult:
        """Run attempts until one has a final result, and return it.

        `prepare` is called before each attempt; its time does not count as one in which no replica
        answered. A transient failure is returned only when there is no time for another attempt.
        Raises RetriesExhausted when no attempt had a result.
        """
        budget = RetryBudget(self.timeouts, self.now(), operation.deadline, random.random)
        failed: Result | None = None
        while True:
            outcome = await self._run_prepared(operation, attempt, prepare, budget)
            if isinstance(outcome, Reject):
                return outcome
            if isinstance(outcome, Result):
                if not _is_transient(outcome):
                    return outcome
                failed = outcome
            pause = budget.pause(outcome, self.now(), self.inboxes.answered_at)
            if pause is None:
                return _last_result(failed, budget)
            self.record_retry(operation, outcome, pause)
            if isinstance(outcome, AttemptFailed) and outcome.reason == NO_ANSWER:
                self._search.start()
            await self.inboxes.pause(pause)

    def record_retry(
        self, operation: Operation, outcome: AttemptFailed | Result, pause: float
    ) -> None:
        """Count and log that an operation is tried again after `pause` seconds."""
        metrics.transport_retries.labels(operation.service, self._space).inc()
        _log_retry(operation, outcome, pause)

    async def _run_prepared(
        self,
        operation: Operation,
        attempt: Callable[[], Awaitable[Outcome]],
        prepare: Callable[[], Awaitable[None]] | None,
        budget: RetryBudget,
    ) -> Outcome:
        if prepare is not None:
            started = self.now()
            ended = await _run_within_deadline(prepare, budget, operation)
            budget.exclude(self.now() - started)
            if ended is not None:
                return ended
        return await _run_within_deadline(attempt, budget, operation)


async def _run_within_deadline(
    attempt: Callable[[], Awaitable[T]], budget: RetryBudget, operation: Operation
) -> T | AttemptFailed:
    try:
        async with asyncio.timeout_at(budget.deadline_at if operation.limits_attempts else None):
            return await attempt()
    except TimeoutError:
        return AttemptFailed(NO_TIME, replica_answered=False)


def _is_transient(result: Result) -> bool:
    ended = result.store or result.fetch
    return ended is not None and ended.transient


def _last_result(failed: Result | None, budget: RetryBudget) -> Result:
    """Return the last failure that a replica reported: it says more than a later timeout."""
    if failed is None:
        raise RetriesExhausted(budget.reason)
    return failed


def _log_retry(operation: Operation, outcome: AttemptFailed | Result, pause: float) -> None:
    failed = outcome.reason if isinstance(outcome, AttemptFailed) else _comment(outcome)
    _LOG.info(
        "The operation is retried.",
        operation_id=operation.operation_id,
        operation=operation.service,
        reason=failed,
        pause=round(pause, 3),
    )


def _comment(result: Result) -> str:
    ended = result.store or result.fetch
    return ended.comment if ended else ""

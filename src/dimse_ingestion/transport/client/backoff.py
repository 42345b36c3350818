"""The exponential back-off between the attempts of an operation, and the end of its retries.

Pure: the outcome of an attempt goes in, a pause or None comes out. Retries end when no replica
answered for the open budget, and at the deadline; a replica that is busy or fails temporarily is
retried until the deadline.
"""

from collections.abc import Callable

from dimse_ingestion.transport.protocol.codec import Result
from dimse_ingestion.transport.protocol.state import AttemptFailed
from dimse_ingestion.transport.protocol.timeouts import Timeouts


class RetryBudget:
    """The retries that one operation has left; `random` returns numbers from 0 to 1."""

    def __init__(
        self, timeouts: Timeouts, now: float, deadline: float, random: Callable[[], float]
    ) -> None:
        self.deadline_at = now + deadline
        self._timeouts = timeouts
        self._random = random
        self._reached = now
        self._failures = 0
        self.reason = "No answer in time"
        """The reason why the last attempt had no result."""

    def exclude(self, seconds: float) -> None:
        """Exclude seconds in which nothing was sent from the open budget, not from the deadline."""
        self._reached += seconds

    def pause(self, failed: AttemptFailed | Result, now: float) -> float | None:
        """Return the seconds until the next attempt, or None when there are no more attempts.

        A pause that would pass the end is shortened: the last attempt then starts as late as it
        can still succeed, when an unreachable service may have returned.
        """
        retry_after = 0.0
        if isinstance(failed, AttemptFailed):
            self.reason, retry_after = failed.reason, failed.retry_after
        if isinstance(failed, Result) or failed.replica_answered:
            self._reached = now
        pause = self._jittered(retry_after)
        self._failures += 1
        budget_ends = self._reached + self._timeouts.open_budget
        if now + pause < min(self.deadline_at, budget_ends):
            return pause
        shortened = min(self.deadline_at - self._timeouts.last_attempt_margin, budget_ends) - now
        return shortened if shortened >= self._timeouts.first_backoff else None

    def _jittered(self, retry_after: float) -> float:
        growing = self._timeouts.first_backoff * 2.0 ** min(self._failures, 16)
        return (retry_after + min(self._timeouts.max_backoff, growing)) * (0.5 + self._random() / 2)

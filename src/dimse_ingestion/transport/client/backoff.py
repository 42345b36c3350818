"""The exponential back-off between the attempts of an operation, and the end of its retries.

Pure: the outcome of an attempt goes in, a pause or None comes out. Retries end when no replica
answered this proxy for the open budget, and at the deadline; a replica that is busy or fails
temporarily is retried until the deadline. So is a replica that hangs while others answer: the
server gives each open to any member of the queue group, and another one may get the next.
"""

from collections.abc import Callable

from dimse_ingestion.transport.protocol.codec import Result
from dimse_ingestion.transport.protocol.state import NO_ANSWER, NO_REPLICA, AttemptFailed
from dimse_ingestion.transport.protocol.timeouts import Timeouts

NO_TIME = "No answer in time"
"""The reason of an attempt that the deadline of its operation ended."""
_NEVER_ANSWERED = float("-inf")


class RetryBudget:
    """The retries that one operation has left; `random` returns numbers from 0 to 1."""

    def __init__(
        self, timeouts: Timeouts, now: float, deadline: float, random: Callable[[], float]
    ) -> None:
        self.deadline_at = now + deadline
        self._deadline = deadline
        self._timeouts = timeouts
        self._random = random
        self._reached = now
        self._failures = 0
        self.reason = NO_TIME
        """Why there is no result: what the last attempt failed of, and what to check."""

    def exclude(self, seconds: float) -> None:
        """Exclude seconds in which nothing was sent from the open budget, not from the deadline."""
        self._reached += seconds

    def pause(
        self,
        failed: AttemptFailed | Result,
        now: float,
        answered_at: float = _NEVER_ANSWERED,
    ) -> float | None:
        """Return the seconds until the next attempt, or None when there are no more attempts.

        A pause that would pass the end is shortened: the last attempt then starts as late as it
        can still succeed, when an unreachable service may have returned. `answered_at` is when any
        replica last answered any operation of this proxy. It does not count when the server reports
        that nobody subscribes to this operation, as those of an older release do not.
        """
        retry_after = 0.0
        is_silence = isinstance(failed, AttemptFailed) and failed.reason == NO_ANSWER
        if isinstance(failed, AttemptFailed):
            retry_after = failed.retry_after
            if failed.reason != NO_TIME or self.reason != NO_ANSWER:  # which says more
                self.reason = failed.reason
        if isinstance(failed, Result) or failed.replica_answered:
            self._reached = now
        elif failed.reason != NO_REPLICA:
            self._reached = max(self._reached, answered_at)
        pause = self._jittered(retry_after)
        others_answer = answered_at > now - self._timeouts.open_budget
        if not (others_answer and is_silence):  # the attempt itself was pause enough
            self._failures += 1
        budget_ends = self._reached + self._timeouts.open_budget
        if now + pause < min(self.deadline_at, budget_ends):
            return pause
        shortened = min(self.deadline_at - self._timeouts.last_attempt_margin, budget_ends) - now
        if shortened >= self._timeouts.first_backoff:
            return shortened
        self._explain(others_answer=others_answer)
        return None

    def _explain(self, *, others_answer: bool) -> None:
        """Make the reason of the last attempt one of the operation, with what to check."""
        if self.reason == NO_REPLICA:
            self.reason = (
                "No replica is subscribed: start the ingestion service, or correct the subject root"
            )
        elif self.reason == NO_ANSWER and others_answer:
            self.reason = (
                "Replicas of the ingestion service answer, but none took this operation within "
                f"{self._deadline:.0f} s: restart one that hangs, add some if they are overloaded"
            )
        elif self.reason == NO_ANSWER:
            self.reason = (
                f"No replica of the ingestion service answered for {self._timeouts.open_budget:.0f}"
                " s: see whether they hang (log, CPU), and the NATS permissions of both users"
            )

    def _jittered(self, retry_after: float) -> float:
        growing = self._timeouts.first_backoff * 2.0 ** min(self._failures, 16)
        return (retry_after + min(self._timeouts.max_backoff, growing)) * (0.5 + self._random() / 2)

"""When an operation is tried again, after how long, and when that ends.

Pure: the outcome of an attempt goes in, a pause or the end comes out. Nobody reaching a replica
for the open budget ends it, and so does the operation's deadline; a replica that is busy or fails
for now is tried until the deadline.
"""

from collections.abc import Callable

from dimse_ingestion.transport.frames import Result
from dimse_ingestion.transport.session import Elsewhere
from dimse_ingestion.transport.times import Times


class Patience:
    """One operation's; `random` gives numbers from 0 to 1."""

    def __init__(
        self, times: Times, now: float, deadline: float, random: Callable[[], float]
    ) -> None:
        self.ends = now + deadline
        self._times = times
        self._random = random
        self._reached = now
        self._failures = 0
        self.because = "No answer in time"
        """Why the last attempt had no result."""

    def pause(self, failed: Elsewhere | Result, now: float) -> float | None:
        """Seconds until the next attempt; None when there is to be none."""
        after = 0.0
        if isinstance(failed, Elsewhere):
            self.because, after = failed.because, failed.after
        if isinstance(failed, Result) or failed.reached:
            self._reached = now
        pause = self._jittered(after)
        self._failures += 1
        over = now + pause >= min(self.ends, self._reached + self._times.open_budget)
        return None if over else pause

    def reached(self, now: float) -> None:
        """A replica has answered."""
        self._reached = now

    @property
    def next_end(self) -> float:
        """Until when a connection may be waited for."""
        return min(self.ends, self._reached + self._times.open_budget)

    def _jittered(self, after: float) -> float:
        growing = self._times.first_pause * 2.0 ** min(self._failures, 16)
        return (after + min(self._times.longest_pause, growing)) * (0.5 + self._random() / 2)

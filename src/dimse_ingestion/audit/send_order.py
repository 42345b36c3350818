"""Which audit messages are sent next, and when again after a failure; without clock and network.

Messages are sent in order, in batches, and wait while the repository is not reached. A repository
may also hang up at one message each time, for example because of its length, and it does not say
which. So a batch that was not taken is halved until the message is alone. What fails alone lets
others pass: it is either the message's fault or the repository's. When another message has been
taken, it is sent again, and is refused if it fails again. Of the refused messages one is sent each
minute.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from dimse_ingestion.outbox.waiting import Entry, WaitingQueue

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between two attempts while the repository is not reached, or takes nothing."""
REFUSED_INTERVAL = 60.0
"""Seconds between two attempts of refused messages."""
_SHORT_PAUSE = 0.05  # seconds after a failure that may be a message's
_RECENT = 3.0  # seconds for which a message that was taken shows that the repository works
_DOUBTFUL = 3
"""Messages that failed, each alone, after which the repository is doubted."""


@dataclass(frozen=True, slots=True)
class _Passed:
    """A message that failed alone, and how many had been taken before."""

    entry: Entry
    taken: int


class SendOrder:
    """The order of one queue, in batches of at most `batch`."""

    def __init__(self, queue: WaitingQueue, batch: int) -> None:
        self._queue = queue
        self._batch = self._size = self._passed_size = batch
        self._passed: deque[_Passed] = deque()
        self._passed_are_next = True
        self._refused: deque[Entry] = deque()
        self._refused_due = float("-inf")
        self._attempt: list[_Passed] = []
        self._is_of_refused = False
        self._taken = 0
        self._taken_at = float("-inf")
        self._failures = 0
        self._unreached = 0
        self.pause = 0.0
        """Seconds to wait before the next attempt."""

    @property
    def waiting(self) -> int:
        """The messages that wait, without those that are refused."""
        return len(self._queue) - len(self._refused) - self._is_of_refused

    @property
    def is_doubtful(self) -> bool:
        """True if the repository is not reached, or has hung up at several messages in a row."""
        return self._unreached > 0 or self._failures >= _DOUBTFUL

    def take(self, now: float) -> list[Entry]:
        """Return the next batch; empty if nothing is due."""
        self._attempt, self._is_of_refused = [], False
        if self._refused and self._refused_due <= now:
            self._is_of_refused = True
            return [self._refused.popleft()]
        is_their_turn, self._passed_are_next = self._passed_are_next, True
        if self._passed and self._passed[0].taken < self._taken and is_their_turn:
            self._passed_are_next = False
            return self._take_passed()
        return self._take_waiting(now) or self._take_passed()

    def next_due(self) -> float | None:
        """Return when something is due although nothing was added; None if only that helps."""
        return self._refused_due if self._refused else None

    def note_taken(self, entries: Sequence[Entry], now: float) -> None:
        """Note that the repository has taken a batch, which is no longer in the queue."""
        if self._is_of_refused:
            self._refused_due = now
        elif self._attempt:
            self._passed_size = min(self._batch, 2 * self._passed_size)
        else:
            self._size = min(self._batch, 2 * self._size)
        self._attempt, self._is_of_refused = [], False
        self._taken += len(entries)
        self._taken_at = now
        self._failures = self._unreached = 0
        self.pause = 0.0

    def note_unreached(self, entries: Sequence[Entry]) -> None:
        """Put back a batch of which nothing was sent."""
        self.put_back(entries)
        self._unreached += 1
        self.pause = _pause(self._unreached)

    def note_not_taken(self, entries: Sequence[Entry], now: float) -> bool:
        """Put back a batch that was sent and may not have arrived.

        Return True if it is one message, which is refused from now on.
        """
        self._unreached, self.pause = 0, _SHORT_PAUSE
        if self._is_of_refused:
            self._refused.extend(entries)
            self._refused_due = now + REFUSED_INTERVAL
            self._is_of_refused = False
            return False
        if len(entries) > 1:
            if self._attempt:
                self._passed_size = len(entries) // 2
            else:
                self._size = len(entries) // 2
            self.put_back(entries)
            return False
        earlier, self._attempt = self._attempt, []
        if any(each.entry in entries and each.taken < self._taken for each in earlier):
            self._refused.extend(entries)
            self._refused_due = max(self._refused_due, now + REFUSED_INTERVAL)
            return True
        self._passed += [_Passed(entry, self._taken) for entry in entries]
        self._failures += 1
        if self._failures >= _DOUBTFUL and now - self._taken_at > _RECENT:
            self.pause = _pause(self._failures - _DOUBTFUL + 1)
        return False

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Put back a batch that was not sent to where it was."""
        if self._is_of_refused:
            self._refused.extendleft(entries)
        elif self._attempt:
            left = [each for each in self._attempt if not each.entry.done]
            self._passed.extendleft(reversed(left))
        else:
            for entry in entries:
                self._queue.put_back(entry, float("-inf"))
        self._attempt, self._is_of_refused = [], False

    def _take_passed(self) -> list[Entry]:
        """Return the next of those that were passed."""
        count = min(self._passed_size, len(self._passed))
        self._attempt = [self._passed.popleft() for _ in range(count)]
        return [each.entry for each in self._attempt]

    def _take_waiting(self, now: float) -> list[Entry]:
        """Return the oldest of those that never failed alone.

        In doubt it is every other time the newest: others may all be refused.
        """
        is_doubted = self._failures >= _DOUBTFUL and self._failures % 2
        if is_doubted and (newest := self._queue.take_newest(now)) is not None:
            return [newest]
        entries: list[Entry] = []
        while len(entries) < self._size and (entry := self._queue.take(now)) is not None:
            entries.append(entry)
        return entries


def _pause(failures: int) -> float:
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))

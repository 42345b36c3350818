"""Which audit messages are sent next, and when again after a failure; without clock and network.

Messages are sent in order, in batches, and wait while the repository is not reached. A repository
may also hang up at one message each time, for example because of its length, and it does not say
which. So a batch that was not taken is halved until the message is alone. One that fails alone
again and again is set aside, and others are tried. When one of them is taken, those that were set
aside are sent at once, each alone: what fails then is refused, and is sent again at growing
intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dimse_ingestion.outbox.waiting import Entry, WaitingQueue

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between two attempts while the repository is not reached."""
LONGEST_INTERVAL = 3600.0
"""Seconds between two attempts of a message at which the repository hangs up."""
_LONGEST_SEARCH_PAUSE = 5.0  # seconds between two attempts while a message is sought that is taken
_RETRY_INTERVAL = 5.0  # seconds between attempts of messages that are set aside
_ATTEMPTS = 3  # of the first message that fails alone; others that fail meanwhile have one


@dataclass(slots=True)
class _SetAside:
    """A message that lets others pass until it is due."""

    due: float = float("-inf")
    others_are_taken: bool = False
    """True if another message was taken since it was set aside."""
    refusals: int = 0
    """How often it failed though others were taken."""


class SendOrder:
    """The order of one queue, in batches of at most `batch`."""

    def __init__(self, queue: WaitingQueue, batch: int) -> None:
        self._queue = queue
        self._batch = self._size = batch
        self._failures = 0
        self._set_aside: dict[int, _SetAside] = {}
        self._next_retry = float("-inf")
        self.pause = 0.0
        """Seconds to wait before the next attempt."""

    @property
    def waiting(self) -> int:
        """The messages that wait, without those at which the repository hangs up."""
        return len(self._queue) - sum(each.refusals > 0 for each in self._set_aside.values())

    def take(self, now: float) -> list[Entry]:
        """Return the next batch; empty if nothing is due."""
        entries: list[Entry] = []
        while len(entries) < self._size and (entry := self._queue.take(now)) is not None:
            if (aside := self._set_aside.get(entry.number)) is None:
                entries.append(entry)
            elif (due := max(aside.due, self._next_retry)) > now:
                self._queue.put_back(entry, due)
            elif entries:
                self._queue.put_back(entry, now)
                break
            else:
                return [entry]
        return entries

    def note_taken(self, entries: Sequence[Entry]) -> None:
        """Note that the repository has taken a batch, which is no longer in the queue."""
        self._failures, self.pause = 0, 0.0
        self._size = min(self._batch, 2 * self._size)
        for entry in entries:
            self._set_aside.pop(entry.number, None)
        released = [each for each in self._set_aside.values() if not each.others_are_taken]
        for each in released:
            each.others_are_taken, each.due = True, float("-inf")
        if released:
            self._queue.release_delayed()

    def note_unreached(self, entries: Sequence[Entry]) -> None:
        """Put back a batch of which nothing was sent."""
        self._put_back(entries)
        self._failures += 1
        self.pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10))

    def note_not_taken(self, entries: Sequence[Entry], now: float) -> bool:
        """Put back a batch that was sent and may not have arrived.

        Return True if it is one message at which the repository hangs up, while it takes others.
        """
        self.pause = min(FIRST_PAUSE, LONGEST_PAUSE)
        if len(entries) > 1:
            self._size = max(1, len(entries) // 2)
            self._put_back(entries)
            return False
        (entry,) = entries
        aside = self._set_aside.get(entry.number)
        if aside is not None and aside.others_are_taken:
            aside.refusals += 1
            self._put_aside(entry, aside, now, _interval(aside.refusals))
            return True
        self._size = 1
        self._failures += 1
        self.pause = min(_LONGEST_SEARCH_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10))
        entry.failures += 1
        if aside is None and entry.failures < (1 if self._set_aside else _ATTEMPTS):
            self._put_back(entries)
        else:
            self._put_aside(entry, aside or _SetAside(), now, LONGEST_PAUSE)
        return False

    def _put_back(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._queue.put_back(entry, float("-inf"))

    def _put_aside(self, entry: Entry, aside: _SetAside, now: float, interval: float) -> None:
        self._set_aside[entry.number] = aside
        self._next_retry = now + self.pause + _RETRY_INTERVAL
        aside.due = now + interval
        self._queue.put_back(entry, aside.due)


def _interval(refusals: int) -> float:
    return min(LONGEST_INTERVAL, LONGEST_PAUSE * 2.0 ** min(refusals - 1, 10))

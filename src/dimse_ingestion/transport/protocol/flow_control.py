"""Positions of a stream that may lose, double and reorder: what was sent, granted and taken.

The positions are bytes of a data set for a C-STORE and batches of matches for a C-FIND. Credits
and resumes are absolute, so that a lost one heals with the next and a stale one does no harm.
Nothing here knows time or messages.
"""

from enum import Enum, auto


class SendWindow:
    """The sending end: `next` goes up to `limit`, and back when something was lost."""

    def __init__(self) -> None:
        self.next = 0
        self.limit = 0
        self.confirmed = 0
        """Everything before has reached the other end."""

    def apply_credit(self, expected: int, limit: int) -> None:
        """Learn what the other end has and takes."""
        self.confirmed = max(self.confirmed, expected)
        self.limit = max(self.limit, limit)
        self.next = max(self.next, expected)

    def apply_resume(self, expected: int, limit: int) -> bool:
        """Go on from `expected`; false when the request is older than what is known."""
        fresh = expected >= self.confirmed
        self.apply_credit(expected, limit)
        if fresh:
            self.next = expected
        return fresh

    @property
    def available(self) -> int:
        """Positions that may be sent now."""
        return max(0, self.limit - self.next)


class ArrivalAction(Enum):
    """What to do with something that arrived."""

    ACCEPT = auto()
    IGNORE = auto()
    RESUME = auto()


class ReceiveWindow:
    """The receiving end: takes only what is next."""

    def __init__(self) -> None:
        self.expected = 0
        self.limit = 0
        self._furthest_gap = -1

    def take(self, position: int, length: int) -> ArrivalAction:
        """Judge what arrived at a position; asks again once for all that follows one gap."""
        if position < self.expected or position + length > self.limit:
            return ArrivalAction.IGNORE
        if position > self.expected:
            return self._handle_gap(position)
        self.expected += length
        self._furthest_gap = -1
        return ArrivalAction.ACCEPT

    def _handle_gap(self, position: int) -> ArrivalAction:
        """The first after a gap, or one of a second pass, since positions only grow in a pass."""
        seen, self._furthest_gap = self._furthest_gap, position
        return ArrivalAction.RESUME if position <= seen or seen < 0 else ArrivalAction.IGNORE

"""Credit-based flow control over a stream that may lose, duplicate and reorder messages.

Positions are bytes of a data set for a C-STORE and batches of matches for a C-FIND. Credits and
resumes carry absolute positions: the next one makes up for a lost one, and a late one changes
nothing. Time and the format of messages are not handled here.
"""

from enum import Enum, auto


class SendWindow:
    """The sender's position: `next` advances up to `limit`, and goes back after a loss."""

    def __init__(self) -> None:
        self.next = 0
        self.limit = 0
        self.confirmed = 0
        """The receiver has confirmed every position before this one."""

    def apply_credit(self, expected: int, limit: int) -> None:
        """Apply a credit: the receiver has `expected` positions and accepts those before `limit`.

        Each value only grows, because an older credit may arrive after a newer one.
        """
        self.confirmed = max(self.confirmed, expected)
        self.limit = max(self.limit, limit)
        self.next = max(self.next, expected)

    def apply_resume(self, expected: int, limit: int) -> bool:
        """Continue from `expected`; return False for a request older than the last confirmation.

        Such a request was delayed on its way. Going back to it would send bytes again that the
        receiver has confirmed since.
        """
        fresh = expected >= self.confirmed
        self.apply_credit(expected, limit)
        if fresh:
            self.next = expected
        return fresh

    @property
    def available(self) -> int:
        """Return how many positions may be sent now."""
        return max(0, self.limit - self.next)


class ArrivalAction(Enum):
    """The receiver's reaction to data that arrived."""

    ACCEPT = auto()
    IGNORE = auto()
    RESUME = auto()


class ReceiveWindow:
    """The receiver's position: it accepts only the data that comes next."""

    def __init__(self) -> None:
        self.expected = 0
        self.limit = 0
        self._furthest_gap = -1

    def take(self, position: int, length: int) -> ArrivalAction:
        """Decide on data at a position; request a resume once for all data after one gap.

        Everything that follows a lost message arrives out of order. A resume for each of these
        would make the sender repeat the same data many times.
        """
        if position < self.expected or position + length > self.limit:
            return ArrivalAction.IGNORE
        if position > self.expected:
            return self._handle_gap(position)
        self.expected += length
        self._furthest_gap = -1
        return ArrivalAction.ACCEPT

    def _handle_gap(self, position: int) -> ArrivalAction:
        """Request a resume for the first data after a gap, and again for each pass of the sender.

        Positions only grow within one pass, so a position that is not beyond the last one seen
        means that the sender went back and lost the same data again.
        """
        seen, self._furthest_gap = self._furthest_gap, position
        return ArrivalAction.RESUME if position <= seen or seen < 0 else ArrivalAction.IGNORE

"""The rate limit of data sets on their way to NATS: a token bucket that its senders share.

Pure but for its metrics: the time goes in, a permission or a pause comes out. It counts the bytes
of data sets, alone or with their opens, as they are sent; other messages don't wait for it. The
rate is asked for each time, so that a limit by hours, or one that is reloaded, counts at once.
"""

from collections.abc import Callable

from dimse_ingestion.observability import metrics

Rate = Callable[[], float | None]
"""Returns the limit now, in bytes per second; None: no limit."""
SMALLEST_PIECE = 64 * 1024
"""Bytes; smaller ones would cost more messages and compress worse."""
_PIECES_PER_SECOND = 8
_BURST = 0.1
"""Seconds of unused rate that may be sent at once."""
_SHORTEST_PAUSE = 0.001
_LONGEST_PAUSE = 1.0
"""Seconds after which a sender asks again in any case, because the rate may have changed."""


def unlimited() -> None:
    """Return the rate of a connection without a limit."""


class RateLimiter:
    """Lets senders send in the order in which they asked, each piece when the rate allows it.

    A piece is sent as a whole once the debt of those before it is paid, so that one of any length
    is sent at last. `space` is the label of the metrics.
    """

    def __init__(self, rate: Rate = unlimited, space: str = "") -> None:
        self._rate = rate
        self._balance = 0.0  # bytes; below 0 is a debt
        self._updated = float("-inf")
        self._waiting: dict[object, int] = {}  # the bytes of each sender, in order
        self._sent = metrics.transport_sent_bytes.labels(space)
        self._saved = metrics.transport_saved_bytes.labels(space)
        self._waited = metrics.transport_rate_limit_wait.labels(space)

    def largest_piece(self, wanted: int) -> int:
        """Return how many bytes one message should have: short enough that others get through."""
        rate = self._rate()
        if rate is None:
            return wanted
        return min(wanted, max(SMALLEST_PIECE, int(rate) // _PIECES_PER_SECOND))

    def largest_open(self, wanted: int) -> int:
        """Return how many bytes of a data set may go with its open, which can't be cut: a second's.

        A longer one takes a session, whose pieces wait.
        """
        rate = self._rate()
        return wanted if rate is None else min(wanted, max(SMALLEST_PIECE, int(rate)))

    def take(self, sender: object, size: int, now: float) -> float:
        """Permit a sender to send `size` bytes and return 0, or the seconds until it asks again.

        A sender that does not ask again holds up the others: it must `forget` its request.
        """
        rate = self._rate()
        if rate is None:
            self._waiting.clear()
            self._balance, self._updated = 0.0, now
            self._sent.inc(size)
            return 0.0
        self._add_tokens(rate, now)
        earlier = self._earlier(sender)
        # one that leaves enough for those that wait passes them: a pause is a millisecond at least
        if self._balance >= (earlier + size if earlier else 0):
            self._waiting.pop(sender, None)
            self._balance -= size
            self._sent.inc(size)
            return 0.0
        self._waiting[sender] = size
        pause = (earlier - self._balance) / rate
        return min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, pause))

    def forget(self, sender: object) -> None:
        """Remove a sender that no longer waits."""
        self._waiting.pop(sender, None)

    def count_wait(self, seconds: float) -> None:
        """Count the seconds for which a sender has waited."""
        self._waited.inc(seconds)

    def count_saved(self, size: int) -> None:
        """Count bytes that were not sent, because what stands for them was shorter."""
        self._saved.inc(size)

    def _add_tokens(self, rate: float, now: float) -> None:
        earned = rate * (now - self._updated)  # infinite at first: the bucket is full
        self._balance = min(rate * _BURST, self._balance + earned)
        self._updated = now

    def _earlier(self, sender: object) -> int:
        """Return the bytes of the senders that asked before this one."""
        earlier = 0
        for other, size in self._waiting.items():
            if other is sender:
                break
            earlier += size
        return earlier

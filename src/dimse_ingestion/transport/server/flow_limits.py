"""The limits of one replica: concurrent sessions, and bytes in flight towards it.

nats-server disconnects a client for which too many bytes are pending (a slow consumer), and with it
every transfer to this replica. So the granted credit is counted, and an open beyond it is answered
BUSY. The bytes that fetches keep until they are confirmed are counted in a pool of their own, so
that a retrieve takes no credit from a store.
"""

from dataclasses import dataclass

from prometheus_client import Gauge

from dimse_ingestion.observability import metrics
from dimse_ingestion.transport.protocol.codec import MAXIMUM_CHUNK

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """The limits; sizes are in bytes."""

    sessions: int = 64
    echoes: int = 256
    """Sessions of any kind above which a C-ECHO is answered BUSY, too."""
    fetches: int = 256
    """Sessions that send a data set; they do not count as `sessions`."""
    window: int = 4 * _MEBIBYTE
    """Bytes in flight of one session at its start."""
    largest_window: int = 16 * _MEBIBYTE
    """Bytes in flight of one session, once its distance needs them."""
    min_window: int = _MEBIBYTE
    """A smaller window would make a long data set slow: BUSY is better."""
    total_window: int = 32 * _MEBIBYTE
    """Bytes in flight of all sessions: half of what makes the server disconnect."""
    total_fetch_window: int = 48 * _MEBIBYTE
    """Bytes that all fetches keep until they are confirmed: those of one proxy, and some."""
    chunk: int = MAXIMUM_CHUNK


class CreditPool:
    """The credit that this replica may still grant; `gauge` shows how much it has granted."""

    def __init__(
        self,
        limits: FlowLimits,
        gauge: Gauge = metrics.transport_granted_bytes,
        total: int | None = None,
    ) -> None:
        self._limits = limits
        self._gauge = gauge
        self._total = limits.total_window if total is None else total
        self._granted = 0

    def reserve(self, size: int) -> int | None:
        """Reserve a window for a data set of `size` bytes; return None when too little is left."""
        wanted = min(size, self._limits.window)
        free = self._total - self._granted
        if free < min(wanted, self._limits.min_window):
            return None
        window = min(wanted, free)
        self._count(window)
        return window

    def grow(self, window: int) -> int:
        """Double a reserved window as far as limits allow, and return the new one.

        Only the first half of all credit is used for this: the other half is for new sessions.
        """
        wanted = min(window, self._limits.largest_window - window)
        more = min(wanted, self._total // 2 - self._granted)
        if more <= 0:
            return window
        self._count(more)
        return window + more

    def release(self, window: int) -> None:
        """Return a window whose bytes are no longer in flight."""
        self._count(-window)

    def _count(self, length: int) -> None:
        self._granted += length
        self._gauge.set(self._granted)

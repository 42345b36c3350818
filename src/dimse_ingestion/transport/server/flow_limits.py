"""How much one replica takes on: sessions, and bytes that may be on the way to it.

A replica that would be granted more than the server lets wait for it is cut off, with everything
it was receiving; so what is granted is counted, and an open beyond it is told to ask again.
"""

from dataclasses import dataclass

from dimse_ingestion.observability import metrics
from dimse_ingestion.transport.protocol.codec import MAXIMUM_CHUNK

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """Sizes in bytes."""

    sessions: int = 64
    echoes: int = 256
    """Sessions of any kind beyond which a C-ECHO is told to ask again, too."""
    window: int = 4 * _MEBIBYTE
    """What one session may have on the way."""
    min_window: int = _MEBIBYTE
    """Below this a long data set would crawl: rather be busy."""
    total_window: int = 32 * _MEBIBYTE
    """What all sessions may have on the way: half of what makes the server cut the connection."""
    chunk: int = MAXIMUM_CHUNK


class CreditPool:
    """What is on the way to this replica, at most."""

    def __init__(self, limits: FlowLimits) -> None:
        self._limits = limits
        self._granted = 0

    def reserve(self, size: int) -> int | None:
        """A window for a data set of `size` bytes, or None when there is no room for one."""
        wanted = min(size, self._limits.window)
        free = self._limits.total_window - self._granted
        if free < min(wanted, self._limits.min_window):
            return None
        window = min(wanted, free)
        self._count(window)
        return window

    def release(self, window: int) -> None:
        """Nothing of it is on the way any more."""
        self._count(-window)

    def _count(self, length: int) -> None:
        self._granted += length
        metrics.transport_granted_bytes.set(self._granted)

"""Flow control of one peer: reading pauses while a sink is full or requests queue up.

Each cause counts as one hold; reading resumes when no hold is left. A C-CANCEL-RQ still gets
through: a peer that keeps to one operation at a time never fills the queue.
"""

from collections.abc import Awaitable

from dimse_ingestion.upper_layer.transport_connection import Spawn, TransportConnection

MAXIMUM_QUEUED = 2
"""Complete requests that may be queued behind the one being performed."""


class FlowControl:
    """Count the holds on reading from one peer, and pause or resume its connection."""

    def __init__(self, connection: TransportConnection, spawn: Spawn) -> None:
        self._connection = connection
        self._spawn = spawn
        self._reasons = 0
        self._is_backlogged = False

    @property
    def is_paused(self) -> bool:
        """Return whether reading is paused."""
        return self._reasons > 0

    def hold(self, awaitable: Awaitable[None]) -> None:
        """Pause reading until the awaitable is done, whether it succeeds or fails."""
        self._add()
        self._spawn(self._wait(awaitable), "waiting for a sink")

    def update_backlog(self, waiting: int) -> None:
        """Pause or resume reading for this number of queued requests."""
        is_backlogged = waiting >= MAXIMUM_QUEUED
        if is_backlogged and not self._is_backlogged:
            self._add()
        elif self._is_backlogged and not is_backlogged:
            self._remove()
        self._is_backlogged = is_backlogged

    async def _wait(self, awaitable: Awaitable[None]) -> None:
        try:
            await awaitable
        finally:
            self._remove()

    def _add(self) -> None:
        self._reasons += 1
        if self._reasons == 1:
            self._connection.pause_reading()

    def _remove(self) -> None:
        self._reasons -= 1
        if not self._reasons:
            self._connection.resume_reading()

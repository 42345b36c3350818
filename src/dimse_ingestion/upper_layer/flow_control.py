"""When nothing more is read from a peer: while a sink wants to be waited for, or requests pile up.

Reading begins again when no reason is left. A C-CANCEL-RQ is read all the same: a peer that keeps
to one operation at a time never piles up any.
"""

from collections.abc import Awaitable

from dimse_ingestion.upper_layer.transport_connection import Spawn, TransportConnection

MAXIMUM_QUEUED = 2
"""Whole requests that may wait behind the one being performed."""


class FlowControl:
    """The reasons not to read from one peer."""

    def __init__(self, connection: TransportConnection, spawn: Spawn) -> None:
        self._connection = connection
        self._spawn = spawn
        self._reasons = 0
        self._is_backlogged = False

    @property
    def is_paused(self) -> bool:
        """Whether nothing is read now."""
        return self._reasons > 0

    def hold(self, awaitable: Awaitable[None]) -> None:
        """Read nothing until this is done, whatever its outcome."""
        self._add()
        self._spawn(self._wait(awaitable), "waiting for a sink")

    def update_backlog(self, waiting: int) -> None:
        """So many whole requests wait."""
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

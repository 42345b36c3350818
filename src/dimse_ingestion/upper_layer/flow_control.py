"""When nothing more is read from a peer: while a sink wants to be waited for, or requests pile up.

Reading begins again when no reason is left. A C-CANCEL-RQ is read all the same: a peer that keeps
to one operation at a time never piles up any.
"""

from collections.abc import Awaitable

from dimse_ingestion.upper_layer.wire import Spawn, Wire

MOST_WAITING = 2
"""Whole requests that may wait behind the one being performed."""


class Flow:
    """The reasons not to read from one peer."""

    def __init__(self, wire: Wire, spawn: Spawn) -> None:
        self._wire = wire
        self._spawn = spawn
        self._reasons = 0
        self._piled_up = False

    @property
    def held(self) -> bool:
        """Whether nothing is read now."""
        return self._reasons > 0

    def hold(self, awaitable: Awaitable[None]) -> None:
        """Read nothing until this is done, whatever its outcome."""
        self._add()
        self._spawn(self._wait(awaitable), "waiting for a sink")

    def backlog(self, waiting: int) -> None:
        """So many whole requests wait."""
        piled_up = waiting >= MOST_WAITING
        if piled_up and not self._piled_up:
            self._add()
        elif self._piled_up and not piled_up:
            self._remove()
        self._piled_up = piled_up

    async def _wait(self, awaitable: Awaitable[None]) -> None:
        try:
            await awaitable
        finally:
            self._remove()

    def _add(self) -> None:
        self._reasons += 1
        if self._reasons == 1:
            self._wire.pause_reading()

    def _remove(self) -> None:
        self._reasons -= 1
        if not self._reasons:
            self._wire.resume_reading()

"""One worker for each resource: woken by whatever concerns it, one look at a time, and again later.

A look that fails is repeated, ever less often; one that hangs or fails holds up no other's.
"""

import asyncio
from collections.abc import Awaitable, Callable

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operator.resources import Key

_LOG = logger(__name__)
_SETTLE = 0.1
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 120.0
Look = Callable[[Key], Awaitable[bool]]
"""Gives whether all is well, so that the next look has time."""


class Workers:
    """The workers of all resources that are there."""

    def __init__(self, look: Look, resync: float) -> None:
        self._look = look
        self._resync = resync
        self._woken: dict[Key, asyncio.Event] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def wake(self, key: Key) -> None:
        """Have a resource looked at soon; several calls at once are one look."""
        if key not in self._tasks:
            self._woken[key] = asyncio.Event()
            self._tasks[key] = asyncio.create_task(self._work(key), name=str(key))
        self._woken[key].set()

    def forget(self, key: Key) -> None:
        """A resource is gone."""
        self._woken.pop(key, None)
        if task := self._tasks.pop(key, None):
            task.cancel()

    async def close(self) -> None:
        """End all of them."""
        tasks = [*self._tasks.values()]
        for key in [*self._tasks]:
            self.forget(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, key: Key) -> None:
        woken, pause = self._woken[key], 0.0
        while True:
            try:
                async with asyncio.timeout(pause or self._resync):
                    await woken.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(_SETTLE)
            woken.clear()
            well = await self._looked(key)
            pause = 0.0 if well else min(max(pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)

    async def _looked(self, key: Key) -> bool:
        try:
            return await self._look(key)
        except Exception as error:  # noqa: BLE001 - this resource is tried again, the others go on
            _LOG.warning(
                "A resource could not be looked at.", resource=str(key), because=str(error)
            )
            return False

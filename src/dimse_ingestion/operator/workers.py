"""One worker for each resource, which reconciles it when woken, and again after a while.

A failed reconciliation is retried with exponential backoff; one that hangs delays no others.
"""

import asyncio
from collections.abc import Awaitable, Callable

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operator.resources import Key

_LOG = logger(__name__)
_SETTLE = 0.1
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 120.0
Reconcile = Callable[[Key], Awaitable[bool]]
"""Returns whether all went well, so that the next reconciliation may wait."""


class Workers:
    """The workers of all known resources."""

    def __init__(self, reconcile: Reconcile, resync: float) -> None:
        self._reconcile = reconcile
        self._resync = resync
        self._wake_events: dict[Key, asyncio.Event] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def wake(self, key: Key) -> None:
        """Have a resource reconciled soon; several calls at once cause one reconciliation."""
        if key not in self._tasks:
            self._wake_events[key] = asyncio.Event()
            self._tasks[key] = asyncio.create_task(self._work(key), name=str(key))
        self._wake_events[key].set()

    def forget(self, key: Key) -> None:
        """Stop the worker of a deleted resource."""
        self._wake_events.pop(key, None)
        if task := self._tasks.pop(key, None):
            task.cancel()

    async def close(self) -> None:
        """Stop all workers."""
        tasks = [*self._tasks.values()]
        for key in [*self._tasks]:
            self.forget(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, key: Key) -> None:
        wake_event, pause = self._wake_events[key], 0.0
        while True:
            try:
                async with asyncio.timeout(pause or self._resync):
                    await wake_event.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(_SETTLE)
            wake_event.clear()
            succeeded = await self._reconcile_safely(key)
            pause = 0.0 if succeeded else min(max(pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)

    async def _reconcile_safely(self, key: Key) -> bool:
        try:
            return await self._reconcile(key)
        except Exception as error:  # noqa: BLE001 - this resource is retried, the others continue
            _LOG.warning(
                "A resource could not be reconciled.", resource=str(key), reason=str(error)
            )
            return False

"""The distribution of new connections: each goes to the running worker that has the fewest.

The kernel's own distribution (SO_REUSEPORT, or one socket that every worker accepts from) ignores
how many long-lived associations a worker has. While no worker runs, connections wait in the
listener's queue.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from dimse_ingestion.background_tasks import background_tasks
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.workers.process import WorkerProcess

_LOG = logger(__name__)
_PAUSE = 0.2  # seconds after a failed accept, and until a full channel is tried again


class Dispatcher:
    """Accept connections and pass them to workers; at most `maximum` are open at once."""

    def __init__(
        self, listener: socket.socket, workers: Sequence[WorkerProcess], maximum: int
    ) -> None:
        self._listener = listener
        self._workers = workers
        self._maximum = maximum

    @asynccontextmanager
    async def dispatching(self) -> AsyncIterator[None]:
        """Dispatch within the block, and close the listener at its end."""
        try:
            async with background_tasks(self._dispatch(), name="dispatch of connections"):
                yield
        finally:
            self._listener.close()

    async def _dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wait_for_worker()
            try:
                plain, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                _LOG.warning("A connection can't be accepted.", reason=str(error))
                await asyncio.sleep(_PAUSE)
                continue
            with plain:
                await self._pass(plain)

    async def _pass(self, plain: socket.socket) -> None:
        count = sum(each.load for each in self._workers)
        if count >= self._maximum:
            _LOG.warning("Connection closed: there are too many.", open=count)
            return
        while not self._try_pass(plain):
            await asyncio.sleep(_PAUSE)
            await self._wait_for_worker()

    def _try_pass(self, plain: socket.socket) -> bool:
        """Pass a connection to the worker with the fewest that can take it."""
        running = (worker for worker in self._workers if worker.is_running)
        by_load = sorted(running, key=lambda worker: worker.load)
        return any(worker.pass_connection(plain) for worker in by_load)

    async def _wait_for_worker(self) -> None:
        while not any(worker.is_running for worker in self._workers):
            changes = [asyncio.create_task(worker.changed.wait()) for worker in self._workers]
            await asyncio.wait(changes, return_when=asyncio.FIRST_COMPLETED)
            for change in changes:
                change.cancel()
            for worker in self._workers:
                worker.changed.clear()

"""The supervisor of a service's workers: it starts them, restarts one that ends, and drains all.

It performs no operation itself, so it has nothing to lose: it accepts connections and passes each
to the worker with the fewest, and serves probes and metrics for all workers together.
"""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starlette.applications import Starlette

from dimse_ingestion.observability import logging, metrics, probes
from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.process import stop_signal
from dimse_ingestion.settings.errors import ConfigurationMistake
from dimse_ingestion.settings.service import ServiceSettings
from dimse_ingestion.workers.counts import SharedCounts
from dimse_ingestion.workers.dispatcher import Dispatcher
from dimse_ingestion.workers.health import all_health, all_notes, hanging
from dimse_ingestion.workers.metrics_of_all import MetricsOfAll
from dimse_ingestion.workers.process import WorkerProcess
from dimse_ingestion.workers.worker import WRONG_CONFIGURATION, WorkerStart

_LOG = logger(__name__)
_SHORT_LIFE = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
_KILL_AFTER = 15.0
"""Seconds after the drain's own time until workers that still run are killed."""


@dataclass(frozen=True, slots=True)
class Supervised:
    """A service to run in several processes.

    `target` is what a worker runs (see `WorkerStart`), `description` what log lines call the
    service. `listener` is the socket whose connections the workers serve; at most
    `maximum_connections` are open at once.
    """

    service: str
    description: str
    target: str
    settings: ServiceSettings
    workers: int
    listener: socket.socket | None = None
    maximum_connections: int = 0
    reloads: bool = False
    """True if a worker reloads its settings at SIGHUP, which is then passed to all workers."""


async def supervise(supervised: Supervised) -> int:
    """Run the workers until a signal to stop, then drain them; return the exit status.

    Raises ConfigurationMistake when a worker can't start with these settings.
    """
    logging.configure(supervised.service, supervised.settings.log_level)
    with TemporaryDirectory(prefix="dimse-workers-") as folder, stop_signal() as stop:
        supervisor = _Supervisor(supervised, Path(folder))
        if supervised.reloads:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, supervisor.reload)
        await supervisor.run(stop)
    return 0


class _Supervisor:
    def __init__(self, supervised: Supervised, folder: Path) -> None:
        self._supervised = supervised
        self._folder = folder
        counts = SharedCounts(folder / "counts", supervised.workers)
        self._workers = [
            WorkerProcess(self._start(number), counts)
            for number in range(1, supervised.workers + 1)
        ]
        self._health = probes.Health(supervised.description)
        self._health.add_group(lambda: all_health(self._workers))
        self._health.add_note_group(lambda: all_notes(self._workers))
        self._mistake: tuple[str, ...] = ()

    def _start(self, number: int) -> WorkerStart:
        supervised = self._supervised
        return WorkerStart(
            service=supervised.service,
            target=supervised.target,
            settings=supervised.settings,
            number=number,
            workers=supervised.workers,
            channel=-1,
            counts=self._folder / "counts",
        )

    def reload(self) -> None:
        """Have the workers reload their settings; one that starts has the new ones anyway."""
        for worker in self._workers:
            if worker.is_running:
                worker.send_signal(signal.SIGHUP)

    async def run(self, stop: asyncio.Event) -> None:
        supervised = self._supervised
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._serve_probes())
            lives = [self._keep_running(each, stop) for each in self._workers]
            await stack.enter_async_context(_tasks(lives, self._end_workers))
            await stack.enter_async_context(probes.watch_readiness(self._health))
            if supervised.listener is not None:
                dispatcher = Dispatcher(
                    supervised.listener, self._workers, supervised.maximum_connections
                )
                await stack.enter_async_context(dispatcher.dispatching())
            await stop.wait()
            self._health.drain()
        if self._mistake:
            raise ConfigurationMistake(self._mistake)

    @asynccontextmanager
    async def _serve_probes(self) -> AsyncIterator[None]:
        settings = self._supervised.settings
        own = MetricsOfAll(self._folder, lambda: [each.pid for each in self._workers])
        routes = probes.routes(
            self._health, metrics=own.generate, liveness=lambda: hanging(self._workers)
        )
        app = Starlette(routes=routes)
        async with serve(app, settings.http_host, settings.http_port, setting="DIMSE_HTTP_PORT"):
            yield

    async def _keep_running(self, worker: WorkerProcess, stop: asyncio.Event) -> None:
        """Start a worker, and again whenever it ends, until the drain."""
        pause = _FIRST_PAUSE
        while not stop.is_set():
            started = time.monotonic()
            status = await worker.run()
            if stop.is_set():
                return
            if status == WRONG_CONFIGURATION and worker.mistake and not worker.has_run:
                self._mistake = worker.mistake
                stop.set()
                return
            pause = _FIRST_PAUSE if time.monotonic() - started > _SHORT_LIFE else pause
            _log_end(worker, status, pause)
            metrics.worker_restarts.inc()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _end_workers(self, lives: list[asyncio.Task[None]]) -> None:
        """Have every worker drain, and wait until all have ended."""
        _LOG.info("Draining the workers.", workers=len(self._workers))
        for worker in self._workers:
            worker.drain()
        longest = self._supervised.settings.drain_timeout + _KILL_AFTER
        _, late = await asyncio.wait(lives, timeout=longest)
        if late:
            _LOG.error("Workers did not end after their drain: they are killed.", count=len(late))
            for worker in self._workers:
                worker.send_signal(signal.SIGKILL)
            await asyncio.wait(late)


def _log_end(worker: WorkerProcess, status: int, pause: float) -> None:
    how = {"signal": signal.Signals(-status).name} if status < 0 else {"exit_status": status}
    _LOG.error(
        "A worker process ended and is started again.",
        worker=worker.number,
        reason="; ".join(worker.mistake),
        pause=pause,
        **how,
    )


@asynccontextmanager
async def _tasks(
    work: list[Coroutine[Any, Any, None]],
    end: Callable[[list[asyncio.Task[None]]], Coroutine[Any, Any, None]],
) -> AsyncIterator[None]:
    """Run coroutines within the block, at whose end `end` brings them to theirs."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        await end(tasks)
        await asyncio.gather(*tasks)

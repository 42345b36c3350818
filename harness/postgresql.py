"""A real PostgreSQL on loopback, for tests: stopped, killed, restarted on the same port.

The programs are found on PATH or where Debian puts them. As they refuse to run as root, a test that
runs as root has them run as `postgres` or `nobody`. It does not depend on what is stored.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from harness.ports import free_port

_DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_LONGEST_START = 30.0
_LONGEST_STOP = 30.0
_MAKING = [
    "-U",
    "catalogue",
    "-A",
    "trust",
    "-E",
    "UTF8",
    "--locale=C.UTF-8",
    "--no-sync",
    "--no-instructions",
]
_RUNNERS = ("postgres", "nobody")


def binary(name: str) -> Path | None:
    """Return the path of `initdb` or `postgres`, or None."""
    places = [os.environ.get("PATH", ""), *map(str, _DEBIAN)]
    match = shutil.which(name, path=os.pathsep.join(places))
    return Path(match) if match else None


def why_not() -> str:
    """Return why a server can't be started here; empty when it can."""
    missing = [name for name in ("initdb", "postgres") if binary(name) is None]
    if missing:
        return f"{' and '.join(missing)} not on PATH: install Debian's postgresql"
    return ""


def _runner() -> dict[str, Any]:
    """Return Popen's arguments for the user to run as; nothing unless this is root."""
    if os.getuid() != 0:
        return {}
    known = {each.pw_name: each for each in pwd.getpwall()}
    user = next(known[name] for name in _RUNNERS if name in known)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@dataclass
class PostgreSQL:
    """One server with the user `catalogue`; `folder` has its log.

    `durable` has it wait for the disk at each commit, as in production.
    """

    folder: Path
    durable: bool = False
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _temporary: tempfile.TemporaryDirectory[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # each pytest that starts closes the folder of all runs to other users, and with it to a
        # server that runs as one
        self._temporary = tempfile.TemporaryDirectory(prefix="postgresql-")

    @property
    def data(self) -> Path:
        """The folder of databases and configuration, deleted with this object."""
        return Path(self._temporary.name, "data")

    def url(self, database: str = "postgres") -> str:
        """Return the SQLAlchemy URL of one of its databases."""
        return f"postgresql+psycopg://catalogue@127.0.0.1:{self.port}/{database}"

    def start(self) -> "PostgreSQL":
        """Start it and wait until it answers; made at the first start."""
        if not self.data.exists():
            self._make()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(binary("postgres")), "-D", str(self.data), *self._options()],
                env=_environment(),
                cwd="/",
                stdout=log,
                stderr=log,
                **_runner(),
            )
        self._wait_until_it_answers()
        return self

    def stop(self) -> None:
        """End it at once but cleanly, its clients disconnected."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill it: nothing is flushed, and it recovers when started again."""
        self._end(signal.SIGQUIT)

    def make_database(self, name: str) -> str:
        """Create a database; return its URL."""
        with psycopg.connect(self.url().replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def _options(self) -> list[str]:
        quick = [] if self.durable else ["-c", "fsync=off", "-c", "synchronous_commit=off"]
        return ["-p", str(self.port), "-h", "127.0.0.1", "-k", "", *quick]

    def _make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data.mkdir()
        runner = _runner()
        if runner:
            os.chown(self.data, runner["user"], runner["group"])
            _let_pass(self.data)
        subprocess.run(
            [str(binary("initdb")), "-D", str(self.data), *_MAKING],
            env=_environment(),
            cwd="/",
            check=True,
            capture_output=True,
            **runner,
        )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _LONGEST_START
        while (problem := self._problem()) and time.monotonic() < deadline:
            time.sleep(0.02)
        if problem:
            log = (self.folder / "log").read_text(errors="replace")[-2000:]
            self.kill()
            raise AssertionError(f"PostgreSQL does not answer: {problem}\n{log}")

    def _problem(self) -> str:
        try:
            psycopg.connect(self.url().replace("+psycopg", ""), connect_timeout=2).close()
        except psycopg.OperationalError as error:
            return str(error)
        return ""

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_LONGEST_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}


def _let_pass(folder: Path) -> None:
    """Grant another user access to `folder`: temporary folders are closed to others."""
    for above in folder.parents:
        if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)


@contextmanager
def postgresql(folder: Path, *, durable: bool = False) -> Iterator[PostgreSQL]:
    """Yield a running server until the end of the block; `folder` is its own."""
    server = PostgreSQL(folder, durable).start()
    try:
        yield server
    finally:
        server.stop()

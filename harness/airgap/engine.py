"""Docker's engine where none runs: started with its data in the cache, and stopped by its user.

One that answers already is taken as it is and never stopped.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.airgap.cache import Cache
from harness.commands import Say, Unusable, last_lines, succeeds

RUNTIME = Path(__file__).parent / "runc-caps.sh"

_RUN = Path("/run/dimse-airgap")
_LONGEST_START = 60.0
_LONGEST_STOP = 60.0


def running() -> bool:
    """Return whether an engine answers."""
    return succeeds("docker", "info")


def start(cache: Cache, say: Say) -> None:
    """Start an engine unless one answers. Raises Unusable with its last output."""
    if running():
        return
    say("starting dockerd")
    cache.root.mkdir(parents=True, exist_ok=True)
    _clean(cache)
    runtime = cache.root / RUNTIME.name
    shutil.copy(RUNTIME, runtime)
    (cache.root / "daemon.json").write_text(json.dumps(configuration(cache, runtime)))
    log = cache.root / "dockerd.log"
    with log.open("wb") as lines:
        process = subprocess.Popen(
            ["dockerd", "--config-file", str(cache.root / "daemon.json")],
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=lines,
            start_new_session=True,
        )
    if (
        not _within(_LONGEST_START, lambda: running() or process.poll() is not None)
        or not running()
    ):
        raise Unusable(
            f"dockerd does not start:\n{last_lines(log.read_text(errors='replace'), 10)}"
        )


def stop(cache: Cache, say: Say) -> None:
    """Stop the engine that `started` started, with all that runs in it; no other."""
    pid = _ours(cache)
    if pid is None:
        return
    say("stopping dockerd")
    os.kill(pid, signal.SIGTERM)
    if not _within(_LONGEST_STOP, lambda: _ours(cache) is None):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def configuration(cache: Cache, runtime: Path) -> dict[str, Any]:
    """Return dockerd's arguments: all its data is in the cache."""
    return {
        "data-root": str(cache.root / "docker"),
        "exec-root": str(_RUN),
        "pidfile": str(_pid_file(cache)),
        "runtimes": {"runc-caps": {"path": str(runtime)}},
        "default-runtime": "runc-caps",
    }


def _pid_file(cache: Cache) -> Path:
    return cache.root / "dockerd.pid"


def _ours(cache: Cache) -> int | None:
    """Return the process of the engine that was started here."""
    return _process(_pid_file(cache), "dockerd")


def _process(pid_file: Path, name: str) -> int | None:
    """Return the process that a file names, while it is one of that program."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        if Path(f"/proc/{pid}/comm").read_text().strip() == name:
            return pid
    return None


def _clean(cache: Cache) -> None:
    """Take away what an engine that was killed left, whose numbers may be others' by now."""
    left = {_pid_file(cache): "dockerd", _RUN / "containerd" / "containerd.pid": "containerd"}
    for pid_file, name in left.items():
        if _process(pid_file, name) is None:
            pid_file.unlink(missing_ok=True)


def _within(seconds: float, happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True

"""Processes that hold their connections and do nothing: stopped and continued by signals.

A signal stops the threads of a process one after another; until the last one has stopped, on a busy
machine a request may still be answered. So who pauses one waits until all stand.
"""

import signal
import subprocess
import time
from pathlib import Path

_LONGEST = 30.0


def pause(process: subprocess.Popen[bytes]) -> None:
    """Stop a process, and return once none of its threads runs."""
    process.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + _LONGEST
    while not all(each == "T" for each in _thread_states(process.pid)):
        assert time.monotonic() < deadline, f"process {process.pid} does not stop"
        time.sleep(0.001)


def resume(process: subprocess.Popen[bytes]) -> None:
    """Continue the process (SIGCONT)."""
    process.send_signal(signal.SIGCONT)


def _thread_states(pid: int) -> list[str]:
    """Return the state of each thread (proc(5), the field after the name in parentheses)."""
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return [stat.rpartition(")")[2].split()[0] for stat in stats]

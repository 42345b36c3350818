"""CPU time and peak memory of a system's processes, their children included."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

_RESET_PEAK = "5"  # of /proc/PID/clear_refs: VmHWM begins again at the present size
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


class Processes:
    """The processes of a system by name; processes of one name count together."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)

    def cpu(self) -> dict[str, float]:
        """Return the seconds of processors that each has used, ended children included."""
        return {name: sum(map(_cpu, _tree(pid))) for name, pid in self._pids.items()}

    def reset_peak(self) -> None:
        """Begin to measure peak memory."""
        for pid in self._pids.values():
            for each in _tree(pid):
                with suppress(OSError):  # it has ended
                    Path(f"/proc/{each.pid}/clear_refs").write_text(_RESET_PEAK)

    def peak_memory(self) -> dict[str, int]:
        """Return the bytes of the peak resident memory of each."""
        return {name: sum(map(_peak, _tree(pid))) for name, pid in self._pids.items()}


def _tree(pid: int) -> Iterator[psutil.Process]:
    root = psutil.Process(pid)
    yield root
    yield from root.children(recursive=True)


def _cpu(process: psutil.Process) -> float:
    """Count the time of children that have ended, too: the parent inherits it when it waits."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _peak(process: psutil.Process) -> int:
    try:
        match = _PEAK.search(Path(f"/proc/{process.pid}/status").read_text())
    except (OSError, psutil.NoSuchProcess):
        return 0
    return int(match[1]) * 1024 if match else 0

"""The warnings and errors in the logs of services, for the report of a failed test or soak.

A test sees statuses and answers; the reason is in the log of a service, whose file is gone when
continuous integration has ended. Tests write such files below `tmp_path`, or below the folder of
a service that outlives the test.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.services import ServiceProcess

_SERIOUS = {"warning", "error", "critical"}
_MOST_LINES = 15
_LONGEST_LINE = 1500


def serious_lines(logs: Iterable[Path]) -> str:
    """Return the last warnings and errors of each log, and any line that is not JSON."""
    sections = []
    for log in sorted(set(logs)):
        lines = list(_serious(log))[-_MOST_LINES:]
        if lines:
            sections += [f"--- {log.parent.name}/{log.name}", *lines]
    return "\n".join(sections)


def logs_of(folder: Path | None) -> list[Path]:
    """Return the log files below a folder, and those of the services that run."""
    found = [] if folder is None else [path for path in folder.rglob("*.log") if path.is_file()]
    return found + [each.log for each in ServiceProcess.running()]


def _serious(log: Path) -> Iterator[str]:
    for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
        if _is_serious(line):
            yield line[:_LONGEST_LINE]


def _is_serious(line: str) -> bool:
    if not line.startswith("{"):
        return not line.startswith("[")  # nats-server logs "[pid] time [INF] ..."
    try:
        entry = json.loads(line)
    except ValueError:
        return True
    return not isinstance(entry, dict) or entry.get("level") in _SERIOUS

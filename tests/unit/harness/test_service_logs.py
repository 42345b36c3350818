"""What the report of a failed test shows of the services' logs."""

import json
from pathlib import Path

from harness.service_logs import logs_of, serious_lines


def _line(level: str, event: str) -> str:
    return json.dumps({"event": event, "level": level})


def test_warnings_errors_and_tracebacks_are_shown_by_log(tmp_path: Path) -> None:
    (tmp_path / "space").mkdir()
    log = tmp_path / "space" / "proxy.log"
    lines = [_line("info", "started"), _line("warning", "slow"), "Traceback", _line("error", "no")]
    log.write_text("\n".join(lines))
    shown = serious_lines(logs_of(tmp_path)).splitlines()
    assert shown == ["--- space/proxy.log", lines[1], lines[2], lines[3]]


def test_ordinary_lines_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "proxy.log").write_text(_line("info", "started") + "\n")
    (tmp_path / "nats-server.log").write_text("[1] 2026/11/29 [INF] Server is ready\n")
    assert serious_lines(logs_of(tmp_path)) == ""


def test_only_the_last_lines_of_a_log_are_shown(tmp_path: Path) -> None:
    lines = [_line("error", str(number)) for number in range(40)]
    (tmp_path / "proxy.log").write_text("\n".join(lines))
    assert serious_lines(logs_of(tmp_path)).splitlines()[1:] == lines[-15:]

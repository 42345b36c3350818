import subprocess
from pathlib import Path

import pytest

from harness import service_addresses

IPTABLES = """#!/bin/sh
case "$1" in
  -C) grep -qx -- "$(echo "$@" | cut -c4-)" "$RULES" ;;
  -A) echo "$@" | cut -c4- >> "$RULES" ;;
esac
"""


def test_one_rule_refuses_what_would_leave_however_often_it_is_requested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "iptables").write_text(IPTABLES)
    (tmp_path / "iptables").chmod(0o755)
    (tmp_path / "rules").touch()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("RULES", str(tmp_path / "rules"))

    def node(*command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    for _ in range(2):
        service_addresses.keep_inside_cluster(node)
    rules = (tmp_path / "rules").read_text().splitlines()
    assert rules == [f"FORWARD -d {service_addresses.SERVICES} -j REJECT"]

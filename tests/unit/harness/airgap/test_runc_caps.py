"""The stand-in for runc, with a runc that only prints its arguments."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from harness.airgap.engine import RUNTIME

PROCESS = {
    "args": ["sh", "-c", 'echo "CAP_SYS_RESOURCE", "rlimits":[1]'],
    "capabilities": {
        "bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_SYS_TIME"],
        "effective": ["CAP_CHOWN", "CAP_SYS_RESOURCE"],
        "ambient": ["CAP_SYS_RESOURCE"],
    },
    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1048576, "soft": 1048576}],
    "oomScoreAdj": -998,
}
TRIMMED = {
    "args": PROCESS["args"],
    "capabilities": {
        "bounding": ["CAP_CHOWN", "CAP_SYS_TIME"],
        "effective": ["CAP_CHOWN"],
        "ambient": [],
    },
    "oomScoreAdj": 0,
}
LIMIT = 9223372036854771712
"""A number that JavaScript's would round."""


@pytest.fixture(params=["refused", "granted"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Prepare a host with or without the capability, and a runc that prints its arguments."""
    digits = {"refused": "000001fffeffffff", "granted": "000001ffffffffff"}[request.param]
    (tmp_path / "status").write_text(f"CapEff:\t0000000000000000\nCapBnd:\t{digits}\n")
    runc = tmp_path / "runc"
    runc.write_text('#!/bin/sh\necho "$@"\n')
    runc.chmod(0o755)
    script = RUNTIME.read_text().replace("/proc/self/status", str(tmp_path / "status"))
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(re.sub(r"/usr/sbin/runc(\.real)?", str(runc), script))
    return str(request.param)


def called(folder: Path, *arguments: str) -> str:
    command = ["sh", str(folder / "wrapper"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content, separators=(",", ":")))
    return path


@pytest.mark.parametrize("option", [["--bundle", "."], ["--bundle=."], ["-b", "."], []])
def test_a_container_asks_for_no_more_than_the_host_grants(
    host: str, option: list[str], tmp_path: Path
) -> None:
    config = {"process": PROCESS, "linux": {"resources": {"hugepageLimits": LIMIT}}}
    path = written(tmp_path / "config.json", config)
    message = called(tmp_path, "--root", "/run/x", "create", *option, "an-id")
    assert message.split() == ["--root", "/run/x", "create", *option, "an-id"]
    wanted = TRIMMED if host == "refused" else PROCESS
    assert json.loads(path.read_text()) == config | {"process": wanted}


def test_so_does_what_is_executed_in_one(host: str, tmp_path: Path) -> None:
    path = written(tmp_path / "process.json", PROCESS)
    called(tmp_path, "exec", "--process", str(path), "--detach", "an-id")
    assert json.loads(path.read_text()) == (TRIMMED if host == "refused" else PROCESS)


def test_other_commands_change_nothing(host: str, tmp_path: Path) -> None:
    path = written(tmp_path / "config.json", {"process": PROCESS})
    before = path.read_bytes()
    assert called(tmp_path, "state", "an-id") == "state an-id\n"
    assert path.read_bytes() == before

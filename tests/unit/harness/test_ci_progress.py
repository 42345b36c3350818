"""The progress lines of .ci/run: a silent command is reported, and its exit status is kept."""

import subprocess
from pathlib import Path

RUN = Path(__file__).parents[3] / ".ci" / "run"


def run_with_progress(folder: Path, command: str) -> tuple[int, list[str]]:
    """Exit status and lines of a command under `with_progress`, whose pause is 50 ms here."""
    lines = RUN.read_text().splitlines()
    begin = lines.index("with_progress() {")
    function = lines[begin : lines.index("}", begin) + 1]
    script = "\n".join(["set -euo pipefail", *function, f"with_progress building {command}"])
    output = folder / "output"
    with output.open("wb") as written:
        done = subprocess.run(
            ["bash", "-c", script.replace("sleep 25", "sleep 0.05")],
            cwd=folder,
            stdout=written,
            timeout=60,
            check=False,
        )
    return done.returncode, output.read_text().splitlines()


def test_a_command_is_reported_at_its_begin_and_its_end(tmp_path: Path) -> None:
    status, lines = run_with_progress(tmp_path, "true")
    assert status == 0
    assert lines[0] == "building ..."
    assert lines[-1].startswith("building: done in ")


def test_a_silent_command_is_reported_while_it_runs(tmp_path: Path) -> None:
    until_reported = "until grep -q 'building, for' output; do sleep 0.01; done"
    status, lines = run_with_progress(tmp_path, f'sh -c "{until_reported}"')
    assert status == 0
    assert lines[1].startswith("building, for ")


def test_the_status_of_a_failing_command_is_returned(tmp_path: Path) -> None:
    status, lines = run_with_progress(tmp_path, "sh -c 'exit 3'")
    assert status == 3
    assert not any("done" in line for line in lines)

"""Each parser of what comes from outside, fuzzed for a while from recorded and small inputs.

`FUZZ_PARSER_SECONDS` for each (10 unless set). An input that was found stays in the corpus, so that
it is tried first from then on.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.parsers import TARGETS
from tests.fuzz.space import EVIDENCE

CORPUS = Path(__file__).parent / "corpus" / "parsers"
SECONDS = int(os.environ.get("FUZZ_PARSER_SECONDS", "10"))
SEED = "-seed=1" if "DIMSE_TESTS_SAME_EXAMPLES" in os.environ else "-seed=0"
"""0 is a new seed each time; the same one in each run of continuous integration."""
_RUNS = re.compile(r"stat::number_of_executed_units: (\d+)")
_NOWHERE = "atheris has no wheel for this machine: it needs x86-64 Linux"

pytestmark = [
    pytest.mark.timeout(0),  # as long as FUZZ_PARSER_SECONDS says
    pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason=_NOWHERE),
]


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_parser(name: str, tmp_path: Path) -> None:
    found, artifacts = tmp_path / "found", tmp_path / "artifacts"
    found.mkdir()
    artifacts.mkdir()
    fuzzed = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.fuzz_parser", name),
            *(f"-max_total_time={SECONDS}", SEED, f"-artifact_prefix={artifacts}/"),
            *(str(found), str(CORPUS / name)),
        ],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS + 300,
        check=False,
    )
    runs = _RUNS.search(fuzzed.stderr)
    if fuzzed.returncode or not runs:
        shutil.copytree(artifacts, EVIDENCE / "parsers" / name, dirs_exist_ok=True)
        pytest.fail(f"{fuzzed.stdout[-3000:]}\n{fuzzed.stderr[-3000:]}", pytrace=False)
    assert int(runs[1]) > 100


@pytest.mark.parametrize("name", TARGETS)
def test_each_parser_has_inputs_that_it_accepts_or_refuses(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs
    for each in inputs:
        TARGETS[name](each.read_bytes())

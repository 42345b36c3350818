"""End-to-end tests stand aside where no cluster is named, and take no other test with them."""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]


def test_without_a_cluster_only_end_to_end_tests_are_skipped() -> None:
    request = ["tests/unit/dicom/test_uids.py", "tests/e2e/test_installing.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *request]
    environment = {k: v for k, v in os.environ.items() if k != "DIMSE_TESTS_LET_NONE_SKIP"}
    message = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    ).stdout
    assert message.count("passed") == 1, message
    assert "no cluster was named: make e2e" in message
    assert (
        message.count("SKIPPED") == message.count("tests/e2e/test_installing.py: no cluster") == 1
    ), message

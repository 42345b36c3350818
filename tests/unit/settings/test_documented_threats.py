"""Each test that docs/security.md names for a threat exists."""

import re
from pathlib import Path

import pytest

DOCUMENT = Path("docs/security.md").read_text()
NAMED = re.findall(r"`([a-z0-9_/]+\.py)::(test_\w+)`", DOCUMENT)
ROWS = re.findall(r"^\| (?!threat|-)(.+?) \| (.+?) \| (.+?) \|$", DOCUMENT, re.MULTILINE)


def test_each_threat_has_a_test() -> None:
    assert len(ROWS) > 12
    assert [threat for threat, _, tests in ROWS if "::test_" not in tests] == []


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_named_test_exists(file: str, name: str) -> None:
    text = (Path("tests") / file).read_text()
    assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{file}::{name}"

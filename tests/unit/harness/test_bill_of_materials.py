import json
import tomllib
from pathlib import Path

import pytest

from harness import bill_of_materials
from harness.images import EXTRAS, OPERATOR_EXTRAS

LOCKED = {
    each["name"]: each["version"]
    for each in tomllib.loads(Path("uv.lock").read_text())["package"]
    if "version" in each
}


@pytest.mark.parametrize(
    ("extras", "included", "excluded"),
    [(EXTRAS, "numpy", "kopf"), (OPERATOR_EXTRAS, "kopf", "numpy")],
)
def test_the_packages_of_an_image_are_listed(
    extras: str, included: str, excluded: str, tmp_path: Path
) -> None:
    path = bill_of_materials.write("an-image", extras, tmp_path)
    assert path == tmp_path / "an-image.cdx.json"
    bill = json.loads(path.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    listed = {each["name"]: each["version"] for each in bill["components"]}
    assert {included, "aiohttp", "sqlalchemy"} <= listed.keys()
    assert not {excluded, "pytest", "ruff"} & listed.keys()
    assert [name for name, version in listed.items() if LOCKED[name] != version] == []

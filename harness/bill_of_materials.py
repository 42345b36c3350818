"""The bill of materials of an image: every Python package of uv.lock that is in it, as CycloneDX.

uv writes it. The packages of the operating system are the base image's, whose publisher lists them.
"""

import shutil
from pathlib import Path

from harness.commands import Unusable, output

FORMAT = "cyclonedx1.5"
_PROJECT = Path(__file__).parent.parent


def write(name: str, extras: str, folder: Path = _PROJECT / "build") -> Path:
    """Write the bill of materials of the image `name` with the project's `extras`, by blanks.

    Raises Unusable when uv is missing or uv.lock does not fit pyproject.toml.
    """
    chosen = [f"--extra={each}" for each in extras.split()]
    path = folder / f"{name}.cdx.json"
    folder.mkdir(parents=True, exist_ok=True)
    command = [_uv(), "export", "--quiet", "--locked", "--no-dev", f"--format={FORMAT}", *chosen]
    path.write_text(output(*command, cwd=_PROJECT))
    return path


def _uv() -> str:
    beside = str(_PROJECT / ".tools" / "bin")
    found = shutil.which("uv") or shutil.which("uv", path=beside)
    if found is None:
        raise Unusable("uv is not installed: make environment installs it")
    return found

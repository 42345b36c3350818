"""The Python of what is measured: an optimized build, as that of the image and of most users.

A build without `--enable-optimizations`, as pyenv makes it unless it is told otherwise, costs the
services up to a tenth more processor time for small objects; for CT images no difference was seen.
The rivals' programs are a distribution's optimized builds, so ours runs on the distribution's
Python then, with the packages of this environment.
"""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_SOURCE = Path(__file__).parent.parent / "src"
_DISTRIBUTION = Path("/usr/bin")
_USED = "import dimse_ingestion.cli, msgspec, uvloop"


@dataclass(frozen=True)
class Interpreter:
    """A program, the variables that it needs, and how it was built."""

    program: str
    variables: Mapping[str, str] = field(default_factory=dict)
    build: str = "optimized"

    @property
    def description(self) -> str:
        """Its version, and how it was built."""
        command = [self.program, "-c", "import platform; print(platform.python_version())"]
        version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        return f"{version}, {self.build}"


@cache
def measured_interpreter() -> Interpreter:
    """Return this Python if its build is optimized, else the distribution's of the same version."""
    if _is_optimized():
        return Interpreter(sys.executable)
    program = _DISTRIBUTION / f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = (str(_SOURCE), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    variables = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(packages))}
    if program.exists() and _has_packages(program, variables):
        return Interpreter(str(program), variables)
    return Interpreter(sys.executable, build="not optimized")


def _is_optimized() -> bool:
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    return "--enable-optimizations" in arguments or Path(sys.base_prefix) == _DISTRIBUTION.parent


def _has_packages(program: Path, variables: Mapping[str, str]) -> bool:
    """Return whether a Python can load the packages of this environment, compiled ones as well."""
    environment = os.environ | variables
    command = [str(program), "-c", _USED]
    return (
        subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
    )

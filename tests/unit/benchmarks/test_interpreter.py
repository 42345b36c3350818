"""What is measured runs on an optimized Python that has the packages of this environment."""

import os
import subprocess
import sys

import pytest

from benchmarks import interpreter


def test_the_python_of_the_services_loads_the_packages_that_are_tested_here() -> None:
    found = interpreter.measured_interpreter()
    command = [found.program, "-c", "import dimse_ingestion; print(dimse_ingestion.__file__)"]
    environment = {**os.environ, **found.variables}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    import dimse_ingestion

    assert printed.stdout.strip() == dimse_ingestion.__file__
    assert found.description.startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")


@pytest.mark.parametrize(
    ("arguments", "prefix", "optimized"),
    [
        ("'--enable-shared' '--enable-optimizations' '--with-lto'", "/usr/local", True),
        ("'--enable-shared'", "/usr/local", False),
        ("'--enable-shared'", "/usr", True),
        (None, "/opt/python", False),
    ],
)
def test_a_build_is_recognized(
    monkeypatch: pytest.MonkeyPatch, arguments: str | None, prefix: str, optimized: bool
) -> None:
    monkeypatch.setattr("sysconfig.get_config_var", lambda _: arguments)
    monkeypatch.setattr("sys.base_prefix", prefix)
    assert interpreter._is_optimized() is optimized

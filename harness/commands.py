"""Other programs, run to their end; an error has their last output.

Not for background processes (harness.services, harness.airgap.engine).
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

Say = Callable[[str], None]
"""A function that prints progress, a line at a time."""

_SHOWN = 30


def print_line(line: str) -> None:
    """Print a line at once: a pipe would keep it until some kilobytes have come together."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Unusable(Exception):
    """This machine can't do what is needed; the message names the reason and the remedy."""


def output(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    given: str | None = None,
    seconds: float = 600,
) -> str:
    """Return the standard output of `command`, run with `env` added to the environment.

    `given` is its standard input. Raises Unusable when it isn't installed, doesn't end within
    `seconds`, or exits with another status than 0.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            input=given,
            stdin=None if given is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        raise Unusable(f"{words[0]} is not installed, or not on PATH") from None
    except subprocess.TimeoutExpired:
        raise Unusable(f"{' '.join(words[:4])} has not ended after {seconds:.0f} s") from None
    if done.returncode:
        message = last_lines(f"{done.stdout}\n{done.stderr}")
        raise Unusable(f"{' '.join(words[:4])} failed:\n{message}")
    return done.stdout


def succeeds(*command: str | Path, env: Mapping[str, str] | None = None) -> bool:
    """Return whether `command` exists and exits with 0."""
    try:
        output(*command, env=env)
    except Unusable:
        return False
    return True


def last_lines(text: str, count: int = _SHOWN) -> str:
    """Return the last lines of a program's output."""
    return "\n".join(text.strip().splitlines()[-count:])

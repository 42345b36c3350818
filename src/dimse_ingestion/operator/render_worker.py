"""The process in which specs are rendered: a line of JSON asks, a line of JSON answers.

`extraObjects` are templates of whoever may write a resource, and a template may go on for ever or
take any memory, which no thread can be stopped from. So this process has bounds that the kernel
holds: it ends by SIGALRM, or for want of memory. `confining` starts it, and another in its place.
"""

import json
import os
import resource as limits
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

from helm_python.errors import HelmError

from dimse_ingestion.operator.render import Renderer
from dimse_ingestion.operator.resources import Manifest, Resource
from dimse_ingestion.operator.values import SpecMistake

SECONDS = 5.0
"""What one rendering may take; it takes some hundredths of one."""
MEBIBYTES = 128
"""What the process may take more of memory than it has at its start."""


def main() -> None:
    """Answer until there is no more to be read."""
    # whatever the library might print is no answer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        renderer = Renderer(Path(sys.argv[1]))
    except HelmError as error:
        _say(answers, {"trouble": str(error)})
        return
    _say(answers, {})
    _bound_memory()
    # of what takes all memory the library would write some hundred lines
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_REAL, SECONDS)  # nobody handles it: it ends the process
        answer = _answer(renderer, json.loads(line))
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say(answers, answer)


def _answer(renderer: Renderer, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        objects: list[Manifest] = renderer.objects(Resource(asked["resource"]), asked["values"])
        return {"objects": json.dumps(objects, default=str)}
    except SpecMistake as mistake:
        return {"mistakes": mistake.sentences}
    except (MemoryError, RecursionError, ValueError) as error:
        because = str(error) or "they are too large"
        return {"mistakes": [f"extraObjects can't be written as objects: {because}."]}
    except Exception as error:  # noqa: BLE001 - said by who can log it
        return {"broken": f"{type(error).__name__}: {error}"}


def _say(answers: BinaryIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


def _bound_memory() -> None:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (taken,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmData:")]
    most = int(taken) * 1024 + MEBIBYTES * 1024 * 1024
    limits.setrlimit(limits.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    main()

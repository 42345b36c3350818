"""The child process that renders specs: it reads a line of JSON and writes a line of JSON.

`extraObjects` are templates by whoever may write a resource, and a template may loop for ever or
take any amount of memory, which no thread can be stopped from. So this process has limits that the
kernel enforces: it ends by SIGALRM, or for lack of memory. `render_sandbox` starts and restarts it.
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
"""The time limit of one rendering, which usually takes hundredths of a second."""
MEBIBYTES = 128
"""The memory limit, beyond what the process has at its start."""


def main() -> None:
    """Answer requests until the end of standard input."""
    # whatever the library prints must not be taken for a response
    responses = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        renderer = Renderer(Path(sys.argv[1]))
    except HelmError as error:
        _write(responses, {"error": str(error)})
        return
    _write(responses, {})
    _bound_memory()
    # out of memory, the library would write some hundred lines
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_REAL, SECONDS)  # not handled: it ends the process
        response = _respond(renderer, json.loads(line))
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(responses, response)


def _respond(renderer: Renderer, request: dict[str, Any]) -> dict[str, Any]:
    try:
        objects: list[Manifest] = renderer.render(Resource(request["resource"]), request["values"])
        return {"objects": json.dumps(objects, default=str)}
    except SpecMistake as mistake:
        return {"mistakes": mistake.sentences}
    except (MemoryError, RecursionError, ValueError) as error:
        reason = str(error) or "they are too large"
        return {"mistakes": [f"extraObjects can't be written as objects: {reason}."]}
    except Exception as error:  # noqa: BLE001 - logged by the parent process
        return {"broken": f"{type(error).__name__}: {error}"}


def _write(responses: BinaryIO, response: dict[str, Any]) -> None:
    responses.write(json.dumps(response).encode() + b"\n")
    responses.flush()


def _bound_memory() -> None:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (used,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmData:")]
    limit = int(used) * 1024 + MEBIBYTES * 1024 * 1024
    limits.setrlimit(limits.RLIMIT_DATA, (limit, limit))


if __name__ == "__main__":
    main()

"""`dimse-ingestion standalone` as a user types it, in a process of its own."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.modalities import Peer


def command(*arguments: str) -> list[str]:
    """Return a command line of ours."""
    return [sys.executable, "-m", "dimse_ingestion", *arguments]


@contextmanager
def standing(
    data: Path, *options: str, host: str = r"127\.0\.0\.1"
) -> Iterator[tuple[subprocess.Popen[str], Peer, str]]:
    """Yield the process, its AE, and the address of its DICOMweb service; `host` is a pattern."""
    ports = ("--dimse-port", "0", "--http-port", "0")
    with (data.parent / "standalone.log").open("ab") as log:
        process = subprocess.Popen(
            command("standalone", "--data", str(data), *ports, *options),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    match = re.fullmatch(
        rf"ready dimse=DICOM-INGEST@({host}):(\d+) http=(http://{host}:\d+)\n", line
    )
    try:
        assert match, (line, (data.parent / "standalone.log").read_text()[-3000:])
        yield process, Peer(match[1], int(match[2])), match[3]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

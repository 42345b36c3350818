"""`dimse-ingestion standalone` in a process of its own, started as a user would."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import BinaryIO

from dimse_ingestion.settings.errors import directory_mistake

_READY = re.compile(
    r"^ready dimse=(?P<title>.+)@(?P<host>[^@ ]+):(?P<port>\d+) http=(?P<http>\S+)$"
)
_LONGEST_START = 60.0
_LONGEST_STOP = 30.0


@dataclass(frozen=True)
class Product:
    """A running product; `page` is its web page's URL, `log` holds its log lines."""

    ae_title: str
    address: tuple[str, int]
    page: str
    data: Path
    log: Path

    @property
    def bucket(self) -> Path:
        """The folder that is the bucket."""
        return self.data / "bucket"


@contextmanager
def running(data: Path) -> Iterator[Product]:
    """Run the product on free ports within the block, with its data in `data`.

    Raises RuntimeError, with the last log lines, when it isn't ready in 60 seconds or does not
    stop cleanly; ConfigurationMistake when nothing can be written there.
    """
    log = data / "standalone.log"
    with _opened_log(log) as lines:
        process = _start(data, lines.fileno())
        try:
            yield _ready(process, data, log)
        finally:
            _stop(process, log)


def _opened_log(log: Path) -> BinaryIO:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("ab")
    except OSError as error:
        raise directory_mistake("--data", str(log.parent), error) from None


def _start(data: Path, log: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dimse_ingestion", "standalone", "--dimse-port", "0"]
    command += ["--http-port", "0"]
    return subprocess.Popen(  # noqa: S603 - our own command line
        [*command, "--data", str(data)], stdout=subprocess.PIPE, stderr=log, text=True
    )


def _ready(process: subprocess.Popen[str], data: Path, log: Path) -> Product:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    timer = Timer(_LONGEST_START, process.kill)
    timer.start()
    started = time.monotonic()
    try:
        for line in process.stdout:
            if result := _READY.match(line):
                address = (result["host"], int(result["port"]))
                return Product(result["title"], address, f"{result['http']}/", data, log)
    finally:
        timer.cancel()
    seconds = time.monotonic() - started
    raise RuntimeError(f"The product was not ready after {seconds:.0f} s:\n{_last_lines(log)}")


def _stop(process: subprocess.Popen[str], log: Path) -> None:
    process.terminate()
    try:
        code = process.wait(_LONGEST_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if process.stdout is not None:
        process.stdout.close()
    if code != 0 and sys.exc_info()[0] is None:
        raise RuntimeError(f"The product ended with status {code}:\n{_last_lines(log)}")


def _last_lines(log: Path, count: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])

"""The lock of a data folder: two processes on it would take each other's spool and server."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dimse_ingestion.settings import ConfigurationMistake
from dimse_ingestion.settings.errors import directory_mistake

_LOCK = "standalone.lock"


@contextmanager
def lock_folder(data: Path) -> Iterator[None]:
    """Create the folder if necessary, and hold its lock within the block.

    Raises ConfigurationMistake when it can't be written or another process holds the lock, which
    the kernel releases when the process ends, however that is.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = os.open(data / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise directory_mistake("--data", str(data), error) from None
    try:
        _take(lock, data)
        yield
    finally:
        os.close(lock)


def _take(lock: int, data: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationMistake(
            [f"--data: {data} is in use by another standalone: stop it, or give another folder."]
        ) from None

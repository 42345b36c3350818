"""The folder of a spool on disk: created when it is missing, also while the service runs.

Cleaners of temporary files and administrators delete folders that look unused. Nothing is lost by
that (the files in use have no name), so the folder is created again. The contents of its files are
`spooled`'s part, limits on their size `spool`'s.
"""

import os
import secrets
import shutil
from pathlib import Path

from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
_SUFFIX = ".dataset"
_ENOUGH_FREE_SPACE = 64 * 2**20  # bytes


def create_directory(directory: Path) -> None:
    """Create a folder that is missing, and log it. Raises OSError."""
    if directory.is_dir():
        return
    directory.mkdir(parents=True, exist_ok=True)
    _LOG.warning("The spool directory was missing: it is created.", directory=str(directory))


def open_unnamed(directory: Path, name: str) -> int:
    """Return the descriptor of a new file that is already unlinked. Raises OSError."""
    path = directory / f"{name}{_SUFFIX}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:
        create_directory(directory)
        descriptor = os.open(path, flags, 0o600)
    path.unlink(missing_ok=True)
    return descriptor


def check_writable(directory: Path) -> None:
    """Write a byte to a new file in the folder, created if it is missing. Raises OSError."""
    descriptor = open_unnamed(directory, f"check-{secrets.token_hex(8)}")
    try:
        os.write(descriptor, b"\0")
    finally:
        os.close(descriptor)


def remove_leftovers(directory: Path) -> None:
    """Remove files that a crash left between opening and unlinking. Raises OSError."""
    for leftover in directory.glob(f"*{_SUFFIX}"):
        leftover.unlink(missing_ok=True)
        _LOG.info("Leftover removed from the spool.", file=leftover.name)


def has_free_space(directory: Path) -> bool:
    """Return whether the folder's disk can take more than a few data sets. Raises OSError."""
    return shutil.disk_usage(directory).free > _ENOUGH_FREE_SPACE

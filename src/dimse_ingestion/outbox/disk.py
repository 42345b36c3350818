"""The outbox's share of the disk: its limit, its free space, and whether it can be written."""

import errno
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.outbox.folders import Folders
from dimse_ingestion.outbox.recovery import quarantine_file, quarantine_range
from dimse_ingestion.outbox.waiting import Entry
from dimse_ingestion.workers.counts import Count

_LOG = logger(__name__)
_T = TypeVar("_T")
Work = Callable[[], _T]
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ENOUGH_FREE_SPACE = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """The most bytes on disk, and the share of them above which nothing more is taken."""

    octets: int = 16 * 2**30
    high_water: float = 0.9


class Usage:
    """The bytes of all files of an outbox, dead letters and quarantine included.

    `octets` are those of this outbox; the limit is that of all workers of a service together.
    """

    def __init__(self, directory: Path, limits: Limits, count: Count, setting: str) -> None:
        self._directory = directory
        self._setting = setting
        self._count = count
        self.limits = limits
        self.octets = 0
        self.free = 0
        self._broken = ""

    @property
    def problem(self) -> str:
        """Return why nothing can be taken, as a sentence; empty when there is space."""
        total = self._count.total
        if total > self.limits.octets * self.limits.high_water:
            return (
                f"The spool holds {total} of {self.limits.octets} bytes: see why nothing is "
                f"forwarded, drop dead letters, or raise {self._setting}."
            )
        return self._broken

    def count(self, octets: int) -> None:
        """Add to the bytes in use."""
        self.octets += octets
        self._count.add(octets)

    def mark_broken(self, error: OSError) -> None:
        """Take nothing more until `check` finds the disk usable again."""
        what = "is full" if error.errno in _FULL else f"can't be written ({error.strerror})"
        self._broken = f"The spool {self._directory} {what}: free space, or mount another."

    def check(self, folder: Path) -> None:
        """Measure the free space, and write to a disk that was broken. Blocks."""
        try:
            self.free = shutil.disk_usage(self._directory).free
            if self._broken:
                _write(folder)
        except OSError as error:
            self.mark_broken(error)
            return
        if self.free < _ENOUGH_FREE_SPACE:
            self.mark_broken(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        elif self._broken:
            self._broken = ""
            _LOG.info("The spool can be written again.", directory=str(self._directory))


def measure(folders: Folders) -> int:
    """Return the bytes of all files. Blocks."""
    total = 0
    for folder in folders.all:
        for entry in os.scandir(folder):
            try:
                total += entry.stat().st_size
            except FileNotFoundError:
                continue
    return total


def quarantine(entry: Entry, folders: Folders, reason: str) -> None:
    """Put the bytes of a damaged entry into the quarantine, and log it. Blocks."""
    place = entry.place
    if isinstance(place, Path):
        if place.exists():
            quarantine_file(place, folders, reason)
        else:
            _LOG.error("A file of the outbox is gone.", file=place.name, reason=reason)
        return
    content = place.read_range(entry.offset, entry.length)
    quarantine_range(place, entry.offset, content, folders)
    _LOG.error(
        "A damaged record of the outbox is in quarantine: what it held can't be forwarded.",
        file=place.path.name,
        start=entry.offset,
        end=entry.offset + entry.length,
        reason=reason,
    )


def _write(folder: Path) -> None:
    path = folder / f"check-{secrets.token_hex(8)}.part"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, bytes(4096))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)

"""The file of a SQLite catalogue: created for its owner alone, and checked to be still in place.

Nothing here opens a database that exists. SQLite holds POSIX locks on its file, and the kernel
drops all locks of a process on a file as soon as that process closes any descriptor of it: another
program that reads the catalogue then takes itself for the only one, and removes the write-ahead
log under us. See "POSIX Advisory Locks Are Broken By Design" in SQLite's `os_unix.c`.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from dimse_ingestion.dicom.failure import OutOfResources

_creating = Lock()


def create_private(path: Path) -> None:
    """Create the file, empty and its owner's alone, with its folder; leave one that exists."""
    path = path.resolve()
    with _creating:  # no other thread may lock the new file before this closes it
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            return


@dataclass(frozen=True, slots=True)
class OpenFile:
    """The file that a connection has open, as it was found when that was opened."""

    path: str
    identity: tuple[int, int]
    has_log: bool

    @classmethod
    def at(cls, path: str, *, has_log: bool) -> "OpenFile":
        """Return the file at `path`; `has_log` when SQLite keeps a write-ahead log beside it."""
        return cls(path, _identity(path), has_log)

    def check_in_place(self) -> None:
        """Raise transient A700 when the file or its log was moved, replaced or removed.

        What was committed since would be lost with the process that has them open.
        """
        try:
            in_place = _identity(self.path) == self.identity
            if self.has_log:
                Path(f"{self.path}-wal").stat()
        except FileNotFoundError:
            in_place = False
        if not in_place:
            raise OutOfResources(
                "The catalogue's file or its -wal file was moved or removed while in use: "
                "put it back or reindex, then restart the catalogue."
            )


def _identity(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_dev, status.st_ino

"""The file of a SQLite catalogue: created with access for its owner only, and checked while in use.

Nothing here opens an existing database. SQLite holds POSIX locks on its file, and the kernel drops
all locks of a process on a file as soon as that process closes any descriptor of it. Another
program that reads the catalogue would then take itself for its only user, and delete the log that
this process writes to. See "POSIX Advisory Locks Are Broken By Design" in SQLite's `os_unix.c`.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from dimse_ingestion.failures import Unavailable

_creating = Lock()


def create_private(path: Path) -> None:
    """Create the file, empty and with mode 0600, and its folder; leave one that exists."""
    path = path.resolve()
    with _creating:  # no other thread may lock the new file before this closes it
        _make_folder(path.parent)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            return


def creation_problem(path: Path) -> str:
    """Return why `create_private` would fail; empty when it would not. Creates nothing."""
    folder = path.resolve().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} is no folder: give the path of a file in a folder."
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{path} can't be created: this user may not write to {folder}."
    return ""


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # what exists is no folder
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error


@dataclass(frozen=True, slots=True)
class OpenFile:
    """Identity of the file that a connection has open, taken when it was opened."""

    path: Path
    identity: tuple[int, int]
    log: Path | None

    @classmethod
    def at(cls, path: str, *, has_log: bool) -> "OpenFile":
        """Return the file at `path`; `has_log` when SQLite keeps a write-ahead log beside it."""
        file = Path(path)
        return cls(file, _identity(file), Path(f"{path}-wal") if has_log else None)

    def check_in_place(self) -> None:
        """Raise Unavailable when the file or its log was moved, replaced or removed.

        Later commits would be lost when the process that has them open ends.
        """
        try:
            in_place = _identity(self.path) == self.identity
            if self.log is not None:
                self.log.stat()
        except FileNotFoundError:
            in_place = False
        if not in_place:
            raise Unavailable(
                "The catalogue's file or its -wal file was moved or removed while in use: "
                "put it back or reindex, then restart the catalogue."
            )


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino

"""One object on its way into a folder: a file that gets its key when it is durable.

All methods block; `folder` calls them in a thread. Which folders need a sync is decided by
`folder_sync`.
"""

import os
import secrets
import stat
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice

from dimse_ingestion.storage.folder_sync import FolderSyncs

UPLOADS = ".uploads"
_MOST_PIECES = 1024  # of one writev (IOV_MAX of Linux and macOS)


def status_of_file(path: str) -> os.stat_result | None:
    """Return the status of a file, or None if there is none. Raises OSError."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a plain string
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


class Upload:
    """An object that is written to a file in `.uploads` below `root`, then renamed to `path`."""

    def __init__(self, root: str, path: str, folders: FolderSyncs) -> None:
        self.path = path
        self._folders = folders
        self._uploads = f"{root}/{UPLOADS}"
        self._part = f"{self._uploads}/{secrets.token_hex(16)}"
        self._file = -1

    def write(self, pieces: Sequence[bytes]) -> None:
        """Add bytes to the file, which is not visible yet."""
        if self._file < 0:
            self._open()
        _write_whole(self._file, pieces)

    def publish(self, pieces: Sequence[bytes] = ()) -> None:
        """Add the last bytes, then make the object durable and visible."""
        self.write(pieces)
        os.fsync(self._file)
        self._close()
        folder = os.path.dirname(self.path)  # noqa: PTH120 - a plain string
        created = self._folders.create(folder)
        os.replace(self._part, self.path)  # noqa: PTH105 - plain strings
        self._folders.sync(folder, created)

    def publish_new(self, pieces: Sequence[bytes]) -> os.stat_result | None:
        """Publish the object unless its file exists, whose status is then returned.

        An existing file may be another upload's, which has not synced its folders yet.
        """
        existing = status_of_file(self.path)
        if existing is None:
            self.publish(pieces)
        else:
            self.abandon()
            self._folders.sync(os.path.dirname(self.path), set())  # noqa: PTH120 - a plain string
        return existing

    def abandon(self) -> None:
        """Delete the unfinished file; harmless after `publish`."""
        self._close()
        with suppress(OSError):
            os.unlink(self._part)  # noqa: PTH108 - a plain string

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            self._file = os.open(self._part, flags, 0o640)
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.mkdir(self._uploads)  # noqa: PTH102 - a plain string
            self._file = os.open(self._part, flags, 0o640)

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def _write_whole(file: int, pieces: Sequence[bytes]) -> None:
    rest: deque[bytes | memoryview] = deque(pieces)
    while rest:
        written = os.writev(file, list(islice(rest, _MOST_PIECES)))
        while rest and written >= len(rest[0]):
            written -= len(rest.popleft())
        if written:
            rest[0] = memoryview(rest[0])[written:]

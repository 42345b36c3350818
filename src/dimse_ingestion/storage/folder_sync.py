"""fsync of the folders above a new file, without those that are durable already.

Uploads at the same time share the sync of a folder. A file's entry in its folder, and the entry of
each folder in the one above, must be durable before the file counts as stored. No file is written
here (see `folder_upload`). All functions block and may be called from several threads.
"""

import os
from dataclasses import dataclass, field
from threading import Lock

_MOST_DURABLE = 10_000  # folders; keys of instances share 257


@dataclass(slots=True, eq=False)
class _SharedSync:
    """The syncs of one folder, counted, and how many uploads wait for one."""

    lock: Lock = field(default_factory=Lock)
    started: int = 0
    finished: int = 0
    waiting: int = 0


class FolderSyncs:
    """The folders below `root`, which are never removed while the bucket is in use."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._durable: set[str] = set()
        self._lock = Lock()
        self._shared: dict[str, _SharedSync] = {}

    def create(self, folder: str) -> set[str]:
        """Create a folder and missing ones above it, but not the root; return those created."""
        try:
            os.mkdir(folder, 0o750)  # noqa: PTH102 - paths are plain strings on this hot path
        except FileExistsError:
            return set()
        except FileNotFoundError:
            above = _above(folder)
            if above == self._root:
                raise
            return self.create(above) | self.create(folder)
        return {folder}

    def sync(self, folder: str, created: set[str]) -> None:
        """Make a new entry of `folder` durable, with all folders above; `created` are new.

        A folder that another upload created may not be synced yet, so that it counts as durable
        only when an upload that found it there has synced the ones above it.
        """
        found = []
        self.sync_one(folder)
        while folder != self._root and folder not in self._durable:
            if folder not in created:
                found.append(folder)
            folder = _above(folder)
            self.sync_one(folder)
        self._note_durable(found)

    def sync_one(self, folder: str) -> None:
        """Sync one folder, or wait for a sync by another upload that starts from now on."""
        with self._lock:
            shared = self._shared.setdefault(folder, _SharedSync())
            shared.waiting += 1
            needed = shared.started + 1
        try:
            with shared.lock:
                if shared.finished < needed:
                    shared.started += 1
                    number = shared.started
                    _sync_folder(folder)
                    shared.finished = number
        finally:
            with self._lock:
                shared.waiting -= 1
                if not shared.waiting:
                    del self._shared[folder]

    def _note_durable(self, folders: list[str]) -> None:
        if len(self._durable) + len(folders) > _MOST_DURABLE:
            self._durable = set()
        self._durable.update(folders)


def _above(folder: str) -> str:
    return os.path.dirname(folder)  # noqa: PTH120 - a plain string


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

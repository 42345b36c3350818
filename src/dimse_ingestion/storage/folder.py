"""A folder as a bucket, for one machine: objects are files, durable before they are visible.

Bytes are written to a file in `.uploads`, which is synced and renamed to its key; then the folders
above it are synced: after a power cut an object is complete or missing. (obstore's own folder store
renames but never syncs.) The root folder must exist: one that was not mounted would otherwise be
taken for an empty bucket.
"""

import asyncio
import os
import secrets
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from dimse_ingestion.storage.contract import StoredObject
from dimse_ingestion.storage.folder_failures import folder_failure

_UPLOADS = ".uploads"
_PIECE = 1 << 20
_LISTED_AT_ONCE = 500
_ABANDONED_AFTER = 24 * 3600.0  # seconds: no upload lives as long


class FolderBucket:
    """Store objects as files below `root`, which other processes may use at the same time."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root
        self._swept = False

    async def head(self, key: str) -> StoredObject | None:
        """Return the object's size and time, or None."""
        path = self._path(key)
        with folder_failure(self._root):
            return await asyncio.to_thread(_stat_object, path, key)

    async def put(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        size: int,  # noqa: ARG002 - the contract's
    ) -> None:
        """Write in batches of 1 MiB, sync, rename, and sync the folders, each step in a thread."""
        path = self._path(key)
        upload = _Upload(self._root, path)
        try:
            async for batch in _batches(chunks):
                with folder_failure(self._root):
                    await _run_to_end(partial(upload.write, batch))
            with folder_failure(self._root):
                await _run_to_end(upload.publish)
        except BaseException:
            await _run_to_end(upload.abandon)
            raise
        await self._sweep_once()

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`; raises KeyError."""
        path = self._path(key)
        with folder_failure(self._root, key):
            return await asyncio.to_thread(_read, path, offset, length)

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Yield the whole object in pieces of 1 MiB; raises KeyError."""
        offset = 0
        while piece := await self.get_range(key, offset, _PIECE):
            yield piece
            offset += len(piece)

    async def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Yield the objects whose key begins with `prefix`, folder by folder."""
        objects = _list_files(self._root, prefix)
        while True:
            with folder_failure(self._root):
                page = await asyncio.to_thread(_take, objects, _LISTED_AT_ONCE)
            for each in page:
                yield each
            if len(page) < _LISTED_AT_ONCE:
                return

    async def delete(self, key: str) -> None:
        """Delete an object; do nothing if there is none."""
        path = self._path(key)
        with folder_failure(self._root):
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def check(self, *, write: bool = False) -> None:
        """Raise Failure when the folder is missing, not accessible, or full."""
        with folder_failure(self._root):
            await asyncio.to_thread(_check_folder, self._root, write=write)

    def _path(self, key: str) -> Path:
        if not key or any(part in ("", ".", "..") for part in key.split("/")):
            raise ValueError("A key must have parts, none of them empty or dots only.")
        return self._root / key

    async def _sweep_once(self) -> None:
        if not self._swept:
            self._swept = True
            with suppress(OSError):
                await asyncio.to_thread(_sweep, self._root / _UPLOADS)


class _Upload:
    """An object that is written to the folder; every method blocks."""

    def __init__(self, root: Path, path: Path) -> None:
        self._root = root
        self.path = path
        self._part = root / _UPLOADS / secrets.token_hex(16)
        self._file = -1

    def write(self, data: bytes | bytearray) -> None:
        """Add bytes to the file, which is not visible yet."""
        if self._file < 0:
            self._open()
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def publish(self) -> None:
        """Make the object durable and visible."""
        if self._file < 0:
            self._open()
        os.fsync(self._file)
        self._close()
        changed = _create_folders(self._root, self.path.parent)
        self._part.replace(self.path)
        for folder in dict.fromkeys([self.path.parent, *changed]):
            _sync_folder(folder)

    def abandon(self) -> None:
        """Delete the unfinished file; harmless after `publish`."""
        self._close()
        with suppress(OSError):
            self._part.unlink()

    def _open(self) -> None:
        with suppress(FileExistsError):
            self._part.parent.mkdir()
        self._file = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def _create_folders(root: Path, folder: Path) -> list[Path]:
    """Create missing folders; return those that may have a new entry, deepest first.

    All folders below the root are returned: another upload may have created one and not yet synced
    it.
    """
    between = [folder, *folder.parents]
    below_root = between[: between.index(root)]
    for each in reversed(below_root):
        with suppress(FileExistsError):
            each.mkdir(mode=0o750)
    return [each.parent for each in below_root]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _run_to_end(step: Callable[[], None]) -> None:
    """Run a step in a thread and wait for its end, even when cancelled: it uses an open file."""
    running = asyncio.ensure_future(asyncio.to_thread(step))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


async def _batches(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytearray]:
    batch = bytearray()
    async for chunk in chunks:
        batch += chunk
        if len(batch) >= _PIECE:
            yield batch
            batch = bytearray()
    if batch:
        yield batch


def _stat_object(path: Path, key: str) -> StoredObject | None:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        return StoredObject(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _list_files(root: Path, prefix: str) -> Iterator[StoredObject]:
    """Yield objects below the deepest folder that `prefix` names."""
    next(root.iterdir(), None)  # a missing root is an error, a missing folder below it is not
    start = root / prefix.rpartition("/")[0]
    for folder, folders, files in os.walk(start, onerror=_raise_unless_missing):
        if Path(folder) == root and _UPLOADS in folders:
            folders.remove(_UPLOADS)
        folders.sort()
        for file in sorted(files):
            path = Path(folder, file)
            key = path.relative_to(root).as_posix()
            if key.startswith(prefix) and (stored := _stat_object(path, key)) is not None:
                yield stored


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _take(objects: Iterator[StoredObject], number: int) -> list[StoredObject]:
    return [each for _, each in zip(range(number), objects, strict=False)]


def _check_folder(root: Path, *, write: bool) -> None:
    next(root.iterdir(), None)
    if write:
        upload = _Upload(root, root / _UPLOADS / f"check-{secrets.token_hex(8)}")
        try:
            upload.write(b"check")
            upload.publish()
        finally:
            upload.abandon()
            upload.path.unlink(missing_ok=True)


def _sweep(uploads: Path) -> None:
    """Delete unfinished files of processes that were killed."""
    for leftover in uploads.iterdir():
        if time.time() - leftover.stat().st_mtime > _ABANDONED_AFTER:
            leftover.unlink()

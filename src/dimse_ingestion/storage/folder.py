"""A folder as bucket, for one machine: objects are files, durable before they are visible.

Bytes go to a file beside the objects, which is synced, renamed to its key, and the folders above
it are synced too: after a power cut an object is whole or not there. (obstore's own folder store
renames but never syncs, so this is ours.) The folder itself must exist: one that was not mounted
would otherwise be taken for an empty bucket.
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
from dimse_ingestion.storage.sizes import verify_size

_UPLOADS = ".uploads"
_PIECE = 1 << 20
_LISTED_AT_ONCE = 500
_ABANDONED_AFTER = 24 * 3600.0  # seconds: no upload lives as long


class FolderBucket:
    """Objects as files below `root`; other processes may use it at the same time."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root
        self._swept = False

    async def head(self, key: str) -> StoredObject | None:
        """The object under `key`, or None."""
        path = self._path(key)
        with folder_failure(self._root):
            return await asyncio.to_thread(_object, path, key)

    async def put(self, key: str, chunks: AsyncIterator[bytes], size: int) -> None:
        """Write, sync, rename, sync: in batches of 1 MiB, each in a thread."""
        path = self._path(key)
        upload = _Upload(self._root, path)
        try:
            async for batch in _batches(verify_size(chunks, size)):
                with folder_failure(self._root):
                    await _to_the_end(partial(upload.write, batch))
            with folder_failure(self._root):
                await _to_the_end(upload.finish)
        except BaseException:
            await _to_the_end(upload.abandon)
            raise
        await self._sweep_once()

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`; raises KeyError."""
        path = self._path(key)
        with folder_failure(self._root, key):
            return await asyncio.to_thread(_read, path, offset, length)

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """The whole object in pieces of 1 MiB; raises KeyError."""
        offset = 0
        while piece := await self.get_range(key, offset, _PIECE):
            yield piece
            offset += len(piece)

    async def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Objects whose key begins with `prefix`, folder by folder."""
        found = _walk(self._root, prefix)
        while True:
            with folder_failure(self._root):
                some = await asyncio.to_thread(_taken, found, _LISTED_AT_ONCE)
            for each in some:
                yield each
            if len(some) < _LISTED_AT_ONCE:
                return

    async def delete(self, key: str) -> None:
        """Remove an object; nothing happens if there is none."""
        path = self._path(key)
        with folder_failure(self._root):
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def check(self, *, write: bool = False) -> None:
        """Raise DimseFailure when the folder is missing, closed to us, or full."""
        with folder_failure(self._root):
            await asyncio.to_thread(_try_out, self._root, write=write)

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
    """One object on its way into the folder; every method blocks."""

    def __init__(self, root: Path, path: Path) -> None:
        self._root = root
        self.path = path
        self._part = root / _UPLOADS / secrets.token_hex(16)
        self._file = -1

    def write(self, data: bytes | bytearray) -> None:
        """Add bytes to what isn't visible yet."""
        if self._file < 0:
            self._open()
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def finish(self) -> None:
        """Make it durable and visible."""
        if self._file < 0:
            self._open()
        os.fsync(self._file)
        self._close()
        made = _made_folders(self._root, self.path.parent)
        self._part.replace(self.path)
        for folder in dict.fromkeys([self.path.parent, *made]):
            _sync_folder(folder)

    def abandon(self) -> None:
        """Leave nothing behind; harmless after `finish`."""
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


def _made_folders(root: Path, folder: Path) -> list[Path]:
    """Make what is missing below root; the folders that may have got a new entry, deepest first.

    Another upload may have made one and not synced it yet, so all are named.
    """
    between = [folder, *folder.parents]
    below_root = between[: between.index(root)]
    for each in reversed(below_root):
        with suppress(FileExistsError):
            each.mkdir(mode=0o750)
    return [each.parent for each in below_root]


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


async def _to_the_end(step: Callable[[], None]) -> None:
    """Run a step in a thread and wait for its end even when cancelled: it uses an open file."""
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


def _object(path: Path, key: str) -> StoredObject | None:
    try:
        seen = path.stat()
        if not stat.S_ISREG(seen.st_mode):
            return None
        return StoredObject(key, seen.st_size, datetime.fromtimestamp(seen.st_mtime, UTC))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _walk(root: Path, prefix: str) -> Iterator[StoredObject]:
    """Objects below the deepest folder that `prefix` names, as they are found."""
    next(root.iterdir(), None)  # a missing root is an error, a missing folder below it is not
    start = root / prefix.rpartition("/")[0]
    for folder, folders, files in os.walk(start, onerror=_unless_missing):
        if Path(folder) == root and _UPLOADS in folders:
            folders.remove(_UPLOADS)
        folders.sort()
        for file in sorted(files):
            path = Path(folder, file)
            key = path.relative_to(root).as_posix()
            if key.startswith(prefix) and (found := _object(path, key)) is not None:
                yield found


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _taken(found: Iterator[StoredObject], number: int) -> list[StoredObject]:
    return [each for _, each in zip(range(number), found, strict=False)]


def _try_out(root: Path, *, write: bool) -> None:
    next(root.iterdir(), None)
    if write:
        upload = _Upload(root, root / _UPLOADS / f"check-{secrets.token_hex(8)}")
        try:
            upload.write(b"check")
            upload.finish()
        finally:
            upload.abandon()
            upload.path.unlink(missing_ok=True)


def _sweep(uploads: Path) -> None:
    """Remove what processes that died have left."""
    for left in uploads.iterdir():
        if time.time() - left.stat().st_mtime > _ABANDONED_AFTER:
            left.unlink()

"""A folder as a bucket, for one machine: objects are files, durable before they are visible.

Bytes are written to a file in `.uploads`, which is synced and renamed to its key; then the folders
above it are synced: after a power cut an object is complete or missing. (obstore's own folder store
renames but never syncs.) The root folder must exist: one that was not mounted would otherwise be
taken for an empty bucket.
"""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from dimse_ingestion.storage.contract import StoredObject
from dimse_ingestion.storage.folder_failures import folder_failure
from dimse_ingestion.storage.folder_reads import FileReads
from dimse_ingestion.storage.folder_sync import FolderSyncs
from dimse_ingestion.storage.folder_upload import UPLOADS, Upload, status_of_file

T = TypeVar("T")

_UPLOADS_AT_ONCE = 32
_PIECE = 1 << 20
_LISTED_AT_ONCE = 500
_ABANDONED_AFTER = 24 * 3600.0  # seconds: no upload lives as long


class FolderBucket:
    """Store objects as files below `root`, which other processes may use at the same time."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root
        self._folders = FolderSyncs(str(root))
        self._threads = ThreadPoolExecutor(_UPLOADS_AT_ONCE, "folder")
        self._reads = FileReads()
        self._swept = False

    async def head(self, key: str) -> StoredObject | None:
        """Return the object's size and time, or None."""
        path = self._path(key)
        with folder_failure(self._root):
            status = await asyncio.to_thread(status_of_file, path)
        return None if status is None else _stored_object(key, status)

    async def put(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        size: int,  # noqa: ARG002 - the contract's
    ) -> None:
        """Write in batches of 1 MiB; sync, rename and sync the folders with the last batch.

        Each batch is one call in a thread, so that a small object is one in all.
        """
        await self._upload(key, chunks, Upload.publish)

    async def put_new(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        size: int,  # noqa: ARG002 - the contract's
    ) -> StoredObject | None:
        """Store an object unless it exists; the thread that writes looks whether it does."""
        existing = await self._upload(key, chunks, Upload.publish_new)
        return None if existing is None else _stored_object(key, existing)

    async def _upload(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        publish: Callable[[Upload, list[bytes]], T],
    ) -> T:
        """Write the chunks and return the result of `publish` with the last of them."""
        upload = Upload(self.name, self._path(key), self._folders)
        try:
            batch = await self._write_all_but_the_last(upload, chunks)
            with folder_failure(self._root):
                result = await self._run_to_end(partial(publish, upload, batch))
        except BaseException:
            await self._run_to_end(upload.abandon)
            raise
        if not self._swept:
            await self._sweep_once()
        return result

    async def _write_all_but_the_last(
        self, upload: Upload, chunks: AsyncIterator[bytes]
    ) -> list[bytes]:
        """Write chunks in batches of 1 MiB; return those that are left."""
        batch: list[bytes] = []
        length = 0
        async for chunk in chunks:
            batch.append(chunk)
            length += len(chunk)
            if length >= _PIECE:
                with folder_failure(self._root):
                    await self._run_to_end(partial(upload.write, batch))
                batch, length = [], 0
        return batch

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`; raises KeyError."""
        path = self._path(key)
        with folder_failure(self._root, key):
            return await self._reads.read(path, offset, length)

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
            await asyncio.to_thread(Path(path).unlink, missing_ok=True)

    async def check(self, *, write: bool = False) -> None:
        """Raise Failure when the folder is missing, not accessible, or full."""
        with folder_failure(self._root):
            await asyncio.to_thread(_check_folder, self._root, write=write)

    def _path(self, key: str) -> str:
        if not key or any(part in ("", ".", "..") for part in key.split("/")):
            raise ValueError("A key must have parts, none of them empty or dots only.")
        return f"{self.name}/{key}"

    async def _sweep_once(self) -> None:
        self._swept = True
        with suppress(OSError):
            await asyncio.to_thread(_sweep, self._root / UPLOADS)

    async def _run_to_end(self, step: Callable[[], T]) -> T:
        """Run a step in a thread and wait for its end, even when cancelled: it uses an open file.

        The threads are the bucket's own, because many uploads wait for the disk at the same time,
        which then syncs them together.
        """
        running = asyncio.get_running_loop().run_in_executor(self._threads, step)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait({running})
            raise


def _stored_object(key: str, status: os.stat_result) -> StoredObject:
    return StoredObject(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _list_files(root: Path, prefix: str) -> Iterator[StoredObject]:
    """Yield objects below the deepest folder that `prefix` names."""
    next(root.iterdir(), None)  # a missing root is an error, a missing folder below it is not
    start = root / prefix.rpartition("/")[0]
    for folder, folders, files in os.walk(start, onerror=_raise_unless_missing):
        if Path(folder) == root and UPLOADS in folders:
            folders.remove(UPLOADS)
        folders.sort()
        for file in sorted(files):
            path = Path(folder, file)
            key = path.relative_to(root).as_posix()
            if key.startswith(prefix) and (status := status_of_file(str(path))) is not None:
                yield _stored_object(key, status)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _take(objects: Iterator[StoredObject], number: int) -> list[StoredObject]:
    return [each for _, each in zip(range(number), objects, strict=False)]


def _check_folder(root: Path, *, write: bool) -> None:
    next(root.iterdir(), None)
    if write:
        path = root / UPLOADS / f"check-{secrets.token_hex(8)}"
        upload = Upload(str(root), str(path), FolderSyncs(str(root)))
        try:
            upload.publish([b"check"])
        finally:
            upload.abandon()
            path.unlink(missing_ok=True)


def _sweep(uploads: Path) -> None:
    """Delete unfinished files of processes that were killed."""
    for leftover in uploads.iterdir():
        if time.time() - leftover.stat().st_mtime > _ABANDONED_AFTER:
            leftover.unlink()

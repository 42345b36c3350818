"""Writes that are durable when they return: a file's bytes, and its entry in the folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def create_folder(folder: Path) -> None:
    """Create a folder and missing ones above it, all of them durable. Raises OSError."""
    if folder.is_dir():
        return
    create_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is created, within the block.

    Raises BlockingIOError if a process has it, and OSError. The kernel releases it when the process
    ends, however that is.
    """
    create_folder(folder)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sync_folder(folder)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def new_file(path: Path) -> Iterator[int]:
    """Write a file within the block under another name; it appears whole and durable, or never.

    The value is a descriptor. Raises OSError, and then no file is left.
    """
    part = path.with_name(path.name + PART)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def move(path: Path, folder: Path) -> Path:
    """Move a file to another folder of the same disk, durably; return its new path."""
    moved = folder / path.name
    path.rename(moved)
    sync_folder(folder)
    sync_folder(path.parent)
    return moved


def remove_durably(path: Path) -> None:
    """Delete a file, if it is there, so that it does not come back. Raises OSError."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_at(descriptor: int, content: bytes, offset: int) -> None:
    """Write all bytes at an offset. Raises OSError."""
    rest = memoryview(content)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def write_whole(descriptor: int, content: bytes | memoryview) -> None:
    """Write all bytes. Raises OSError."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


PART = ".part"
"""What the name of a file that is still being written ends with."""

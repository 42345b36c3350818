"""The disks that faults break: small, full, or read-only. Mounting needs root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def problem() -> str:
    """Return why no file system can be mounted here; empty when one can."""
    return "it mounts a file system: needs root" if os.geteuid() else ""


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a file system of 256 MiB in memory at `folder` within the block."""
    folder.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", "size=256m", "tmpfs", folder)
    try:
        yield
    finally:
        _unmount(folder)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Fill the disk of a folder to its last byte within the block."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        try:
            while file.write(bytes(1 << 20)):
                file.flush()
        except OSError:
            pass
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Mount a folder upon itself, read-only, within the block.

    No file can be created, renamed or deleted in it. One that a process has open for writing stays
    writable, as it is on a disk that is remounted for the others.
    """
    _mount("--bind", folder, folder)
    try:
        _mount("-o", "remount,ro,bind", folder)
        yield
    finally:
        _unmount(folder)


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)

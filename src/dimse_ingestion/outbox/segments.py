"""Segments: files with many records, each with a file of marks beside it.

A segment's name has its number, its salt and the version of the format, so that no damage to its
bytes makes the rest unreadable. A process never appends to a segment of the process before it. All
functions block, and raise OSError.
"""

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from dimse_ingestion.durable.files import sync_folder, write_whole
from dimse_ingestion.outbox.files import file_length
from dimse_ingestion.outbox.records import (
    VERSION,
    Metadata,
    decode_marks,
    encode_mark,
    is_intact,
    record_at,
)

_SUFFIX = f".v{VERSION}.segment"
_MARKS = f".v{VERSION}.marks"
_NAME = re.compile(rf"(\d{{10}})-([0-9a-f]{{8}}){re.escape(_SUFFIX)}")


class DamagedRecord(Exception):
    """A record is not what was written."""


@dataclass(slots=True, eq=False)
class Segment:
    """One segment; `waiting` counts its records that have no mark yet."""

    path: Path
    number: int
    salt: int
    waiting: int = 0
    is_open: bool = False
    """True while records are appended."""
    counted: int = 0
    """The bytes that are counted as used."""

    @property
    def marks_path(self) -> Path:
        """The file of its marks."""
        return self.path.with_name(self.path.name.removesuffix(_SUFFIX) + _MARKS)

    def read_content(self) -> bytes:
        """Return all its bytes."""
        return self.path.read_bytes()

    def read_marks(self) -> set[int]:
        """Return the offsets that have a mark."""
        try:
            return decode_marks(self.marks_path.read_bytes(), self.salt)
        except FileNotFoundError:
            return set()

    def read_record(self, offset: int, length: int) -> tuple[Metadata, bytes]:
        """Return metadata and data set of a record. Raises DamagedRecord."""
        content = self.read_range(offset, length)
        record = record_at(content, 0, self.salt)
        if record is None or record.end != len(content):
            raise DamagedRecord
        data = content[record.data_start :]
        if not is_intact(data, record, self.salt):
            raise DamagedRecord
        return record.metadata, data

    def read_range(self, offset: int, length: int) -> bytes:
        """Return bytes as they are."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def delete(self) -> None:
        """Delete it, the marks last: a segment without its marks would be forwarded again."""
        self.path.unlink(missing_ok=True)
        self.marks_path.unlink(missing_ok=True)


def existing(folder: Path, *, tidy: bool = True) -> list[Segment]:
    """Return the segments of a folder, the oldest first; with `tidy` remove marks without one."""
    found = []
    for path in sorted(folder.iterdir()):
        if match := _NAME.fullmatch(path.name):
            length = file_length(path)
            found.append(Segment(path, int(match[1]), int(match[2], 16), counted=length))
    for path in folder.glob(f"*{_MARKS}") if tidy else ():
        if not path.with_name(path.name.removesuffix(_MARKS) + _SUFFIX).exists():
            path.unlink(missing_ok=True)
    return found


def create(folder: Path, number: int) -> tuple[Segment, int]:
    """Create an empty segment, durably; return it and a descriptor to write."""
    salt = secrets.randbits(32)
    path = folder / f"{number:010d}-{salt:08x}{_SUFFIX}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        sync_folder(folder)
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return Segment(path, number, salt, is_open=True), descriptor


class MarkLog:
    """Appends marks; the file of the segment that was marked last stays open.

    A mark that is lost costs one more transfer of a data set, so only `durable` marks are synced.
    """

    def __init__(self) -> None:
        self._segment: Segment | None = None
        self._descriptor = -1

    def append(self, segment: Segment, offset: int, *, durable: bool = False) -> None:
        """Mark the record at an offset."""
        if segment is not self._segment:
            self.close()
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(segment.marks_path, flags, 0o600)
            self._segment = segment
        write_whole(self._descriptor, encode_mark(offset, segment.salt))
        if durable:
            os.fsync(self._descriptor)
            sync_folder(segment.path.parent)

    def close_of(self, segment: Segment) -> None:
        """Close the file of a segment's marks, if it is open."""
        if segment is self._segment:
            self.close()

    def close(self) -> None:
        """Close the file that is open, if any."""
        if self._segment is not None:
            os.close(self._descriptor)
            self._segment = None

"""The file of one transaction: records, a line each, with their checksums.

`{CRC-32 as eight hexadecimal digits} {JSON}`. A line that is incomplete or damaged ends the file:
what follows is not read, and the next record overwrites it. Every write is durable (fsync) when its
function returns. All functions block; `journal` calls them in a thread.
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dimse_ingestion.proxy.commitment.transactions import Accepted, Decided, Record

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Record)
_CHECKSUM_LENGTH = 9  # eight digits and a space


class Damaged(Exception):
    """The file of a transaction does not begin with a whole request."""


class Content:
    """The content of a file: its records up to the first damage, and their length in bytes."""

    def __init__(self, accepted: Accepted, decided: Decided | None, length: int) -> None:
        self.accepted = accepted
        self.decided = decided
        self.length = length


def encode(record: Record) -> bytes:
    """Return the line of a record."""
    content = _ENCODER.encode(record)
    return _checksum(content) + content + b"\n"


def create(path: Path, accepted: Accepted) -> int:
    """Write the file of a new transaction, durably, and return its length. Raises OSError.

    It appears under its name only when it is whole.
    """
    line = encode(accepted)
    temporary = path.with_suffix(".new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_at(descriptor, line, 0)
        finally:
            os.close(descriptor)
        temporary.rename(path)
        sync_directory(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise
    return len(line)


def append(path: Path, record: Record, length: int) -> int:
    """Write a record behind the first `length` bytes, durably; return the new length.

    Raises OSError; then the record does not count, and the next one overwrites it.
    """
    line = encode(record)
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, length)
        _write_at(descriptor, line, length)
    finally:
        os.close(descriptor)
    return length + len(line)


def read(path: Path) -> Content:
    """Return what the file has. Raises Damaged and OSError."""
    return decode(path.read_bytes(), path.name)


def decode(data: bytes, name: str) -> Content:
    """Return what the bytes of the file `name` have. Raises Damaged."""
    accepted: Accepted | None = None
    decided: Decided | None = None
    length = 0
    for record, line_length in _records(data):
        if accepted is None and isinstance(record, Accepted):
            accepted = record
        elif accepted is not None and isinstance(record, Decided):
            decided = record
        else:
            break
        length += line_length
    if accepted is None:
        raise Damaged(name)
    return Content(accepted, decided, length)


def sync_directory(directory: Path) -> None:
    """Make names in a folder durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _records(content: bytes) -> Iterator[tuple[Record, int]]:
    for line in content.splitlines(keepends=True):
        checksum, text = line[:_CHECKSUM_LENGTH], line[_CHECKSUM_LENGTH:-1]
        if not line.endswith(b"\n") or checksum != _checksum(text):
            return
        try:
            yield _DECODER.decode(text), len(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):  # what is no UTF-8, or nested
            return


def _checksum(content: bytes) -> bytes:
    return f"{zlib.crc32(content):08x} ".encode()


def _write_at(descriptor: int, content: bytes, offset: int) -> None:
    with memoryview(content) as rest:
        written = 0
        while written < len(rest):
            written += os.pwrite(descriptor, rest[written:], offset + written)
    os.fsync(descriptor)

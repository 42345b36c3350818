"""The file of one transaction: records (`durable.records`) of JSON, without data.

A record that is incomplete or damaged ends the file: what follows is not read, and the next record
overwrites it. Every write is durable (fsync) when its function returns. All functions block;
`journal` calls them in a thread.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dimse_ingestion.durable import records
from dimse_ingestion.durable.files import new_file, write_at, write_whole
from dimse_ingestion.proxy.commitment.transactions import Accepted, Decided, Record

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Record)
_KIND = b"\x89DCT"


class Damaged(Exception):
    """The file of a transaction does not begin with a whole request."""


class Content:
    """The content of a file: its records up to the first damage, and their length in bytes."""

    def __init__(self, accepted: Accepted, decided: Decided | None, length: int) -> None:
        self.accepted = accepted
        self.decided = decided
        self.length = length


def encode(record: Record) -> bytes:
    """Return a record as the file has it."""
    return records.encode(_KIND, _ENCODER.encode(record))


def create(path: Path, accepted: Accepted) -> int:
    """Write the file of a new transaction, durably, and return its length. Raises OSError.

    It appears under its name only when it is whole.
    """
    encoded = encode(accepted)
    try:
        with new_file(path) as descriptor:
            write_whole(descriptor, encoded)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return len(encoded)


def append(path: Path, record: Record, length: int) -> int:
    """Write a record behind the first `length` bytes, durably; return the new length.

    Raises OSError; then the record does not count, and the next one overwrites it.
    """
    encoded = encode(record)
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, length)
        write_at(descriptor, encoded, length)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return length + len(encoded)


def read(path: Path) -> Content:
    """Return what the file has. Raises Damaged and OSError."""
    return decode(path.read_bytes(), path.name)


def decode(data: bytes, name: str) -> Content:
    """Return what the bytes of the file `name` have. Raises Damaged."""
    accepted: Accepted | None = None
    decided: Decided | None = None
    length = 0
    for record, end in _records(data):
        if accepted is None and isinstance(record, Accepted):
            accepted = record
        elif accepted is not None and isinstance(record, Decided):
            decided = record
        else:
            break
        length = end
    if accepted is None:
        raise Damaged(name)
    return Content(accepted, decided, length)


def _records(content: bytes) -> Iterator[tuple[Record, int]]:
    """Yield the intact records from the beginning on, each with the position of its end."""
    position = 0
    while (found := records.record_at(_KIND, content, position)) and found.end == found.data_start:
        try:
            yield _DECODER.decode(found.head), found.end
        except (msgspec.MsgspecError, ValueError, RecursionError):  # what is no UTF-8, or nested
            return
        position = found.end

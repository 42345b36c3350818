"""Data sets in files of their own: long ones that wait, dead letters, and retried ones.

A file is the data set, its metadata, and a footer, so that it needs nothing else to be sent. All
functions block, and raise OSError.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from zlib import crc32

from dimse_ingestion.durable.files import new_file, write_whole
from dimse_ingestion.outbox.records import Metadata, decode_metadata, encode_metadata

SUFFIX = ".v1.dataset"
_MAGIC = b"\x89DOF"
_FOOTER = struct.Struct("<4sIQI")  # magic, length of metadata, length of data, CRC of all this
_PIECE = 1024 * 1024


class Source(Protocol):
    """The bytes of a data set."""

    def read(self, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`."""


class DamagedFile(Exception):
    """A file is not what was written, for the reason in the text."""


@dataclass(slots=True)
class OpenFile:
    """An open file of a data set: a `Source`, until `close`."""

    metadata: Metadata
    descriptor: int

    def read(self, offset: int, length: int) -> bytes:
        """Return at most `length` bytes of the data set from `offset`."""
        length = min(length, self.metadata.size - offset)
        return os.pread(self.descriptor, length, offset) if length > 0 else b""

    def is_intact(self) -> bool:
        """Return whether the digest is the data set's; reads all of it."""
        digest = hashlib.sha256()
        for piece in pieces(self, self.metadata.size):
            digest.update(piece)
        return digest.hexdigest() == self.metadata.sha256

    def close(self) -> None:
        """Close the file; harmless if repeated."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def pieces(source: Source, size: int) -> Iterator[bytes]:
    """Yield a data set in pieces of 1 MiB."""
    offset = 0
    while offset < size:
        piece = source.read(offset, min(_PIECE, size - offset))
        if not piece:
            raise OSError("The data set is shorter than announced.")
        yield piece
        offset += len(piece)


def file_name(operation_id: str) -> str:
    """Return the name of an operation's file."""
    return f"{operation_id}{SUFFIX}"


def write_file(folder: Path, metadata: Metadata, source: Source) -> Path:
    """Write a data set to its file, durably; return the path."""
    path = folder / file_name(metadata.operation_id)
    encoded = encode_metadata(metadata)
    with new_file(path) as descriptor:
        for piece in pieces(source, metadata.size):
            write_whole(descriptor, piece)
        write_whole(descriptor, encoded + _footer(encoded, metadata.size))
    return path


def open_file(path: Path) -> OpenFile:
    """Open a file whose metadata and length are intact. Raises DamagedFile, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return OpenFile(_read_metadata(descriptor), descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def file_length(path: Path) -> int:
    """Return a file's length, 0 if it is gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _footer(encoded: bytes, size: int) -> bytes:
    bare = _FOOTER.pack(_MAGIC, len(encoded), size, 0)
    return _FOOTER.pack(_MAGIC, len(encoded), size, crc32(encoded, crc32(bare)))


def _read_metadata(descriptor: int) -> Metadata:
    length = os.fstat(descriptor).st_size
    footer = os.pread(descriptor, _FOOTER.size, max(0, length - _FOOTER.size))
    if len(footer) != _FOOTER.size or not footer.startswith(_MAGIC):
        raise DamagedFile("its end is missing")
    _, metadata_length, size, _ = _FOOTER.unpack(footer)
    if size + metadata_length + _FOOTER.size != length:
        raise DamagedFile("it has another length than was written")
    encoded = os.pread(descriptor, metadata_length, size)
    if _footer(encoded, size) != footer:
        raise DamagedFile("its metadata are damaged")
    try:
        metadata = decode_metadata(encoded)
    except ValueError:
        raise DamagedFile("its metadata can't be read") from None
    if metadata.size != size:
        raise DamagedFile("its metadata are another data set's")
    return metadata

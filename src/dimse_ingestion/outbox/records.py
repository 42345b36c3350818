"""The format of the outbox on disk, version 1: pure functions on bytes.

A segment has records (`durable.records`) with the metadata (msgpack) as head and the data set as
data; the salt is the segment's, a random number that no sender of data sets knows. A mark says that
the record at an offset needs no more work. Files and folders are `segments` and `files`.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import msgspec

from dimse_ingestion.durable import records

VERSION = 1
MARK_LENGTH = 16
LONGEST_METADATA = 64 * 1024
"""Bytes of encoded metadata; where bytes are damaged, a data set may look like many long ones."""
_KIND = b"\x89DOB"
_MARK_MAGIC = b"\x89DOM"
_MARK = struct.Struct("<4sQI")  # magic, offset, CRC
_NOT_ZERO = re.compile(rb"[^\0]")


class Metadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a data set; `request` is the forwarder's, encoded by itself.

    `received_at` is in seconds since 1970, `sha256` in hexadecimal; `sop_instance_uid` is empty
    where it is not known. Unknown keys of a newer release are ignored.
    """

    operation_id: str
    received_at: float
    size: int
    sha256: str
    request: bytes
    sop_instance_uid: str = ""


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Metadata)


def encode_metadata(metadata: Metadata) -> bytes:
    """Return the metadata as a record has them."""
    return _ENCODER.encode(metadata)


def decode_metadata(encoded: bytes) -> Metadata:
    """Return the metadata of a record. Raises msgspec.DecodeError (a ValueError)."""
    return _DECODER.decode(encoded)


@dataclass(frozen=True, slots=True)
class Record:
    """A record's place in its segment; its metadata are intact, its data set perhaps not."""

    start: int
    data_start: int
    end: int
    metadata: Metadata
    data_crc: int


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a segment that are no intact record; with metadata if these are intact."""

    start: int
    end: int
    metadata: Metadata | None = None


def encode_record(metadata: bytes, data: bytes, salt: int) -> bytes:
    """Return a record of encoded metadata and a data set. Raises ValueError for long metadata."""
    if len(metadata) > LONGEST_METADATA:
        raise ValueError(f"Metadata have {len(metadata)} bytes, above {LONGEST_METADATA}.")
    return records.encode(_KIND, metadata, data, salt)


def scan(segment: bytes, salt: int) -> Iterator[Record | Damage]:
    """Yield the records of a segment and the damaged ranges between them, in order.

    Zeros at the end are no damage: they are written ahead of records (see `segment_writer`).
    """
    position = 0
    while position < len(segment):
        record = record_at(segment, position, salt)
        if record is not None and record.end <= len(segment):
            intact = is_intact(segment[record.data_start : record.end], record, salt)
            yield record if intact else Damage(record.start, record.end, record.metadata)
            position = record.end
            continue
        if not _NOT_ZERO.search(segment, position):
            return
        end = _next_record(segment, position + 1, salt)
        yield Damage(position, end, record.metadata if record else None)
        position = end


def record_at(content: bytes, position: int, salt: int) -> Record | None:
    """Return the record whose header and metadata begin at a position; None if they are damaged."""
    found = records.record_at(_KIND, content, position, salt, LONGEST_METADATA)
    if found is None:
        return None
    try:
        metadata = decode_metadata(found.head)
    except ValueError:
        return None
    return Record(found.start, found.data_start, found.end, metadata, found.data_crc)


def is_intact(data: bytes, record: Record, salt: int) -> bool:
    """Return whether a record's data set is as it was written."""
    return records.is_intact(data, record.end - record.data_start, record.data_crc, salt)


def encode_mark(offset: int, salt: int) -> bytes:
    """Return the mark for the record at an offset."""
    return _MARK.pack(_MARK_MAGIC, offset, crc32(_MARK.pack(_MARK_MAGIC, offset, 0), salt))


def decode_marks(content: bytes, salt: int) -> set[int]:
    """Return the offsets of all intact marks; a damaged mark means that a data set is sent again.

    A mark that was written in part shifts the ones after it, so each position is tried.
    """
    offsets = set()
    position = 0
    while position + MARK_LENGTH <= len(content):
        _, offset, _ = _MARK.unpack_from(content, position)
        if content.startswith(encode_mark(offset, salt), position):
            offsets.add(offset)
            position += MARK_LENGTH
        else:
            position += 1
    return offsets


def _next_record(segment: bytes, position: int, salt: int) -> int:
    """Return where the next record with intact metadata begins, or the end of the segment."""
    while (found := segment.find(_KIND, position)) >= 0:
        if record_at(segment, found, salt) is not None:
            return found
        position = found + 1
    return len(segment)

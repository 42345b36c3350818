"""Records with checksums: a header, a head and data; pure functions on bytes.

The head says what the data are, and has a checksum of its own, so that it can be read where the
data are damaged. `kind` is four bytes that tell the records of one use from all others. Every
checksum begins with the salt: where it is a random number, no sender of data can make bytes that
are taken for a record when a damaged file is searched.
"""

import struct
import sys
from dataclasses import dataclass
from zlib import crc32

_HEADER = struct.Struct("<4sIII")  # kind, length of the head, length of the data, CRC of the data
_CHECK = struct.Struct("<I")  # CRC of header and head
_BEFORE_HEAD = _HEADER.size + _CHECK.size


@dataclass(frozen=True, slots=True)
class Record:
    """A record's place in its file; its head is intact, its data perhaps not."""

    start: int
    data_start: int
    end: int
    head: bytes
    data_crc: int


def encode(kind: bytes, head: bytes, data: bytes = b"", salt: int = 0) -> bytes:
    """Return a record."""
    header = _HEADER.pack(kind, len(head), len(data), crc32(data, salt))
    check = _CHECK.pack(crc32(head, crc32(header, salt)))
    return b"".join((header, check, head, data))


def record_at(
    kind: bytes, content: bytes, position: int, salt: int = 0, longest_head: int = sys.maxsize
) -> Record | None:
    """Return the record whose header and head begin at a position; None if they are damaged.

    Its data may reach beyond the end of the content. A head above `longest_head` bytes counts as
    damaged, and its checksum is not computed.
    """
    head_start = position + _BEFORE_HEAD
    if head_start > len(content) or not content.startswith(kind, position):
        return None
    header = content[position : position + _HEADER.size]
    _, head_length, data_length, data_crc = _HEADER.unpack(header)
    if head_length > longest_head:
        return None
    data_start = head_start + head_length
    (expected,) = _CHECK.unpack_from(content, position + _HEADER.size)
    head = content[head_start:data_start]
    if len(head) != head_length or crc32(head, crc32(header, salt)) != expected:
        return None
    return Record(position, data_start, data_start + data_length, head, data_crc)


def is_intact(data: bytes, length: int, data_crc: int, salt: int = 0) -> bool:
    """Return whether a record's data are as they were written."""
    return len(data) == length and crc32(data, salt) == data_crc

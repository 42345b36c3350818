"""Instances with encapsulated pixel data, written by tests."""

import struct

from dimse_ingestion.queries.contract import Located
from tests.retrievable import Archive

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"


def multi_frame(number: int, value: bytes, table: bytes = b"") -> bytes:
    head = b"".join(
        struct.pack("<HH2sH", group, tag, vr, len(text)) + text
        for group, tag, vr, text in [
            (8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.3.1\0"),
            (8, 0x18, b"UI", b"1.2.3.4\0"),
            (0x20, 0x0D, b"UI", b"1.2\0"),
            (0x20, 0x0E, b"UI", b"1.2.3\0"),
            (0x28, 0x02, b"US", b"\1\0"),
            (0x28, 0x08, b"IS", str(number).encode().ljust(10)),
            (0x28, 0x10, b"US", b"\x10\0"),
            (0x28, 0x11, b"US", b"\x10\0"),
            (0x28, 0x100, b"US", b"\x08\0"),
        ]
    )
    pixel_data = struct.pack("<HH2s2xI", 0x7FE0, 0x10, b"OB", 0xFFFFFFFF) + value
    if table:
        head += struct.pack("<HH2s2xI", 0x7FE0, 0x01, b"OV", len(table)) + table
    return head + pixel_data + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


async def stored(
    number: int, value: bytes, syntax: str = JPEG_BASELINE, table: bytes = b""
) -> tuple[Archive, Located]:
    archive = Archive()
    located = await archive.add(
        multi_frame(number, value, table),
        syntax,
        uid="1.2.3.4",
        sop="1.2.840.10008.5.1.4.1.1.3.1",
    )
    return archive, located


def jpeg_like(number: int, length: int = 5000) -> list[bytes]:
    begin, end = b"\xff\xd8\xff", b"\xff\xd9"
    return [begin + bytes([n % 250]) * (length - 3) + end for n in range(number)]


def jpeg(number: int) -> bytes:
    """Return bytes that begin and end as a JPEG does."""
    return b"\xff\xd8\xff\xe0\x00\x04\x00\x00" + bytes([number]) * 50 + b"\xff\xd9"


def fragments(*each: bytes, table: bytes = b"") -> bytes:
    """Return the items of encapsulated pixel data, the Basic Offset Table first."""
    items = [table, *each]
    return b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(one)) + one for one in items)

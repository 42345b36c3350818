"""The elements of an object that stands in the bucket, read back without reading its pixels.

For an instance that comes again and for a catalogue that is rebuilt. Large values are skipped by
range reads, so a large object costs a few small ones.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from dimse_ingestion.dicom import part10
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.scanning import Scanner
from dimse_ingestion.storage.contract import Bucket


@dataclass(frozen=True, slots=True)
class Recalled:
    """What an object says of itself; `header_size` in bytes."""

    header_size: int
    transfer_syntax_uid: str
    elements: list[Element]


async def recalled(bucket: Bucket, key: str) -> Recalled:
    """Read an object's elements.

    Raises KeyError when it isn't there, DimseFailure C000 when it is no DICOM object.
    """
    head = await bucket.get_range(key, 0, part10.LONGEST)
    header_size = part10.data_set_offset(head)
    transfer_syntax_uid = part10.transfer_syntax_uid(head[:header_size])
    scanner = Scanner(transfer_syntax_uid)
    async with aclosing(_data_set(bucket, key, header_size)) as pieces:
        async for piece in pieces:
            scanner.feed(piece)
    return Recalled(header_size, transfer_syntax_uid, scanner.finish())


async def _data_set(bucket: Bucket, key: str, header_size: int) -> AsyncGenerator[bytes, None]:
    passed = 0
    async for piece in bucket.stream(key):
        yield piece[max(header_size - passed, 0) :]
        passed += len(piece)

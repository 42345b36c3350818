"""The elements of a stored object, read from the bucket without its pixels.

Used when an instance is sent again and when the catalogue is rebuilt. Large values are skipped by
range reads, so a large object costs a few small reads.
"""

from dataclasses import dataclass

from dimse_ingestion.dicom import part10
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.scanner import Scanner
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.operations.scan_pacing import ScanPacing, ScanShare
from dimse_ingestion.storage.contract import Bucket, StoredObject

_FIRST_READ = 64 * 1024  # bytes: in most objects the pixels begin, if not end, within them
_LONGEST_READ = 2 * 2**20
_WORTH_SKIPPING = 256 * 1024  # bytes: shorter values are read, because a request costs more


@dataclass(frozen=True, slots=True)
class ObjectMetadata:
    """The elements of an object; `header_size` in bytes."""

    header_size: int
    transfer_syntax_uid: str
    elements: list[Element]


async def read_metadata(
    bucket: Bucket, stored: StoredObject, share: ScanShare | None = None
) -> ObjectMetadata:
    """Read an object's elements, paced by `share` where others wait for the event loop.

    Raises KeyError when it does not exist, DimseFailure C000 when it is not a complete DICOM
    object, and as the bucket.
    """
    first = await bucket.get_range(stored.key, 0, _FIRST_READ)
    header_size = part10.data_set_offset(first)
    transfer_syntax_uid = part10.transfer_syntax_uid(first[:header_size])
    scanner = Scanner(transfer_syntax_uid)
    share = share or ScanShare(ScanPacing())
    await share.feed(scanner, first[header_size:])
    await _read_on(bucket, stored, scanner, len(first), share)
    return ObjectMetadata(header_size, transfer_syntax_uid, scanner.finish())


async def _read_on(
    bucket: Bucket, stored: StoredObject, scanner: Scanner, offset: int, share: ScanShare
) -> None:
    length = _FIRST_READ
    while offset < stored.size:
        if scanner.skippable >= _WORTH_SKIPPING:
            skipped = min(scanner.skippable, stored.size - offset)
            scanner.mark_skipped(skipped)
            offset += skipped
            continue
        length = min(2 * length, _LONGEST_READ)
        piece = await bucket.get_range(stored.key, offset, length)
        if not piece:
            raise DimseFailure(
                Status.CANNOT_UNDERSTAND,
                "The object is shorter than its size in the bucket's listing.",
            )
        await share.feed(scanner, piece)
        offset += len(piece)

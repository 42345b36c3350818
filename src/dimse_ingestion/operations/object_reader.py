"""The elements of an object that stands in the bucket, read back without reading its pixels.

For an instance that comes again and for a catalogue that is rebuilt. Large values are skipped by
range reads, so a large object costs a few small ones.
"""

from dataclasses import dataclass

from dimse_ingestion.dicom import part10
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.scanning import Scanner
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.operations.scan_pacing import ScanPacing, ScanShare
from dimse_ingestion.storage.contract import Bucket, StoredObject

_FIRST_READ = 64 * 1024  # most objects have their pixels, if not their end, within these bytes
_LONGEST_READ = 2 * 2**20
_WORTH_SKIPPING = 256 * 1024  # a shorter way is read on: a request costs more than its bytes


@dataclass(frozen=True, slots=True)
class ObjectMetadata:
    """What an object says of itself; `header_size` in bytes."""

    header_size: int
    transfer_syntax_uid: str
    elements: list[Element]


async def read_metadata(
    bucket: Bucket, stored: StoredObject, share: ScanShare | None = None
) -> ObjectMetadata:
    """Read an object's elements, paced by `share` where others wait for the event loop.

    Raises KeyError when it isn't there, DimseFailure C000 when it is no whole DICOM object, and
    as the bucket does.
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
            raise DimseFailure(Status.CANNOT_UNDERSTAND, "The object has become shorter.")
        await share.feed(scanner, piece)
        offset += len(piece)

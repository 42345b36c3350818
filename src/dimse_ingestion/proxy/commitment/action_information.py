"""The Action Information of a storage commitment request (PS3.4 table J.3-1).

It is read in slices of work, between which the event loop serves other peers, and within limits.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import Element, by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.limits import ParserLimits
from dimse_ingestion.dicom.scanner import Scanner
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import LimitExceeded
from dimse_ingestion.transport.protocol.messages import Reference

TRANSACTION_UID = 0x00081195
REFERENCED_SOP_SEQUENCE = 0x00081199
REFERENCED_SOP_CLASS_UID = 0x00081150
REFERENCED_SOP_INSTANCE_UID = 0x00081155

LONGEST = 4 * 2**20
"""Bytes of the longest Action Information."""
MOST_REFERENCES = 30_000
_LIMITS = ParserLimits(
    sequence=LONGEST, retained=32 * 2**20, parts=400_000, depth=8, fragments=0, inflated=LONGEST
)
_PIECE = 16 * 1024
_REFERENCES_OF_A_SLICE = 1000


@dataclass(frozen=True, slots=True)
class ActionInformation:
    """A request: its Transaction UID, and each referenced instance once."""

    transaction_uid: str
    references: tuple[Reference, ...]


async def parse(content: bytes, transfer_syntax_uid: str) -> ActionInformation:
    """Parse Action Information.

    Raises DimseFailure 0115 for a UID that is missing, empty or invalid, 0110 for what is no data
    set, and LimitExceeded for too many references.
    """
    elements = by_tag(await _elements(content, transfer_syntax_uid))
    transaction_uid = _uid(elements, TRANSACTION_UID)
    sequence = elements.get(REFERENCED_SOP_SEQUENCE)
    if sequence is not None and (sequence.bulk or len(sequence.items or ()) > MOST_REFERENCES):
        raise LimitExceeded(f"More than {MOST_REFERENCES} references: send fewer at once")
    if sequence is None or not sequence.items:
        raise _invalid("Referenced SOP Sequence (0008,1199)")
    return ActionInformation(transaction_uid, await _references(sequence.items))


async def _elements(content: bytes, transfer_syntax_uid: str) -> list[Element]:
    scanner = Scanner(transfer_syntax_uid, _LIMITS)
    try:
        for start in range(0, len(content), _PIECE):
            for _ in scanner.feed_in_slices(content[start : start + _PIECE]):
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        return scanner.finish()
    except DimseFailure as failure:
        raise DimseFailure(
            Status.PROCESSING_FAILURE, "The Action Information can't be read"
        ) from failure


async def _references(items: Sequence[list[Element]]) -> tuple[Reference, ...]:
    references: dict[Reference, None] = {}
    for number, reference in enumerate(map(_reference, _each(items)), start=1):
        references[reference] = None
        if number % _REFERENCES_OF_A_SLICE == 0:
            await asyncio.sleep(0)
    return tuple(references)


def _each(items: Sequence[list[Element]]) -> Iterator[Mapping[int, Element]]:
    return map(by_tag, items)


def _reference(item: Mapping[int, Element]) -> Reference:
    return Reference(_uid(item, REFERENCED_SOP_CLASS_UID), _uid(item, REFERENCED_SOP_INSTANCE_UID))


def _uid(elements: Mapping[int, Element], tag: int) -> str:
    value = uids.strip_padding(elements[tag].value) if tag in elements else ""
    if not uids.is_valid(value):
        raise _invalid(f"({tag >> 16:04X},{tag & 0xFFFF:04X})")
    return value


def _invalid(what: str) -> DimseFailure:
    return DimseFailure(Status.INVALID_ARGUMENT_VALUE, f"{what} is missing, empty or invalid")

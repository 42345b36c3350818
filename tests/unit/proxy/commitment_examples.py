"""Storage commitment requests, and a clock of Unix time that follows the event loop's."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydicom import Dataset
from pynetdicom.dsutils import encode

from dimse_ingestion.dicom import uids
from dimse_ingestion.failures import Failure
from dimse_ingestion.proxy.commitment.reports import Report
from dimse_ingestion.proxy.commitment.transactions import Accepted
from dimse_ingestion.transport.protocol.messages import Reference
from dimse_ingestion.upper_layer.services import AssociationHandle

CT = "1.2.840.10008.5.1.4.1.1.2"
TRANSACTION = "1.2.826.0.1.3680043.8.498.77"
STARTED_AT = 1_700_000_000.0


def clock() -> float:
    """Return a Unix time that passes as the event loop's time does."""
    return STARTED_AT + asyncio.get_running_loop().time()


def references(count: int, sop_class_uid: str = CT) -> tuple[Reference, ...]:
    return tuple(Reference(sop_class_uid, f"1.2.3.{number}") for number in range(1, count + 1))


def accepted(count: int = 3, **changed: object) -> Accepted:
    fields: dict[str, object] = {
        "transaction_uid": TRANSACTION,
        "calling_ae_title": "CT1",
        "called_ae_title": "DICOM-INGEST",
        "received_at": STARTED_AT,
        "references": references(count),
    }
    return Accepted(**(fields | changed))  # type: ignore[arg-type] # by name


def action_data_set(
    requested: Iterable[Reference] | None = None, transaction_uid: str = TRANSACTION
) -> Dataset:
    """Return Action Information by pydicom, another reading of the standard."""
    data_set = Dataset()
    data_set.TransactionUID = transaction_uid
    data_set.ReferencedSOPSequence = []
    for each in references(3) if requested is None else requested:
        item = Dataset()
        item.ReferencedSOPClassUID = each.sop_class_uid
        item.ReferencedSOPInstanceUID = each.sop_instance_uid
        data_set.ReferencedSOPSequence.append(item)
    return data_set


def encoded(data_set: Dataset, transfer_syntax_uid: str = uids.IMPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    is_implicit = transfer_syntax_uid == uids.IMPLICIT_VR_LITTLE_ENDIAN
    return bytes(encode(data_set, is_implicit, is_little_endian=True) or b"")


@dataclass
class FakeSender:
    """A `ReportSender` that records reports, and fails as configured."""

    failures: list[Failure] = field(default_factory=list)
    """Raised by the first attempts on new associations, one each."""
    same_association: bool = False
    """Whether the association of the request takes the report."""
    attempts: list[float] = field(default_factory=list)
    sent: list[Report] = field(default_factory=list)
    sent_on: list[Report] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def send_on(self, association: AssociationHandle, report: Report) -> None:
        if not self.same_association:
            raise Failure("The association has ended.")
        self.sent_on.append(report)
        self.arrived.set()

    async def send(self, report: Report) -> None:
        self.attempts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(report)
        self.arrived.set()

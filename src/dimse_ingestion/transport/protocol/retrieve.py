"""The batches of a retrieve: instances with their objects, in INSTANCES messages (see `batches`).

It is the first half of a C-MOVE or C-GET; the data sets are transferred one by one (see `fetch`).
"""

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.protocol.batches import BatchReceiver, BatchSender
from dimse_ingestion.transport.protocol.codec import Instances, Message, Result
from dimse_ingestion.transport.protocol.messages import RetrieveInstance, RetrieveResult

_PER_INSTANCE = 128  # bytes of the field names, the size and what msgpack adds


class RetrieveReceiver(BatchReceiver[RetrieveInstance]):
    """The proxy's side of a retrieve."""

    def _batch(self, message: Message) -> tuple[int, list[RetrieveInstance]] | None:
        return (message.number, message.instances) if isinstance(message, Instances) else None

    def _status(self, result: Result) -> int | None:
        return result.retrieve.status if result.retrieve else None

    def _cancelled_result(self) -> Result:
        return Result(retrieve=RetrieveResult(status=Status.CANCEL))


class RetrieveSender(BatchSender[RetrieveInstance]):
    """The replica's side of a retrieve."""

    def _size(self, item: RetrieveInstance) -> int:
        texts = (item.sop_class_uid, item.sop_instance_uid, item.transfer_syntax_uid)
        return _PER_INSTANCE + sum(map(len, texts)) + len(item.key) + len(item.sha256)

    def _message(self, number: int, items: list[RetrieveInstance]) -> Message:
        return Instances(number=number, instances=items)

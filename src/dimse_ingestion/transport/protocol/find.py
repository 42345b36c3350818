"""The batches of a C-FIND: matches, in MATCH messages (see `batches`)."""

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.protocol.batches import BatchReceiver, BatchSender
from dimse_ingestion.transport.protocol.codec import Match, Message, Result
from dimse_ingestion.transport.protocol.messages import FindMatch, FindResult

_PER_MATCH = 32  # bytes that msgpack and the field names add to an identifier


class FindReceiver(BatchReceiver[FindMatch]):
    """The proxy's side of a C-FIND."""

    def _batch(self, message: Message) -> tuple[int, list[FindMatch]] | None:
        return (message.number, message.matches) if isinstance(message, Match) else None

    def _status(self, result: Result) -> int | None:
        return result.find.status if result.find else None

    def _cancelled_result(self) -> Result:
        return Result(find=FindResult(status=Status.CANCEL))


class FindSender(BatchSender[FindMatch]):
    """The replica's side of a C-FIND."""

    def _size(self, item: FindMatch) -> int:
        return len(item.identifier) + _PER_MATCH

    def _message(self, number: int, items: list[FindMatch]) -> Message:
        return Match(number=number, matches=items)

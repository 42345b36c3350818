"""The report of a C-MOVE or C-GET to the audit trail: the instances sent, by study and outcome.

The list of instances names no study, so it is read from each data set as it passes by. A
sub-operation that failed before its data set was sent has transferred nothing, and is not reported.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from dimse_ingestion.audit.codes import Action, EventId, Outcome
from dimse_ingestion.audit.messages import Activity, Participant, destination, source
from dimse_ingestion.audit.study_of import MOST_READ, study_of_data_set
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.proxy.audit import RequestAudit, peer
from dimse_ingestion.proxy.retrieve.sender import DataSet, SubOperationSender
from dimse_ingestion.proxy.retrieve.sub_operations import is_completed
from dimse_ingestion.settings import Peer
from dimse_ingestion.transport.protocol.messages import RetrieveInstance
from dimse_ingestion.upper_layer.services import Message

_LOG = logger(__name__)
_LONGEST = 900.0
"""Seconds after which instances of a retrieve that goes on are reported."""


class AuditedSender:
    """A `SubOperationSender` that passes all to another one, and reports what was sent.

    `move_destination` is None for a C-GET, whose requestor is the receiver.
    """

    def __init__(
        self,
        sender: SubOperationSender,
        audit: RequestAudit,
        message: Message,
        move_destination: Peer | None,
    ) -> None:
        self._sender = sender
        self._audit = audit
        self._participants = _participants(audit, message, move_destination)
        self.is_separate = sender.is_separate

    async def open(self, instances: Sequence[RetrieveInstance]) -> Sequence[RetrieveInstance]:
        """See `SubOperationSender`."""
        return await self._sender.open(instances)

    def transfer_syntaxes(self, instance: RetrieveInstance) -> Sequence[str]:
        """See `SubOperationSender`."""
        return self._sender.transfer_syntaxes(instance)

    def refusal(self, instance: RetrieveInstance) -> str:
        """See `SubOperationSender`."""
        return self._sender.refusal(instance)

    async def store(
        self, instance: RetrieveInstance, transfer_syntax_uid: str, data_set: DataSet
    ) -> int:
        """See `SubOperationSender`."""
        observed = _ObservedDataSet(data_set)
        status: int | None = None
        try:
            status = await self._sender.store(instance, transfer_syntax_uid, observed)
        finally:
            self._report(instance, transfer_syntax_uid, observed.beginning, status)
        return status

    async def close(self) -> None:
        """See `SubOperationSender`; what was sent is one message for each study."""
        await self._sender.close()
        self._audit.trail.end_scope(self)

    def _report(
        self,
        instance: RetrieveInstance,
        transfer_syntax_uid: str,
        beginning: bytes,
        status: int | None,
    ) -> None:
        try:
            found = study_of_data_set(
                lambda offset, length: beginning[offset : offset + length], transfer_syntax_uid
            )
            if found is None:
                return
            is_sent = is_completed(status)
            activity = Activity(
                event=EventId.INSTANCES_TRANSFERRED,
                action=Action.READ,  # whether the receiver held them is not known
                outcome=Outcome.SUCCESS if is_sent else Outcome.SERIOUS_FAILURE,
                participants=self._participants,
                study_instance_uid=found.study_instance_uid,
                patient=found.patient,
                outcome_description="" if is_sent else _reason(status),
            )
            self._audit.trail.record_instance(self, activity, instance.sop_class_uid, _LONGEST)
        except Exception:  # noqa: BLE001 - the retrieve does not depend on the report
            _LOG.exception("Reporting to the audit trail failed because of an error here.")


class _ObservedDataSet:
    """A data set whose first chunk is remembered as far as a study may be named in it."""

    def __init__(self, data_set: DataSet) -> None:
        self._data_set = data_set
        self.beginning = b""

    def content(self) -> bytes | AsyncIterator[bytes]:
        """See `DataSet`."""
        content = self._data_set.content()
        if not isinstance(content, bytes):
            return self._observed(content)
        self.beginning = content[:MOST_READ]
        return content

    async def _observed(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if not self.beginning:
                self.beginning = bytes(chunk[:MOST_READ])
            yield chunk


def _participants(
    audit: RequestAudit, message: Message, move_destination: Peer | None
) -> tuple[Participant, ...]:
    caller = replace(peer(message.association.request), is_requestor=True)
    if move_destination is None or move_destination.ae_title == caller.user_id:
        return source(audit.itself), destination(caller)
    title = move_destination.ae_title
    receiver = Participant(user_id=title, address=move_destination.host, ae_titles=(title,))
    return source(audit.itself), destination(receiver), caller


def _reason(status: int | None) -> str:
    return "no response" if status is None else f"DIMSE status {status:04X}H"

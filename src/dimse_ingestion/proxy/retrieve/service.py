"""C-MOVE and C-GET requests: rights and limits, the list of instances, and the final response.

PS3.4 C.4.2 and C.4.3. The sub-operations are in `retrieval`; a sender brings them to a receiver.
"""

from collections.abc import Callable

from dimse_ingestion.background_tasks import result_unless
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status, known_status
from dimse_ingestion.dicom.uids import GET_CLASSES, MOVE_CLASSES
from dimse_ingestion.proxy.acceptance import is_relational
from dimse_ingestion.proxy.audit import RequestAudit
from dimse_ingestion.proxy.identifier import IdentifierBuffer
from dimse_ingestion.proxy.peers import PeerAssociations
from dimse_ingestion.proxy.request_log import RequestRecord
from dimse_ingestion.proxy.retrieve.audit import AuditedSender
from dimse_ingestion.proxy.retrieve.get_sender import GetSender
from dimse_ingestion.proxy.retrieve.move_sender import MoveSender
from dimse_ingestion.proxy.retrieve.prefetch import PrefetchBudget
from dimse_ingestion.proxy.retrieve.retrieval import Retrieval
from dimse_ingestion.proxy.retrieve.sender import SubOperationSender
from dimse_ingestion.proxy.retrieve.sub_operations import SubOperations
from dimse_ingestion.settings import ProxySettings
from dimse_ingestion.settings.peers import Right
from dimse_ingestion.transport.contract import TransportClient
from dimse_ingestion.transport.protocol.messages import Origin, RetrieveInstance, RetrieveOpen
from dimse_ingestion.upper_layer.services import Message


class RetrieveService:
    """Perform the retrieves of one proxy."""

    def __init__(
        self,
        settings: ProxySettings,
        client: TransportClient,
        associations: PeerAssociations | None = None,
        audit: RequestAudit | None = None,
    ) -> None:
        self._settings = settings
        self._audit = audit
        self._associations = associations or PeerAssociations(settings)
        self._client = client
        self._budget = PrefetchBudget()
        self._operations = 0

    async def get(self, message: Message, record: RequestRecord, origin: Origin) -> None:
        """Perform and answer one C-GET. Raises Failure."""
        sender = GetSender(message.association, message.command.priority)
        await self.perform("get", message, record, origin, GET_CLASSES, lambda: sender)

    async def move(self, message: Message, record: RequestRecord, origin: Origin) -> None:
        """Perform and answer one C-MOVE. Raises Failure."""

        def sender() -> MoveSender:
            return self._move_sender(message, record)

        await self.perform("move", message, record, origin, MOVE_CLASSES, sender)

    def _move_sender(self, message: Message, record: RequestRecord) -> MoveSender:
        title = message.command.move_destination
        destination = self._settings.peer(title)
        if destination is None or destination.address is None:
            raise DimseFailure(
                Status.MOVE_DESTINATION_UNKNOWN,
                f"The move destination {title!r} has no address in peers",
            )
        record.facts["destination"] = destination.ae_title
        return MoveSender(self._associations, destination, message)

    async def perform(
        self,
        service: Right,
        message: Message,
        record: RequestRecord,
        origin: Origin,
        sop_classes: frozenset[str],
        sender: Callable[[], SubOperationSender],
    ) -> None:
        """Perform and answer one request of `service`; `sender` is called when it is permitted.

        Raises Failure: 0124 without the right, A702 above the number of operations, and as the
        list of instances fails.
        """
        identifier = self._checked_identifier(service, message, sop_classes)
        receiver = self._audited(service, sender(), message)
        if self._operations >= self._settings.retrieve_maximum_operations:
            raise DimseFailure(
                Status.UNABLE_TO_PERFORM_SUB_OPERATIONS, "Too many retrieves: try again later"
            )
        self._operations += 1
        try:
            await self._perform(service, message, record, origin, identifier, receiver)
        finally:
            self._operations -= 1

    def _audited(
        self, service: Right, sender: SubOperationSender, message: Message
    ) -> SubOperationSender:
        if self._audit is None:
            return sender
        title = message.command.move_destination
        destination = self._settings.peer(title) if service == "move" else None
        return AuditedSender(sender, self._audit, message, destination)

    def _checked_identifier(
        self, service: Right, message: Message, sop_classes: frozenset[str]
    ) -> bytes:
        caller, context = message.association.request.calling_ae_title, message.context
        if (
            context.abstract_syntax not in sop_classes
            or message.command.affected_sop_class_uid != context.abstract_syntax
        ):
            raise DimseFailure(
                Status.SOP_CLASS_NOT_SUPPORTED, "The SOP class is not the presentation context's"
            )
        if not (self._settings.retrieve_enabled and self._settings.may(caller, service)):
            raise DimseFailure(
                Status.NOT_AUTHORIZED, f"This AE title has no right to {service}: see peers"
            )
        data_set = message.data_set
        content = data_set.content() if isinstance(data_set, IdentifierBuffer) else b""
        if not content:
            raise DimseFailure(
                Status.DOES_NOT_MATCH_SOP_CLASS, f"The C-{service.upper()} has no identifier"
            )
        return content

    async def _perform(
        self,
        service: Right,
        message: Message,
        record: RequestRecord,
        origin: Origin,
        identifier: bytes,
        receiver: SubOperationSender,
    ) -> None:
        instances = await result_unless(
            message.cancelled, self._instances(message, record, origin, identifier)
        )
        if instances is None:
            await _respond(message, record, Status.CANCEL, "", SubOperations(0))
            return
        retrieval = Retrieval(
            service,
            self._client,
            receiver,
            message,
            origin,
            self._settings.retrieve_pending_interval,
            self._settings.ae_title,
            self._budget,
        )
        status, comment = await retrieval.run(instances)
        await _respond(message, record, status, comment, retrieval.sub_operations)

    async def _instances(
        self, message: Message, record: RequestRecord, origin: Origin, identifier: bytes
    ) -> list[RetrieveInstance]:
        """Return the instances that the identifier names. Raises DimseFailure."""
        sop_class_uid = message.context.abstract_syntax
        information = message.association.request.extended.get(sop_class_uid, b"")
        result, instances = await self._client.retrieve(
            RetrieveOpen(
                operation_id=record.operation_id,
                sop_class_uid=sop_class_uid,
                transfer_syntax_uid=message.context.transfer_syntax_uid,
                identifier=identifier,
                origin=origin,
                relational=is_relational(information),
                maximum=self._settings.retrieve_maximum_instances,
            )
        )
        if result.status != Status.SUCCESS:
            raise DimseFailure(known_status(result.status), result.comment)
        return instances


async def _respond(
    message: Message, record: RequestRecord, status: Status, comment: str, ended: SubOperations
) -> None:
    """Send the final response."""
    record.status, record.comment = status, comment
    record.facts |= {
        "instances": ended.total,
        "completed": ended.completed,
        "failed": len(ended.failed_uids),
        "warned": ended.warned,
    }
    await message.respond(
        status,
        comment=DimseFailure(status, comment).error_comment if comment else "",
        identifier=ended.failed_list(message.context.transfer_syntax_uid),
        sub_operations=ended.counts if status is Status.CANCEL else ended.final_counts,
    )

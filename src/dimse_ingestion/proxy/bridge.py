"""The bridge from DIMSE to the transport: it forwards each request and answers with the result.

It implements the upper layer's `Services`. It does not know NATS, bucket or catalogue: their errors
arrive as a result with the status to answer (PS3.7 annex C; PS3.4 annexes B and C).
"""

import asyncio
from collections.abc import Awaitable, Callable

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.response_status import (
    action_status,
    echo_status,
    find_status,
    retrieve_status,
    store_status,
)
from dimse_ingestion.dicom.status import Status, known_status
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability import metrics
from dimse_ingestion.proxy.acceptance import Admission
from dimse_ingestion.proxy.audit import RequestAudit
from dimse_ingestion.proxy.commitment.service import StorageCommitment
from dimse_ingestion.proxy.identifier import IdentifierBuffer
from dimse_ingestion.proxy.operation_ids import new_operation_id
from dimse_ingestion.proxy.peers import PeerAssociations
from dimse_ingestion.proxy.request_log import RequestRecord, request_log
from dimse_ingestion.proxy.retrieve.negotiation import is_retrievable_by
from dimse_ingestion.proxy.retrieve.service import RetrieveService
from dimse_ingestion.proxy.transport_requests import (
    find_open,
    instance_uids,
    origin_of,
    query_identifier,
    storable,
    store_open,
)
from dimse_ingestion.settings import ProxySettings
from dimse_ingestion.spooling.spool import Spool
from dimse_ingestion.spooling.spooled import SpooledDataSet
from dimse_ingestion.transport.contract import FindStream, TransportClient
from dimse_ingestion.transport.protocol.messages import EchoRequest, EchoResult
from dimse_ingestion.upper_layer.services import (
    Acceptance,
    AssociationHandle,
    AssociationRequest,
    Command,
    CommandField,
    DataSetSink,
    Message,
    PresentationContext,
    Rejection,
)

_Serve = Callable[[Message, RequestRecord], Awaitable[None]]
_STATUSES = {
    "store": store_status,
    "find": find_status,
    "get": retrieve_status,
    "move": retrieve_status,
    "commit": action_status,
}
_WITHOUT_COMMENT = (Status.SUCCESS, Status.INVALID_ARGUMENT_VALUE)  # PS3.7 C.5.10
_PROBE_STATUSES = (Status.OUT_OF_RESOURCES, Status.NOT_AUTHORIZED)
"""Statuses of an upstream that is down or denies access: they trigger a probe for readiness."""


class Bridge:
    """Implement `Services` for all associations of the proxy."""

    def __init__(
        self,
        settings: ProxySettings,
        admission: Admission,
        spool: Spool,
        requester: TransportClient,
        commitment: StorageCommitment | None = None,
        peers: PeerAssociations | None = None,
        audit: RequestAudit | None = None,
    ) -> None:
        self._settings = settings
        self._audit = audit
        self._admission = admission
        self._spool = spool
        self._requester = requester
        self._commitment = commitment
        self._retrieves = RetrieveService(settings, requester, peers, audit)
        self.request_probe: Callable[[], None] = lambda: None
        """Called when an operation failed upstream (see `upstream_probe`)."""
        self.record_success: Callable[[str], None] = lambda _: None
        """Called with the calling AE title when a C-STORE was answered with success."""

    async def associate(self, request: AssociationRequest) -> Acceptance | Rejection:
        """Decide on an association."""
        return self._admission.decide(request)

    def association_ended(self, association: AssociationHandle, outcome: str) -> None:
        """Stop counting an association that has ended."""
        self._admission.association_ended(association.request, outcome)

    def open_data_set(
        self,
        association: AssociationHandle,
        context: PresentationContext,  # noqa: ARG002 - the interface's
        command: Command,
    ) -> DataSetSink:
        """Return the spool for the instance of a C-STORE, or a buffer for any other data set."""
        if command.command_field == CommandField.C_STORE_RQ:
            return self._spool.open(new_operation_id())
        if command.command_field == CommandField.N_ACTION_RQ and self._commitment:
            return self._commitment.open_data_set(association)
        return IdentifierBuffer(self._settings.maximum_identifier_length)

    async def perform(self, message: Message) -> None:
        """Perform and answer one request."""
        services: dict[int, tuple[str, _Serve]] = {
            CommandField.C_STORE_RQ: ("store", self._store),
            CommandField.C_FIND_RQ: ("find", self._find),
            CommandField.C_ECHO_RQ: ("echo", self._echo),
            CommandField.N_ACTION_RQ: ("commit", self._commit),
            CommandField.C_GET_RQ: ("get", self._get),
            CommandField.C_MOVE_RQ: ("move", self._move),
        }
        name, serve = services.get(message.command.command_field, ("other", _unrecognized))
        space = self._settings.ae_title
        with request_log(name, message, _operation_id(message), space) as record:
            try:
                await serve(message, record)
            except Failure as failure:
                status_of = _STATUSES.get(name, echo_status)
                await _answer(message, record, status_of(failure), failure.comment)
            finally:
                if self._audit is not None:
                    self._audit.performed(name, message, record)
                if message.data_set is not None:
                    message.data_set.abandon()
                if record.status in _PROBE_STATUSES:
                    self.request_probe()
                if name == "store" and record.status is Status.SUCCESS:
                    self.record_success(message.association.request.calling_ae_title)

    async def _echo(self, message: Message, record: RequestRecord) -> None:
        request = EchoRequest(operation_id=record.operation_id, origin=origin_of(message))
        result = await self._requester.echo(request)
        record.facts |= {"replica": result.replica, "version": result.version}
        await _answer(message, record, known_status(result.status), upstream_error(result))

    async def _store(self, message: Message, record: RequestRecord) -> None:
        record.facts |= instance_uids(message.command)
        spooled = storable(message)
        sealed = await spooled.seal()
        metrics.proxy_received_bytes.labels(self._settings.ae_title).inc(sealed.size)
        record.facts |= {"size": sealed.size, "sha256": sealed.sha256}
        result = await self._requester.store(
            store_open(message, spooled.operation_id, sealed, self._settings.proxy_id),
            spooled,
            deadline=self._settings.operation_timeout,
        )
        record.facts |= {"key": result.key, "duplicate": result.duplicate}
        await _answer(message, record, known_status(result.status), result.comment)

    async def _find(self, message: Message, record: RequestRecord) -> None:
        caller = message.association.request.calling_ae_title
        retrievable = is_retrievable_by(self._settings, caller)
        finding = self._requester.find(
            find_open(
                message, record.operation_id, query_identifier(message), retrievable=retrievable
            )
        )
        watching = asyncio.create_task(_cancel_on_request(message, finding))
        try:
            sent = await self._send_matches(message, finding)
        finally:
            watching.cancel()
            finding.cancel()
        record.facts["matches"] = sent
        most = self._settings.maximum_matches
        if message.cancelled.is_set():
            await _answer(message, record, Status.CANCEL, "")
        elif sent > most:
            record.facts["matches"] = most
            comment = f"More than {most} matches: narrow the query"
            await _answer(message, record, Status.OUT_OF_RESOURCES, comment)
        else:
            result = finding.result
            await _answer(message, record, known_status(result.status), result.comment)

    async def _commit(self, message: Message, record: RequestRecord) -> None:
        if self._commitment is None:
            await _unrecognized(message, record)
            return
        entry = await self._commitment.accept(message)
        record.facts |= {"transaction_uid": entry.transaction_uid, "references": entry.references}
        try:
            await _answer(message, record, Status.SUCCESS, "")
        finally:
            self._commitment.start(entry, message.association)

    async def _get(self, message: Message, record: RequestRecord) -> None:
        await self._retrieves.get(message, record, origin_of(message))

    async def _move(self, message: Message, record: RequestRecord) -> None:
        await self._retrieves.move(message, record, origin_of(message))

    async def _send_matches(self, message: Message, finding: FindStream) -> int:
        """Send matches and return their number, or one more than the maximum if there are more."""
        count = 0
        async for match in finding:
            if message.cancelled.is_set():
                break
            count += 1
            if count > self._settings.maximum_matches:
                break
            await message.respond(known_status(match.status), identifier=match.identifier)
            metrics.proxy_matches.labels(self._settings.ae_title).inc()
        return count


async def _cancel_on_request(message: Message, finding: FindStream) -> None:
    await message.cancelled.wait()
    finding.cancel()


async def _unrecognized(message: Message, record: RequestRecord) -> None:
    record.facts["command_field"] = f"{message.command.command_field:04X}"
    raise DimseFailure(
        Status.UNRECOGNIZED_OPERATION, "Only C-ECHO, C-STORE, C-FIND, C-GET and C-MOVE are served"
    )


async def _answer(message: Message, record: RequestRecord, status: Status, comment: str) -> None:
    """Send the final response."""
    record.status, record.comment = status, comment
    short = "" if status in _WITHOUT_COMMENT else DimseFailure(status, comment).error_comment
    await message.respond(status, comment=short)


def _operation_id(message: Message) -> str:
    """Return the id that the spool gave to the data set, or a new one without a data set."""
    if isinstance(message.data_set, SpooledDataSet):
        return message.data_set.operation_id
    return new_operation_id()


def upstream_error(result: EchoResult) -> str:
    """Return the errors in an echo's result as one sentence, or an empty string."""
    found = (result.comment, result.bucket, result.event_sink, result.catalogue)
    return "; ".join(dict.fromkeys(each for each in found if each))

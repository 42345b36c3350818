"""Requests of the transport, mapped to operations, and their outcomes, mapped to results.

It only translates: `operations` does the work, and `transport` delivers the messages.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from importlib.metadata import version

from dimse_ingestion.dicom.query_levels import QueryKeys
from dimse_ingestion.dicom.response_status import (
    commit_status,
    find_status,
    store_status,
)
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.events.contract import InstanceOrigin
from dimse_ingestion.ingestion.outcomes import record_failures, until_cancelled
from dimse_ingestion.ingestion.retrieve_dispatch import RetrieveDispatch
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operations.commitment import CommitmentCheck, InstanceReference
from dimse_ingestion.operations.echo import BackendHealthCheck
from dimse_ingestion.operations.event_builder import Instance
from dimse_ingestion.operations.find import Finder, pending_status
from dimse_ingestion.operations.store import Stored, Storer
from dimse_ingestion.transport.contract import ByteSink, InstanceSink, MatchSink
from dimse_ingestion.transport.protocol.messages import (
    CommitOpen,
    CommitResult,
    EchoRequest,
    EchoResult,
    FetchOpen,
    FetchResult,
    FindMatch,
    FindOpen,
    FindResult,
    Origin,
    RetrieveOpen,
    RetrieveResult,
    StoreOpen,
    StoreResult,
)

_LOG = logger(__name__)
_LONGEST_TEXT = 64  # characters of an AE title, an address or a time
_Store = Callable[[str, Instance, AsyncIterator[bytes]], Awaitable[Stored]]


class Dispatch:
    """Implements `transport.contract.Operations`."""

    def __init__(
        self,
        replica: str,
        storer: Storer,
        finder: Finder,
        retrieves: RetrieveDispatch,
        health_check: BackendHealthCheck,
        commitment: CommitmentCheck,
    ) -> None:
        self._replica = replica
        self._storer = storer
        self._finder = finder
        self._retrieves = retrieves
        self._health_check = health_check
        self._commitment = commitment

    async def echo(self, request: EchoRequest) -> EchoResult:
        """Return the health of the backends as the result of a C-ECHO."""
        health = await self._health_check.health()
        status = Status.OUT_OF_RESOURCES if health.first_error else Status.SUCCESS
        _LOG.debug("Echo answered.", operation_id=request.operation_id, reason=health.first_error)
        return EchoResult(
            status=status,
            comment=health.first_error,
            replica=self._replica,
            version=version("dimse-ingestion"),
            bucket=health.bucket,
            event_sink=health.event_sink,
            catalogue=health.catalogue,
        )

    async def already_stored(self, open_: StoreOpen) -> StoreResult | None:
        """Return the result if the instance is stored already, else None."""
        with record_failures("store", store_status, sop_instance_uid=open_.sop_instance_uid):
            stored = await self._storer.already(open_.operation_id, _instance(open_))
        return _record_stored(open_, stored) if stored else None

    async def store(self, open_: StoreOpen, chunks: AsyncIterator[bytes]) -> StoreResult:
        """Store the instance of `chunks`, which is not stored already, and return the result."""
        return await self._store(open_, chunks, self._storer.store_new)

    async def store_inline(self, open_: StoreOpen, chunks: AsyncIterator[bytes]) -> StoreResult:
        """Store the instance of `chunks` unless it is stored already, and return the result."""
        return await self._store(open_, chunks, self._storer.store_small)

    async def _store(
        self, open_: StoreOpen, chunks: AsyncIterator[bytes], store: _Store
    ) -> StoreResult:
        with (
            record_failures("store", store_status, sop_instance_uid=open_.sop_instance_uid),
            metrics.ingestion_store_seconds.time(),
        ):
            stored = await store(open_.operation_id, _instance(open_), chunks)
        return _record_stored(open_, stored)

    async def find(self, open_: FindOpen, sink: MatchSink) -> FindResult:
        """Send the matches of a query and return the result."""
        with record_failures("find", find_status):
            query = await self._finder.parse_query(
                open_.identifier,
                open_.sop_class_uid,
                open_.transfer_syntax_uid,
                relational=open_.relational,
            )
            sent = await self._send_matches(query, open_, sink)
        ended = Status.CANCEL if sink.cancelled else Status.SUCCESS
        _LOG.info(
            "Query answered.",
            query_retrieve_level=query.level,
            matches=sent,
            status=f"{ended:04X}",
        )
        return FindResult(status=ended, matches=sent)

    async def commit(self, open_: CommitOpen) -> CommitResult:
        """Check the references of a storage commitment, and return a reason for each."""
        references = [
            InstanceReference(each.sop_class_uid, each.sop_instance_uid)
            for each in open_.references
        ]
        with record_failures("commit", commit_status):
            reasons = await self._commitment.reasons(references, reads_objects=open_.reads_objects)
        for reason in reasons:
            metrics.ingestion_commitment_references.labels(f"{reason:04X}").inc()
        safe = reasons.count(Status.SUCCESS)
        _LOG.info("References checked.", references=len(reasons), safe=safe)
        return CommitResult(status=Status.SUCCESS, reasons=tuple(map(int, reasons)))

    async def retrieve(self, open_: RetrieveOpen, sink: InstanceSink) -> RetrieveResult:
        """Send the instances that the identifier of a C-MOVE or C-GET names."""
        return await self._retrieves.retrieve(open_, sink)

    async def fetch(self, open_: FetchOpen, sink: ByteSink) -> FetchResult:
        """Send the data set of one object from the open's offset on."""
        return await self._retrieves.fetch(open_, sink)

    async def _send_matches(self, query: QueryKeys, open_: FindOpen, sink: MatchSink) -> int:
        """Send matches until there are no more or the query is cancelled; return their number."""
        status = pending_status(query)
        sent = 0
        identifiers = self._finder.matches(
            query,
            open_.origin.called_ae_title if open_.retrievable else "",
            open_.transfer_syntax_uid,
            combined_date_time=open_.combined_date_time,
        )
        async with until_cancelled(sink), aclosing(identifiers) as answers:
            async for identifier in answers:
                if sink.cancelled:
                    break
                await sink.send(FindMatch(status=status, identifier=identifier))
                sent += 1
        return sent


def _instance(open_: StoreOpen) -> Instance:
    return Instance(
        sop_class_uid=open_.sop_class_uid,
        sop_instance_uid=open_.sop_instance_uid,
        transfer_syntax_uid=open_.transfer_syntax_uid,
        size=open_.size,
        sha256=open_.sha256,
        origin=_instance_origin(open_.origin),
    )


def _instance_origin(origin: Origin) -> InstanceOrigin:
    """Return who sent an instance; text from the network must not make the catalogue refuse it."""
    return InstanceOrigin(
        calling_ae_title=_printable(origin.calling_ae_title),
        called_ae_title=_printable(origin.called_ae_title),
        proxy_id=_printable(origin.proxy_id),
        peer_address=_printable(origin.peer_address),
        received_at=_printable(origin.received_at),
    )


def _printable(text: str) -> str:
    if text.isprintable() and len(text) <= _LONGEST_TEXT:
        return text
    return "".join(each if each.isprintable() else "?" for each in text[:_LONGEST_TEXT])


def _record_stored(open_: StoreOpen, stored: Stored) -> StoreResult:
    metrics.ingestion_stored.labels("again" if stored.duplicate else "new").inc()
    _LOG.info(
        "Instance stored.",
        object=stored.key,
        size=open_.size,
        duplicate=stored.duplicate,
        operation_id=open_.operation_id,
    )
    return StoreResult(
        status=Status.SUCCESS,
        key=stored.key,
        size=open_.size,
        sha256=open_.sha256,
        duplicate=stored.duplicate,
        event=stored.event_id,
    )

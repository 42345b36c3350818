"""The proxy's end of the transport: a `TransportClient` over any carrier.

It builds the open of each service and converts the end of an operation into its result. Retries
are in `retry`, the stream of a query in `find_client`, those of a retrieve in `retrieve_client` and
`fetch_client`.
"""

from contextlib import suppress
from dataclasses import replace

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.transport.carrier import Carrier, CarrierDown
from dimse_ingestion.transport.client.attempt import Attempt, StoreAttempt
from dimse_ingestion.transport.client.fetch_client import CarrierFetchStream
from dimse_ingestion.transport.client.find_client import CarrierFindStream
from dimse_ingestion.transport.client.inboxes import Inboxes
from dimse_ingestion.transport.client.retrieve_client import InstanceLister
from dimse_ingestion.transport.client.retry import FinalResult, Operation, Retrier, RetriesExhausted
from dimse_ingestion.transport.contract import Source
from dimse_ingestion.transport.protocol.codec import (
    INLINE_IN_FLIGHT,
    OpenCommit,
    OpenEcho,
    OpenStore,
    Reject,
    chunk_size,
    encode,
    inline_size,
)
from dimse_ingestion.transport.protocol.messages import (
    CommitOpen,
    CommitResult,
    EchoRequest,
    EchoResult,
    FetchOpen,
    FindOpen,
    RetrieveInstance,
    RetrieveOpen,
    RetrieveResult,
    StoreOpen,
    StoreResult,
)
from dimse_ingestion.transport.protocol.state import AttemptState, Outcome
from dimse_ingestion.transport.protocol.store_sender import StoreSender
from dimse_ingestion.transport.protocol.subjects import Subjects
from dimse_ingestion.transport.protocol.timeouts import Timeouts

SLOW_LINE = 256 * 1024
"""Bytes per second at which an open with its data set still arrives before it is sent again."""
_INLINE_OVERHEAD = 16  # bytes that msgpack and the field name add to an inline data set


class CarrierClient:
    """A `TransportClient` over a carrier; `proxy_id` names this proxy's inboxes.

    `has_siblings`: other processes of the same proxy have clients too.
    `space` is the label of its metrics.
    """

    def __init__(
        self,
        carrier: Carrier,
        subjects: Subjects,
        proxy_id: str,
        timeouts: Timeouts | None = None,
        *,
        has_siblings: bool = False,
        space: str = "",
    ) -> None:
        self._carrier = carrier
        self._inboxes = Inboxes(carrier, subjects, proxy_id, has_siblings=has_siblings)
        timeouts = timeouts or Timeouts()
        self._retrier = Retrier(carrier, subjects, self._inboxes, timeouts, space)
        self._inline_in_flight = 0

    async def start(self) -> None:
        """Subscribe to the inboxes. Raises CarrierDown."""
        await self._inboxes.start()

    async def close(self) -> None:
        """Unsubscribe; the carrier stays open."""
        await self._inboxes.close()

    async def echo(self, request: EchoRequest) -> EchoResult:
        """Send a C-ECHO to a replica. Raises Failure when none answers within the budget."""
        retrier = self._retrier
        operation = Operation("echo", request.operation_id, retrier.timeouts.echo_deadline)

        async def run_attempt() -> Outcome:
            machine = AttemptState(retrier.timeouts, retrier.now())
            attempt = Attempt(self._carrier, self._inboxes.new(), machine)
            return await retrier.run_attempt(operation, attempt, OpenEcho(request=request))

        try:
            return _to_echo_result(await retrier.run(operation, run_attempt))
        except RetriesExhausted as error:
            raise Unavailable(str(error)) from None

    async def store(self, open_: StoreOpen, source: Source, *, deadline: float) -> StoreResult:
        """Send one data set and return its result; A700 after `deadline` seconds."""
        operation = Operation("store", open_.operation_id, deadline)

        async def run_attempt() -> Outcome:
            return await self._run_store_attempt(operation, open_, source)

        try:
            return _to_store_result(await self._retrier.run(operation, run_attempt))
        except RetriesExhausted as error:
            return StoreResult(status=Status.OUT_OF_RESOURCES, comment=str(error), transient=True)

    def find(self, open_: FindOpen) -> CarrierFindStream:
        """Start one query."""
        return CarrierFindStream(self._retrier, open_)

    async def commit(self, open_: CommitOpen) -> CommitResult:
        """Have references checked. Raises Failure when nothing could be found out."""
        retrier = self._retrier
        operation = Operation(
            "commit", open_.operation_id, retrier.timeouts.deadline, limits_attempts=False
        )

        async def run_attempt() -> Outcome:
            machine = AttemptState(retrier.timeouts, retrier.now())
            attempt = Attempt(self._carrier, self._inboxes.new(), machine)
            return await retrier.run_attempt(operation, attempt, OpenCommit(open=open_))

        try:
            return _to_commit_result(await retrier.run(operation, run_attempt), open_)
        except RetriesExhausted as error:
            raise Unavailable(str(error)) from None

    async def retrieve(self, open_: RetrieveOpen) -> tuple[RetrieveResult, list[RetrieveInstance]]:
        """Return the instances that an identifier names, and how the list ended."""
        return await InstanceLister(self._retrier, open_).run()

    def fetch(self, open_: FetchOpen, *, stored: bool) -> CarrierFetchStream:
        """Start to fetch a data set."""
        return CarrierFetchStream(self._retrier, open_, stored=stored)

    async def _run_store_attempt(
        self, operation: Operation, open_: StoreOpen, source: Source
    ) -> Outcome:
        retrier, carrier = self._retrier, self._carrier
        with suppress(CarrierDown):  # the attempt itself finds that out
            await carrier.wait_writable()
        free = INLINE_IN_FLIGHT - self._inline_in_flight
        opening = _build_open(open_, source, min(inline_size(carrier.maximum_payload), free))
        timeouts = _timeouts(opening, retrier.timeouts)
        chunk = chunk_size(carrier.maximum_payload)
        machine = StoreSender(open_.size, open_.sha256, chunk, timeouts, retrier.now())
        attempt = StoreAttempt(carrier, self._inboxes.new(), machine, source)
        inline = len(opening.inline or b"")
        self._inline_in_flight += inline
        try:
            return await retrier.run_attempt(operation, attempt, opening)
        finally:
            self._inline_in_flight -= inline


def _timeouts(opening: OpenStore, timeouts: Timeouts) -> Timeouts:
    """Give an open more time by the length of its data set, which may still be on its way."""
    if opening.inline is None:
        return timeouts
    seconds = timeouts.open_timeout + opening.open.size / SLOW_LINE
    return replace(timeouts, open_timeout=seconds)


def _build_open(open_: StoreOpen, source: Source, most: int) -> OpenStore:
    """Return the open, with the data set inline if both fit into `most` bytes."""
    bare = OpenStore(open=open_)
    if open_.size + len(encode(bare)[1]) + _INLINE_OVERHEAD > most:
        return bare
    return OpenStore(open=open_, inline=source.read(0, open_.size))


def _to_store_result(final: FinalResult) -> StoreResult:
    if isinstance(final, Reject):
        return StoreResult(status=final.status, comment=final.comment)
    return final.store or StoreResult(
        status=Status.PROCESSING_FAILURE, comment="The answer has no result"
    )


def _to_echo_result(final: FinalResult) -> EchoResult:
    if isinstance(final, Reject):
        return EchoResult(status=final.status, comment=final.comment)
    if final.echo is None:
        raise DimseFailure(Status.PROCESSING_FAILURE, "The answer has no result")
    return final.echo


def _to_commit_result(final: FinalResult, open_: CommitOpen) -> CommitResult:
    """Return a result that has a reason for each reference. Raises Unavailable for any other."""
    if isinstance(final, Reject):
        raise Unavailable(final.comment)
    result = final.commit
    if result is None or (result.status == 0 and len(result.reasons) != len(open_.references)):
        raise Unavailable("The answer has no result")
    if result.status:
        raise Unavailable(result.comment)
    return result

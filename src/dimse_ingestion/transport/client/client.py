"""The proxy's end of the transport: a `TransportClient` over any carrier.

It builds the open of each service and converts the end of an operation into its result. Retries
are in `retry`, a C-STORE in `store_client`, the stream of a query in `find_client`, those of a
retrieve in `retrieve_client` and `fetch_client`.
"""

from collections.abc import Callable, Sequence

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.transport.carrier import Carrier
from dimse_ingestion.transport.client.attempt import Attempt
from dimse_ingestion.transport.client.batch_fetch import BatchFetcher
from dimse_ingestion.transport.client.fetch_client import CarrierFetchStream
from dimse_ingestion.transport.client.find_client import CarrierFindStream
from dimse_ingestion.transport.client.inboxes import Inboxes
from dimse_ingestion.transport.client.rate_limit import Rate, RateLimiter, unlimited
from dimse_ingestion.transport.client.retrieve_client import InstanceLister
from dimse_ingestion.transport.client.retry import FinalResult, Operation, Retrier, RetriesExhausted
from dimse_ingestion.transport.client.store_client import Sending, StoreOperation
from dimse_ingestion.transport.contract import FetchStream, Source
from dimse_ingestion.transport.protocol.codec import (
    OpenCommit,
    OpenEcho,
    Reject,
    Result,
)
from dimse_ingestion.transport.protocol.fetch import WINDOW
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
from dimse_ingestion.transport.protocol.subjects import Subjects
from dimse_ingestion.transport.protocol.timeouts import Timeouts


class CarrierClient:
    """A `TransportClient` over a carrier; `proxy_id` names this proxy's inboxes.

    `has_siblings`: other processes of the same proxy have clients too.
    `space` is the label of its metrics, `rate` returns the limit for data sets on their way out,
    `compresses` whether those are compressed where that pays.
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
        rate: Rate = unlimited,
        compresses: Callable[[], bool] = lambda: False,
    ) -> None:
        self._carrier = carrier
        self._inboxes = Inboxes(carrier, subjects, proxy_id, has_siblings=has_siblings)
        timeouts = timeouts or Timeouts()
        self._retrier = Retrier(carrier, subjects, self._inboxes, timeouts, space)
        self._batches = BatchFetcher(self._retrier)
        self._sending = Sending(RateLimiter(rate, space), compresses)

    async def start(self) -> None:
        """Subscribe to the inboxes. Raises CarrierDown."""
        await self._inboxes.start()

    async def close(self) -> None:
        """Unsubscribe; the carrier stays open."""
        await self._retrier.close()
        await self._inboxes.close()

    async def echo(self, request: EchoRequest) -> EchoResult:
        """Send a C-ECHO to a replica. Raises Failure when none answers within the budget."""
        retrier = self._retrier
        operation = Operation("echo", request.operation_id, retrier.timeouts.echo_deadline)

        async def run_attempt() -> Outcome:
            machine = AttemptState(retrier.timeouts, retrier.now())
            attempt = Attempt(self._carrier, self._inboxes.new(), machine)
            outcome = await retrier.run_attempt(operation, attempt, OpenEcho(request=request))
            if isinstance(outcome, Result):
                self._sending.encodings = machine.encodings
            return outcome

        try:
            return _to_echo_result(await retrier.run(operation, run_attempt))
        except RetriesExhausted as error:
            raise Unavailable(str(error)) from None

    async def store(self, open_: StoreOpen, source: Source, *, deadline: float) -> StoreResult:
        """Send one data set and return its result; A700 after `deadline` seconds."""
        operation = StoreOperation(self._retrier, self._sending, open_, source)
        try:
            return _to_store_result(await operation.run(deadline))
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

    def fetch(self, open_: FetchOpen, *, stored: bool, window: int = WINDOW) -> CarrierFetchStream:
        """Start to fetch a data set, at most `window` bytes of it ahead of its reader."""
        return CarrierFetchStream(self._retrier, open_, stored=stored, window=window)

    def fetch_batch(self, open_: FetchOpen) -> Sequence[FetchStream]:
        """Start to fetch several short data sets by one request, singly if the service is older."""
        return self._batches.fetch(open_)


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

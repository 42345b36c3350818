"""The call of an operation at a replica, which turns every outcome into a result.

A Failure becomes the status of its kind. Any other exception is a programming error: only its type
and place are logged, because its text may name a patient, and the peer gets neither.
"""

import traceback
from collections.abc import Awaitable
from typing import TypeVar

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.response_status import (
    commit_status,
    echo_status,
    fetch_status,
    find_status,
    retrieve_status,
    store_status,
)
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.transport.contract import Operations
from dimse_ingestion.transport.protocol.codec import Result
from dimse_ingestion.transport.protocol.compression import ENCODINGS
from dimse_ingestion.transport.protocol.fetch import FetchSender
from dimse_ingestion.transport.protocol.find import FindSender
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
    RetrieveInstance,
    RetrieveOpen,
    RetrieveResult,
    StoreOpen,
    StoreResult,
)
from dimse_ingestion.transport.protocol.retrieve import RetrieveSender
from dimse_ingestion.transport.protocol.store_receiver import Grow, StoreReceiver
from dimse_ingestion.transport.server.session_driver import (
    SessionByteSink,
    SessionDriver,
    SessionItemSink,
    VerifiedChunks,
)

_LOG = logger(__name__)
T = TypeVar("T")


class OperationExecutor:
    """Calls an operation for each request and returns its result."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def echo(self, request: EchoRequest) -> Result:
        """Perform a C-ECHO."""
        try:
            result = await _run_operation(self._operations.echo(request))
            return Result(echo=result, encodings=ENCODINGS)
        except Failure as failure:
            return Result(echo=EchoResult(status=echo_status(failure), comment=failure.comment))

    async def store(
        self,
        open_: StoreOpen,
        driver: SessionDriver[StoreReceiver],
        window: int,
        grow: Grow,
        *,
        inline: bool,
    ) -> Result:
        """Perform a C-STORE; the sender gets its `window` if the instance is not stored already."""
        try:
            work = self._store(open_, driver, window, grow, inline=inline)
            return Result(store=await _run_operation(work), encodings=ENCODINGS)
        except Failure as failure:
            return Result(
                store=StoreResult(
                    status=store_status(failure),
                    comment=failure.comment,
                    transient=failure.transient,
                ),
                encodings=ENCODINGS,
            )

    async def find(self, open_: FindOpen, driver: SessionDriver[FindSender]) -> Result:
        """Perform a C-FIND."""
        sink = SessionItemSink[FindMatch](driver)
        try:
            return Result(find=await _run_operation(self._operations.find(open_, sink)))
        except Failure as failure:
            return Result(find=FindResult(status=find_status(failure), comment=failure.comment))

    async def commit(self, open_: CommitOpen) -> Result:
        """Check the references of a storage commitment."""
        try:
            return Result(commit=await _run_operation(self._operations.commit(open_)))
        except Failure as failure:
            status = commit_status(failure)
            return Result(commit=CommitResult(status=status, comment=failure.comment))

    async def retrieve(self, open_: RetrieveOpen, driver: SessionDriver[RetrieveSender]) -> Result:
        """List the instances of a C-MOVE or C-GET."""
        sink = SessionItemSink[RetrieveInstance](driver)
        try:
            return Result(retrieve=await _run_operation(self._operations.retrieve(open_, sink)))
        except Failure as failure:
            status = retrieve_status(failure)
            return Result(retrieve=RetrieveResult(status=status, comment=failure.comment))

    async def fetch(
        self, open_: FetchOpen, driver: SessionDriver[FetchSender], chunk: int
    ) -> Result:
        """Send one data set, in chunks of at most `chunk` bytes."""
        sink = SessionByteSink(driver, chunk)
        try:
            return Result(fetch=await _run_operation(self._operations.fetch(open_, sink)))
        except Failure as failure:
            return Result(
                fetch=FetchResult(
                    status=fetch_status(failure),
                    comment=failure.comment,
                    transient=failure.transient,
                )
            )

    async def _store(
        self,
        open_: StoreOpen,
        driver: SessionDriver[StoreReceiver],
        window: int,
        grow: Grow,
        *,
        inline: bool,
    ) -> StoreResult:
        chunks = VerifiedChunks(driver, open_.sha256)
        if inline:
            result = await self._operations.store_inline(open_, chunks)
        elif stored := await self._operations.already_stored(open_):
            return stored
        else:
            driver.send(driver.machine.grant(window, driver.now(), grow))
            result = await self._operations.store(open_, chunks)
        read = chunks.verified or (inline and result.duplicate)
        if result.status == Status.SUCCESS and not read:
            raise DimseFailure(
                Status.PROCESSING_FAILURE, "Stored without reading the whole data set"
            )
        return result


async def _run_operation(work: Awaitable[T]) -> T:
    try:
        return await work
    except Failure:
        raise
    except Exception as error:  # noqa: BLE001 - the operation must have a result
        _LOG.error(
            "An operation raised an unexpected exception.",
            error=type(error).__name__,
            at=_traceback_lines(error),
        )
        raise DimseFailure(Status.PROCESSING_FAILURE, "internal error") from None


def _traceback_lines(error: Exception) -> list[str]:
    """Return file and line of each call of the traceback, without the text of the error."""
    stack = traceback.extract_tb(error.__traceback__)
    return [f"{entry.filename}:{entry.lineno} {entry.name}" for entry in stack]

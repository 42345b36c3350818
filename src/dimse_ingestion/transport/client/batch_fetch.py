"""The proxy's end of a batch of fetches: one attempt, and a `FetchStream` for each data set.

A batch saves messages and tasks, no more: it is not retried. Whatever ends it before all data sets
are here (a replica that is lost, busy or older, an object that can't be read), each one that is
missing continues as a fetch of its own, from its next byte, with its own retries and failure.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

import msgspec

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.transport.client.fetch_client import (
    CarrierFetchStream,
    FetchAttempt,
    damaged,
    failure_of,
)
from dimse_ingestion.transport.client.retry import Operation, Retrier
from dimse_ingestion.transport.contract import FetchStream
from dimse_ingestion.transport.protocol.codec import OpenFetch, Reject, Result
from dimse_ingestion.transport.protocol.fetch import FetchReceiver
from dimse_ingestion.transport.protocol.fetch_batch import BatchSplitter, objects_of
from dimse_ingestion.transport.protocol.messages import FetchObject, FetchOpen
from dimse_ingestion.transport.protocol.state import AttemptFailed, Outcome

OLDER_FOR = 60.0
"""Seconds without batches after a replica that does not know them, or refuses one."""


class BatchFetcher:
    """Starts batches, or fetches for each of their objects while the service is older."""

    def __init__(self, retrier: Retrier) -> None:
        self._retrier = retrier
        self._batches_from = float("-inf")

    def fetch(self, open_: FetchOpen) -> Sequence[FetchStream]:
        """Start to fetch the objects of an open; return their streams."""
        if self._retrier.now() >= self._batches_from:
            return _Batch(self._retrier, open_, self._on_outcome).streams
        single = msgspec.structs.replace(open_, more=())
        return [_alone(self._retrier, single, each) for each in objects_of(open_)]

    def _on_outcome(self, outcome: Outcome) -> None:
        refused = isinstance(outcome, Reject) and not _is_timeout(outcome)
        if refused or _is_of_former_release(outcome):
            self._batches_from = self._retrier.now() + OLDER_FOR


class BatchedFetchStream:
    """A `FetchStream` of one data set of a batch, which is delivered as a whole."""

    def __init__(self, batch: "_Batch", wanted: FetchObject) -> None:
        self.wanted = wanted
        self._batch = batch
        self._pieces: list[bytes] = []
        self._received = 0
        self._digest = hashlib.sha256()
        self._failure: Failure | None = None
        self._alone: CarrierFetchStream | None = None
        self._ready = asyncio.Event()
        self._is_closed = False

    @property
    def is_settled(self) -> bool:
        """Return whether the batch has no more to do for this data set."""
        return self._is_closed or self._ready.is_set()

    async def wait_until_buffered(self) -> None:
        """Wait for the data set, which is then verified. Raises Failure."""
        await self._ready.wait()
        if self._alone is not None:
            await self._alone.wait_until_buffered()
        elif self._failure is not None:
            raise self._failure

    def take_whole(self) -> bytes | None:
        """Return the data set, once; None before it is verified."""
        if self._alone is not None:
            return self._alone.take_whole()
        if not self._pieces or not self._ready.is_set() or self._failure is not None:
            return None
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the data set in one piece, verified. Raises Failure."""
        await self.wait_until_buffered()
        if self._alone is None:
            yield self.take_whole() or b""
            return
        async for piece in self._alone:
            yield piece

    async def close(self) -> None:
        """Drop the data set; end the batch when no other one of it is missing."""
        self._is_closed = True
        self._pieces = []
        if self._alone is not None:
            await self._alone.close()
        else:
            await self._batch.end_if_settled()

    # called by the batch

    def add(self, piece: bytes) -> None:
        """Add the next bytes, and verify the digest at the end."""
        if self._is_closed:
            return
        self._digest.update(piece)
        self._pieces.append(piece)
        self._received += len(piece)
        if self._received == self.wanted.size:
            if self._digest.hexdigest() != self.wanted.sha256:
                self.fail(damaged())
            self._ready.set()

    def fail(self, failure: Failure) -> None:
        """End with a failure."""
        self._failure, self._pieces = failure, []
        self._ready.set()

    def continue_alone(self, retrier: Retrier, open_: FetchOpen) -> None:
        """Fetch what is missing by a fetch of its own."""
        pieces, self._pieces = self._pieces, []
        self._alone = _alone(retrier, open_, self.wanted, pieces)
        self._ready.set()


class _Batch:
    """One batch under way."""

    def __init__(
        self, retrier: Retrier, open_: FetchOpen, on_outcome: Callable[[Outcome], None]
    ) -> None:
        self._retrier, self._open, self._on_outcome = retrier, open_, on_outcome
        objects = objects_of(open_)
        self.streams = [BatchedFetchStream(self, each) for each in objects]
        self._sizes = [each.size for each in objects]
        self._splitter = BatchSplitter(self._sizes)
        self._arrived: deque[bytes] = deque()
        self._operation = Operation(
            "fetch", open_.operation_id, retrier.timeouts.deadline, limits_attempts=False
        )
        self._task = asyncio.create_task(self._run(), name="fetch batch")

    async def end_if_settled(self) -> None:
        """End the transfer when no stream needs it."""
        if self._task.done() or not all(each.is_settled for each in self.streams):
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        try:
            outcome = await self._run_attempt()
        except Exception:
            self._continue_rest_alone()
            raise
        self._on_outcome(outcome)
        if all(each.is_settled for each in self.streams):
            return
        self._fail(outcome)
        if isinstance(outcome, AttemptFailed):
            self._retrier.record_retry(self._operation, outcome, pause=0.0)
        self._continue_rest_alone()

    async def _run_attempt(self) -> Outcome:
        retrier = self._retrier
        machine = FetchReceiver(
            self._arrived,
            0,
            0,
            retrier.timeouts,
            retrier.now(),
            sum(self._sizes),
            is_batch=True,
        )
        attempt = FetchAttempt(retrier.carrier, retrier.inboxes.new(), machine, self._deliver)
        opening = OpenFetch(open=self._open, limit=machine.limit)
        outcome = await retrier.run_attempt(self._operation, attempt, opening)
        self._deliver()
        return outcome

    def _deliver(self) -> None:
        """Pass what has arrived to its streams."""
        while self._arrived:
            for index, part in self._splitter.split(self._arrived.popleft()):
                self.streams[index].add(part)

    def _fail(self, outcome: Outcome) -> None:
        """Give a failure to the streams that it concerns."""
        if isinstance(outcome, Reject) and _is_timeout(outcome):  # each has waited for so long
            for stream in self._unsettled():
                stream.fail(Unavailable(outcome.comment))
        result = outcome.fetch if isinstance(outcome, Result) else None
        if result and result.status != Status.SUCCESS and not result.transient:
            first = self.streams[0]
            if not first.is_settled:
                first.fail(failure_of(result))

    def _continue_rest_alone(self) -> None:
        open_ = msgspec.structs.replace(self._open, more=())
        for stream in self._unsettled():
            stream.continue_alone(self._retrier, open_)

    def _unsettled(self) -> list[BatchedFetchStream]:
        return [each for each in self.streams if not each.is_settled]


def _alone(
    retrier: Retrier, open_: FetchOpen, wanted: FetchObject, arrived: Sequence[bytes] = ()
) -> CarrierFetchStream:
    """Start to fetch one object of a batch, but the bytes that have arrived."""
    single = msgspec.structs.replace(open_, key=wanted.key, size=wanted.size, sha256=wanted.sha256)
    return CarrierFetchStream(retrier, single, stored=True, arrived=arrived)


def _is_timeout(outcome: Reject) -> bool:
    return outcome.status == Status.OUT_OF_RESOURCES


def _is_of_former_release(outcome: Outcome) -> bool:
    """Return whether a replica has sent the first data set alone because it knows no batches."""
    result = outcome.fetch if isinstance(outcome, Result) else None
    return result is not None and result.status == Status.SUCCESS and not result.objects

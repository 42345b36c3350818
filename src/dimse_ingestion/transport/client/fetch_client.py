"""The proxy's end of a fetch: a `FetchStream` over a carrier.

Attempts run in a task of their own and append to one buffer, at most a window of the data set. When
a replica is lost, the next attempt continues at another one from the byte that is missing. The
digest covers the data set as a whole, over all attempts; it is computed as the bytes arrive, so
that a data set that was fetched ahead can be sent at once.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice

import msgspec

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.transport.carrier import Carrier
from dimse_ingestion.transport.client.attempt import Attempt
from dimse_ingestion.transport.client.retry import FinalResult, Operation, Retrier, RetriesExhausted
from dimse_ingestion.transport.protocol.codec import MAXIMUM_INLINE, OpenFetch, Reject, Result
from dimse_ingestion.transport.protocol.fetch import WINDOW, FetchReceiver, window_of
from dimse_ingestion.transport.protocol.messages import FetchOpen, FetchResult
from dimse_ingestion.transport.protocol.state import Outcome
from dimse_ingestion.transport.protocol.timeouts import Timeouts

_HASH_INLINE_LIMIT = 64 * 1024
"""Bytes of a long data set that are hashed in the event loop; more are hashed in a thread. A data
set that fits into its window is hashed there as it arrives, which costs less than the thread."""


class FetchAttempt(Attempt):
    """One attempt of a fetch; calls `on_progress` after each event."""

    machine: FetchReceiver

    def __init__(
        self,
        carrier: Carrier,
        inbox: str,
        machine: FetchReceiver,
        on_progress: Callable[[], None],
    ) -> None:
        super().__init__(carrier, inbox, machine)
        self._on_progress = on_progress

    def consume(self, consumed: int) -> None:
        """Note that `consumed` bytes in all were taken from the buffer, and grant credit."""
        self.send(self.machine.consume(consumed, self._clock()))

    async def _send_flow(self) -> None:
        self._on_progress()


class _Resumed(Exception):
    """A replica was lost after it had sent bytes: the next one has the whole time again."""


class CarrierFetchStream:
    """A `FetchStream` over a carrier; the transfer starts with the construction.

    `arrived` are the first bytes, where a batch has delivered them.
    """

    def __init__(
        self,
        retrier: Retrier,
        open_: FetchOpen,
        *,
        stored: bool,
        window: int = WINDOW,
        arrived: Sequence[bytes] = (),
    ) -> None:
        self._retrier = retrier
        self._open = open_
        self._stored = stored
        self._window = window
        self._most_buffered = _most_buffered(open_.size if stored else None, window)
        self._operation = Operation(
            "fetch", open_.operation_id, retrier.timeouts.deadline, limits_attempts=False
        )
        self._buffer = deque(arrived)
        self._received, self._consumed = sum(map(len, arrived)), 0
        self._attempt: FetchAttempt | None = None
        self._result: FetchResult | None = None
        self._digest = hashlib.sha256()
        self._hashed_inline = _HASH_INLINE_LIMIT if open_.size > window else MAXIMUM_INLINE
        self._hashed = 0  # pieces at the beginning of the buffer
        self._hashing = 0  # those that follow them, in a thread
        self._is_verified = False
        self._wakeup = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="fetch")

    async def wait_until_buffered(self) -> None:
        """Wait for the whole data set, which is then verified, or for a window of it."""
        while self._result is None and self._received - self._consumed < self._most_buffered:
            await self._wait()
        if self._result is None or self._consumed or self._is_verified:
            return
        self._check_result(self._result)
        while self._hashed < len(self._buffer):
            await self._wait()
        self._verify(self._result)

    def take_whole(self) -> bytes | None:
        """Return a data set that is in memory as a whole and verified; else None."""
        if not self._is_verified or self._consumed:
            return None
        pieces = tuple(self._buffer)
        self._buffer.clear()
        self._consumed, self._hashed = self._received, 0
        return b"".join(pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces; the last one only when the digest is verified."""
        last = b""
        while piece := await self._next_piece():
            if last:
                yield last
            last = piece
        if self._result and not self._is_verified:
            self._verify(self._result)
        if last:
            yield last

    async def close(self) -> None:
        """End the transfer."""
        if not self._task.done():
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._buffer.clear()

    async def _next_piece(self) -> bytes:
        """Return the next piece, empty at the end. Raises Failure when the transfer failed."""
        while not self._hashed:
            if self._result is not None and not self._buffer:
                self._check_result(self._result)
                return b""
            await self._wait()
        piece = self._buffer.popleft()
        self._hashed -= 1
        self._consumed += len(piece)
        if self._attempt is not None and self._result is None:
            self._attempt.consume(self._consumed)
        return piece

    async def _wait(self) -> None:
        self._wakeup.clear()
        await self._wakeup.wait()
        if self._task.done() and not self._task.cancelled():
            self._task.result()  # raises what a programming error raised

    def _hash_arrived(self) -> None:
        """Hash the pieces that have arrived, in a thread if that takes long."""
        if self._hashing or self._hashed == len(self._buffer):
            return
        pieces = list(islice(self._buffer, self._hashed, None))
        if sum(map(len, pieces)) <= self._hashed_inline:
            _update(self._digest, pieces)
            self._hashed += len(pieces)
            return
        self._hashing = len(pieces)
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, _update, self._digest, pieces).add_done_callback(self._on_hashed)

    def _on_hashed(self, _: "asyncio.Future[None]") -> None:
        if self._buffer:  # else the stream was closed meanwhile
            self._hashed += self._hashing
            self._hashing = 0
            self._hash_arrived()
        self._wakeup.set()

    def _check_result(self, result: FetchResult) -> None:
        if result.status != Status.SUCCESS:
            raise failure_of(result)

    def _verify(self, result: FetchResult) -> None:
        expected = self._open.sha256 if self._stored else result.sha256
        if self._received != result.size or self._digest.hexdigest() != expected:
            raise damaged()
        self._is_verified = True

    async def _run(self) -> None:
        try:
            self._result = await self._run_to_the_end()
        finally:
            self._wakeup.set()

    async def _run_to_the_end(self) -> FetchResult:
        while True:
            try:
                return _to_result(await self._retrier.run(self._operation, self._run_attempt))
            except RetriesExhausted as error:
                return FetchResult(status=Status.OUT_OF_RESOURCES, comment=str(error))
            except _Resumed:
                continue

    async def _run_attempt(self) -> Outcome:
        retrier, before = self._retrier, self._received
        machine = FetchReceiver(
            self._buffer,
            before,
            self._consumed,
            self._timeouts(),
            retrier.now(),
            self._open.size if self._stored else None,
            self._window,
        )
        attempt = FetchAttempt(retrier.carrier, retrier.inboxes.new(), machine, self._progress)
        self._attempt = attempt
        opening = OpenFetch(
            open=msgspec.structs.replace(self._open, offset=before), limit=machine.limit
        )
        outcome = await retrier.run_attempt(self._operation, attempt, opening)
        self._progress()
        if _is_final(outcome) or self._received == before:
            return outcome
        raise _Resumed

    def _timeouts(self) -> Timeouts:
        """Return the time-outs of an attempt: a replica may have to decode pixels first."""
        timeouts = self._retrier.timeouts
        longer = max(timeouts.deadline, timeouts.conversion_deadline)
        return timeouts if self._stored else replace(timeouts, deadline=longer)

    def _progress(self) -> None:
        if self._attempt is not None:
            self._received = self._attempt.machine.received
        self._hash_arrived()
        self._wakeup.set()


def _most_buffered(size: int | None, window: int) -> int:
    """Return the bytes after which another chunk may no longer fit into the window."""
    if size is not None and window_of(size, window) > size:
        return window
    return window - min(MAXIMUM_INLINE, window // 2)


def _update(digest: "hashlib._Hash", pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        digest.update(piece)


def damaged() -> Failure:
    """Return the failure of a data set whose bytes are not those announced."""
    return DimseFailure(
        Status.PROCESSING_FAILURE, "The data set does not have its digest: it is damaged"
    )


def _is_final(outcome: Outcome) -> bool:
    if isinstance(outcome, Result):
        return outcome.fetch is None or not outcome.fetch.transient
    return isinstance(outcome, Reject)


def failure_of(result: FetchResult) -> Failure:
    """Return the failure that a result reports."""
    if result.status == Status.OUT_OF_RESOURCES:
        return Unavailable(result.comment)
    with suppress(ValueError):
        return DimseFailure(Status(result.status), result.comment)
    return DimseFailure(Status.PROCESSING_FAILURE, result.comment)


def _to_result(final: FinalResult) -> FetchResult:
    if isinstance(final, Reject):
        return FetchResult(status=final.status, comment=final.comment)
    return final.fetch or FetchResult(
        status=Status.PROCESSING_FAILURE, comment="The answer has no result"
    )

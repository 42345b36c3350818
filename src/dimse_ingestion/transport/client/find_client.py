"""The proxy's end of a C-FIND: a `FindStream` over a carrier.

Attempts run in a task of their own; the iteration takes batches from the current attempt, as fast
as the modality accepts them. Once a match was delivered, a lost replica ends the query with A700:
another replica would start from the first match, and the modality would get matches twice.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.carrier import Carrier
from dimse_ingestion.transport.client.attempt import Attempt
from dimse_ingestion.transport.client.retry import FinalResult, Operation, Retrier, RetriesExhausted
from dimse_ingestion.transport.protocol.codec import OpenFind, Reject, chunk_size, encode
from dimse_ingestion.transport.protocol.find import FindReceiver
from dimse_ingestion.transport.protocol.messages import FindMatch, FindOpen, FindResult
from dimse_ingestion.transport.protocol.state import AttemptFailed, Outcome


class FindAttempt(Attempt):
    """One attempt of a C-FIND; calls `on_progress` after each event."""

    machine: FindReceiver

    def __init__(
        self,
        carrier: Carrier,
        inbox: str,
        machine: FindReceiver,
        on_progress: Callable[[], None],
    ) -> None:
        super().__init__(carrier, inbox, machine)
        self._on_progress = on_progress

    def pop_batch(self) -> None:
        """Remove the oldest batch, which the modality has now, and grant credit for another."""
        self.send(self.machine.pop_batch(self._clock()))

    async def _send_flow(self) -> None:
        self._on_progress()


class CarrierFindStream:
    """A `FindStream` over a carrier; the query starts with the construction."""

    def __init__(self, retrier: Retrier, open_: FindOpen) -> None:
        self._retrier = retrier
        self._open = open_
        self._operation = Operation(
            "find", open_.operation_id, retrier.timeouts.deadline, limits_attempts=False
        )
        self._attempt: FindAttempt | None = None
        self._result: FindResult | None = None
        self._delivered = 0
        self._wakeup = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def __aiter__(self) -> AsyncIterator[FindMatch]:
        """Iterate over the matches in the order of the catalogue."""
        while attempt := await self._next_attempt():
            for match in attempt.machine.arrived[0]:
                if self._is_cancelled:
                    return
                self._delivered += 1
                yield match
            attempt.pop_batch()

    def cancel(self) -> None:
        """End the query now; send a CANCEL to the replica without waiting for its effect."""
        if self._result is not None and not self._has_undelivered:
            return
        if self._attempt:
            self._attempt.send(self._attempt.machine.cancel())
        self._task.cancel()
        self._end(FindResult(status=Status.CANCEL, matches=self._delivered))

    @property
    def result(self) -> FindResult:
        """Return the result; valid only after the iteration ended."""
        if self._result is None:
            raise RuntimeError("The query has not ended yet.")
        return self._result

    @property
    def _has_undelivered(self) -> bool:
        """Return whether received matches wait for the modality."""
        return self._attempt is not None and bool(self._attempt.machine.arrived)

    @property
    def _is_cancelled(self) -> bool:
        return self._result is not None and self._result.status == Status.CANCEL

    async def _next_attempt(self) -> FindAttempt | None:
        """Return the attempt that has a batch for the modality, or None at the end."""
        while not (self._has_undelivered or self._result):
            self._wakeup.clear()
            await self._wakeup.wait()
            if self._task.done() and not self._task.cancelled():
                self._task.result()  # raises what a programming error raised
        return self._attempt if self._has_undelivered and not self._is_cancelled else None

    async def _run(self) -> None:
        try:
            final = await self._retrier.run(self._operation, self._run_attempt)
        except RetriesExhausted as error:
            self._end(FindResult(status=Status.OUT_OF_RESOURCES, comment=str(error)))
        else:
            self._end(_to_find_result(final))
        finally:
            self._wakeup.set()

    def _end(self, result: FindResult) -> None:
        self._result = result
        self._wakeup.set()

    async def _run_attempt(self) -> Outcome:
        carrier, timeouts = self._retrier.carrier, self._retrier.timeouts
        machine = FindReceiver(timeouts, self._retrier.now())
        opening = OpenFind(open=self._open, limit=machine.limit)
        if len(encode(opening)[1]) > chunk_size(carrier.maximum_payload):
            return Reject(status=Status.OUT_OF_RESOURCES, comment="The identifier is too long")
        inbox = self._retrier.inboxes.new()
        self._attempt = FindAttempt(carrier, inbox, machine, self._wakeup.set)
        outcome = await self._retrier.run_attempt(self._operation, self._attempt, opening)
        return self._lost(outcome) if isinstance(outcome, AttemptFailed) else outcome

    def _lost(self, outcome: AttemptFailed) -> Outcome:
        """Allow another attempt, unless the modality has received matches."""
        if not self._delivered:
            self._attempt = None
            return outcome
        return Reject(status=Status.OUT_OF_RESOURCES, comment=outcome.reason)


def _to_find_result(final: FinalResult) -> FindResult:
    if isinstance(final, Reject):
        return FindResult(status=final.status, comment=final.comment)
    return final.find or FindResult(
        status=Status.PROCESSING_FAILURE, comment="The answer has no result"
    )

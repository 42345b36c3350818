"""The state machines of a numbered stream of batches within the credit, for C-FIND and retrieve.

Sans-IO (see `state`). The replica keeps each batch until the proxy has confirmed it, so that a lost
batch can be sent again; both sides hold at most one window. A C-CANCEL is forwarded, and the proxy
does not wait for its effect (PS3.7 9.3.2.3). What a batch consists of is in `find` and `retrieve`;
the identifiers are not decoded here.
"""

from abc import abstractmethod
from collections import deque
from typing import Generic, TypeVar

import msgspec

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.protocol.codec import (
    Cancel,
    Credit,
    Message,
    Probe,
    Progress,
    Result,
    Resume,
)
from dimse_ingestion.transport.protocol.flow_control import ArrivalAction, SendWindow
from dimse_ingestion.transport.protocol.receiving_attempt import ReceivingAttempt
from dimse_ingestion.transport.protocol.state import (
    AttemptFailed,
    SessionState,
)
from dimse_ingestion.transport.protocol.timeouts import Timeouts

WINDOW = 8
"""Number of batches that may be on their way or wait for the modality."""
BATCH = 256 * 1024
_PER_BATCH = 64
ItemT = TypeVar("ItemT")
"""What a batch consists of."""


class BatchReceiver(ReceivingAttempt[list[ItemT]], Generic[ItemT]):
    """The proxy's side: collects batches in `arrived`, in order and each once."""

    def __init__(self, timeouts: Timeouts, now: float) -> None:
        super().__init__(deque(), 0, WINDOW, timeouts, now)

    # for subclasses

    @abstractmethod
    def _batch(self, message: Message) -> tuple[int, list[ItemT]] | None:
        """Return number and items of a batch, or None for another message."""

    @abstractmethod
    def _status(self, result: Result) -> int | None:
        """Return the status that a result has for this kind of operation, or None."""

    @abstractmethod
    def _cancelled_result(self) -> Result:
        """Return the result of an operation that ended by a C-CANCEL."""

    # events

    def pop_batch(self, now: float) -> list[Message]:
        """Remove the oldest batch, which the modality has now; return credit for another."""
        self.arrived.popleft()
        self._last_progress = now
        self._receive_window.limit += 1
        return [self._credit()] if self.outcome is None and self.subject else []

    def cancel(self) -> list[Message]:
        """End the query at once after a C-CANCEL, without waiting for the replica."""
        if self.outcome is not None:
            return []
        self.outcome = self._cancelled_result()
        return [Cancel()] if self.subject else []

    def _handle_flow(self, message: Message, now: float) -> list[Message]:
        batch = self._batch(message)
        if batch is None:
            return []
        number, items = batch
        action = self._receive_window.take(number, 1)
        if action is ArrivalAction.ACCEPT:
            self._last_progress = now
            self.arrived.append(items)
        answer = self._resume() if action is ArrivalAction.RESUME else self._credit()
        return [answer] if self.subject and action is not ArrivalAction.IGNORE else []

    def _handle_end(self, message: Message, now: float) -> list[Message]:  # noqa: ARG002 - the interface's
        """Withdraw an outcome that is not the end of the query.

        A result may overtake lost batches: these are requested again first. A CANCEL that this
        side did not request means that the replica shut down: another attempt may succeed.
        """
        if not isinstance(message, Result):
            return []
        if self._status(message) == Status.CANCEL:
            self.outcome = AttemptFailed("The replica ended the query")
            return []
        if message.batches > self._receive_window.expected:
            self.outcome = None
            return [self._resume()]
        return [self._credit()]


class BatchSender(SessionState, Generic[ItemT]):
    """The replica's side: items are added while `can_add`, and leave in batches."""

    def __init__(
        self, subject: str, limit: int, chunk: int, timeouts: Timeouts, now: float
    ) -> None:
        super().__init__(subject, timeouts, now)
        self.cancelled = False
        self._send_window = SendWindow()
        self._send_window.limit = limit
        self._max_batch_size = min(BATCH, chunk) - _PER_BATCH
        self._unconfirmed: deque[tuple[int, list[ItemT]]] = deque()
        """Batches not yet confirmed, which may be sent again; the last ones may wait for credit."""
        self._batch: list[ItemT] = []
        self._batch_size = 0
        self._final_result: Result | None = None

    # for subclasses

    @abstractmethod
    def _size(self, item: ItemT) -> int:
        """Return the most bytes that an item takes in a message."""

    @abstractmethod
    def _message(self, number: int, items: list[ItemT]) -> Message:
        """Return the message of a batch."""

    # state

    @property
    def has_lease(self) -> bool:
        """Return whether the proxy has not received everything yet."""
        return self.result is None or bool(self._unconfirmed)

    @property
    def is_joinable(self) -> bool:
        """Return whether another attempt can still get every batch from the first one on."""
        return super().is_joinable and not self.cancelled and self._send_window.confirmed == 0

    @property
    def can_add(self) -> bool:
        """Return whether another item may be added."""
        return not self._unconfirmed or self._unconfirmed[-1][0] < self._send_window.next

    @property
    def is_done(self) -> bool:
        """Return whether the result is sent and the proxy has every batch, or is gone."""
        return self.result is not None and (not self._unconfirmed or bool(self.failure_reason))

    # events

    def add(self, item: ItemT, now: float) -> list[Message]:
        """Add an item; it is sent at once, unless batches are on their way.

        The first matches reach the modality without delay, and a fast query fills its batches
        while it waits for credit.

        Raises DimseFailure for an item that no message can carry.
        """
        size = self._size(item)
        if size > self._max_batch_size:
            raise DimseFailure(Status.UNABLE_TO_PROCESS, "A match is longer than a message")
        if self._batch_size + size > self._max_batch_size:
            self._close_batch()
        self._batch.append(item)
        self._batch_size += size
        return self._record_sent(self._send(now), now)

    def finish(self, result: Result, now: float) -> list[Message]:
        """Send the result after the last batch."""
        if self.cancelled or self.failure_reason:
            self._batch, self._batch_size = [], 0
            self._unconfirmed.clear()
        self._close_batch()
        self._final_result = msgspec.structs.replace(result, batches=self._next_number)
        return self._record_sent(self._send(now), now)

    @property
    def _next_number(self) -> int:
        return self._unconfirmed[-1][0] + 1 if self._unconfirmed else self._send_window.next

    def _close_batch(self) -> None:
        if self._batch:
            self._unconfirmed.append((self._next_number, self._batch))
            self._batch, self._batch_size = [], 0

    def _send(self, now: float) -> list[Message]:
        """Return what the credit allows; a partly filled batch only when nothing is unconfirmed."""
        if not self._unconfirmed and self._send_window.available:
            self._close_batch()
        messages = self._within_credit()
        if (
            self._final_result
            and self._send_window.next >= self._final_result.batches
            and self.result is None
        ):
            messages += super().finish(self._final_result, now)
        return messages

    def _within_credit(self) -> list[Message]:
        ready = [
            self._message(number, items)
            for number, items in self._unconfirmed
            if self._send_window.next <= number < self._send_window.limit
        ]
        self._send_window.next += len(ready)
        return ready

    def _handle_flow(self, message: Message, now: float) -> list[Message]:
        if isinstance(message, Cancel):
            self.cancelled = True
            return (
                self.finish(self._final_result, now) if self._final_result else []
            )  # drops the rest
        if isinstance(message, Credit | Resume | Probe):
            return self._apply_credit(message, now)
        return super()._handle_flow(message, now)

    def _apply_credit(self, message: Credit | Resume | Probe, now: float) -> list[Message]:
        expected = message.position if isinstance(message, Probe) else message.expected
        if expected > self._send_window.next:
            return []
        needs_answer = not isinstance(message, Credit)
        if needs_answer:
            self._send_window.apply_resume(expected, message.limit)
        else:
            self._send_window.apply_credit(expected, message.limit)
        while self._unconfirmed and self._unconfirmed[0][0] < self._send_window.confirmed:
            self._unconfirmed.popleft()
        return self._send(now) + (self._probe_answer() if needs_answer else [])

    def _probe_answer(self) -> list[Message]:
        return [Progress() if self.result is None else self.result]

    def _answer_to_join(self, now: float) -> list[Message]:
        self._send_window.next = 0
        again = self._send(now)
        return [*self.accept(now), *again, *([self.result] if self.result else [])]

"""The state machines of one fetch: the bytes of a stored data set within the proxy's credit.

Sans-IO (see `state`). It is a store in the other direction: the replica sends DATA in order and
RESULT at the end, with size and digest of the whole. It keeps what the proxy has not confirmed, so
that a lost chunk can be sent again; both sides hold at most one window. Positions count the bytes
of the whole data set, so that another replica can continue from where the last one was lost.
"""

from collections import deque
from typing import cast

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.protocol.codec import (
    Cancel,
    Credit,
    Data,
    Message,
    Probe,
    Progress,
    Result,
    Resume,
)
from dimse_ingestion.transport.protocol.flow_control import ArrivalAction, SendWindow
from dimse_ingestion.transport.protocol.receiving_attempt import ReceivingAttempt
from dimse_ingestion.transport.protocol.state import SessionState
from dimse_ingestion.transport.protocol.timeouts import Timeouts

WINDOW = 4 * 1024 * 1024
"""Bytes of one data set that may be on their way or wait for the sub-operation."""
LEAST_WINDOW = 1024 * 1024
"""The same while many retrieves share the memory."""
_CREDITS_PER_WINDOW = 4
_CONFIRMED_EACH = 64 * 1024  # bytes: a replica with little memory keeps no more unconfirmed
_SLACK = 64 * 1024
"""Bytes that may come beyond the announced size, so that a wrong one is found by its digest."""


def window_of(size: int, window: int = WINDOW) -> int:
    """Return the credit of a data set of `size` bytes: a replica reserves no more for it."""
    return min(window, size + _SLACK)


class FetchReceiver(ReceivingAttempt[bytes]):
    """The proxy's side: appends chunks to `arrived`, in order and each once.

    The first `received` bytes have arrived in earlier attempts, and `consumed` of them were taken
    from `arrived`, which all attempts share. `size` is that of the data set if it is known: it
    bounds the credit, and its last byte is confirmed with the result. `window` is the credit of a
    longer one. Of a batch, positions and `size` count the bytes of all its data sets, and only the
    result is confirmed: the replica has memory for the whole.
    """

    def __init__(
        self,
        arrived: deque[bytes],
        received: int,
        consumed: int,
        timeouts: Timeouts,
        now: float,
        size: int | None = None,
        window: int = WINDOW,
        *,
        is_batch: bool = False,
    ) -> None:
        self._window = window if size is None else window_of(size, window)
        super().__init__(arrived, received, consumed + self._window, timeouts, now)
        self._confirmed = received
        self._confirmed_each = self._window if is_batch else _CONFIRMED_EACH
        self._size = size

    def consume(self, consumed: int, now: float) -> list[Message]:
        """Note that `consumed` bytes in all were taken; grant credit when it is worth a message."""
        self._last_progress = now
        if self._size is not None and self._receive_window.limit >= self._size:
            return []
        limit = consumed + self._window
        if limit - self._receive_window.limit < self._window // _CREDITS_PER_WINDOW:
            return []
        self._receive_window.limit = limit
        return [self._credit()] if self.outcome is None and self.subject else []

    def _handle_flow(self, message: Message, now: float) -> list[Message]:
        if not isinstance(message, Data) or message.size:  # no replica was offered to compress
            return []
        action = self._receive_window.take(message.offset, len(message.content))
        if action is ArrivalAction.RESUME:
            return [self._resume()] if self.subject else []
        if action is ArrivalAction.IGNORE or not message.content:
            return []
        self._last_progress = now
        self.arrived.append(message.content)
        is_worth_it = self.received - self._confirmed >= self._confirmed_each
        is_last = self.received == self._size
        return [self._credit()] if self.subject and is_worth_it and not is_last else []

    def _handle_end(self, message: Message, now: float) -> list[Message]:  # noqa: ARG002 - the interface's
        """Confirm the last byte, or withdraw a result that has overtaken lost chunks."""
        if not isinstance(message, Result) or message.fetch is None:
            return []
        complete = message.fetch.size <= self._receive_window.expected
        if complete or message.fetch.status != Status.SUCCESS:
            return [self._credit()]
        self.outcome = None
        return [self._resume()]

    def _credit(self) -> Credit:
        self._confirmed = self._receive_window.expected
        return super()._credit()


class FetchSender(SessionState):
    """The replica's side: chunks are added while `can_add`, at most `window` bytes unconfirmed."""

    def __init__(
        self,
        subject: str,
        offset: int,
        limit: int,
        window: int,
        timeouts: Timeouts,
        now: float,
    ) -> None:
        super().__init__(subject, timeouts, now)
        self._window = window
        self._send_window = SendWindow()
        self._send_window.next = self._send_window.confirmed = self._added = offset
        self._granted = limit
        self._unconfirmed: deque[Data] = deque()
        self._final_result: Result | None = None
        self._apply_limit(limit)

    @property
    def has_lease(self) -> bool:
        """Return whether the proxy has not received everything yet."""
        return self.result is None or bool(self._unconfirmed)

    @property
    def is_joinable(self) -> bool:
        """Return False: an attempt begins at its own offset, so it needs its own session."""
        return False

    @property
    def cancelled(self) -> bool:
        """Return whether no more bytes are needed."""
        return bool(self.failure_reason)

    @property
    def can_add(self) -> bool:
        """Return whether another chunk may be added: all others were sent."""
        return self._added <= self._send_window.next

    @property
    def is_done(self) -> bool:
        """Return whether the result is sent and the proxy has every byte, or is gone."""
        return self.result is not None and (not self._unconfirmed or bool(self.failure_reason))

    def add(self, chunk: bytes | memoryview, now: float) -> list[Message]:
        """Add the next bytes of the data set; return the messages that may be sent now."""
        content = cast("bytes", chunk)  # a carrier writes a view as it writes bytes
        self._unconfirmed.append(Data(offset=self._added, content=content))
        self._added += len(chunk)
        return self._record_sent(self._send(now), now)

    def finish(self, result: Result, now: float) -> list[Message]:
        """Send the result after the last chunk; at once when the transfer failed."""
        if self.failure_reason or result.fetch is None or result.fetch.status != Status.SUCCESS:
            self._unconfirmed.clear()
            self._send_window.next = self._added
        self._final_result = result
        return self._record_sent(self._send(now), now)

    def _send(self, now: float) -> list[Message]:
        messages: list[Message] = []
        for each in self._unconfirmed:
            end = each.offset + len(each.content)
            if self._send_window.next <= each.offset and end <= self._send_window.limit:
                messages.append(each)
                self._send_window.next = end
        sent = self._send_window.next >= self._added
        if self._final_result and sent and self.result is None:
            messages += super().finish(self._final_result, now)
        return messages

    def _handle_flow(self, message: Message, now: float) -> list[Message]:
        if isinstance(message, Cancel):
            self._fail("The sub-operation was cancelled")
            return []
        if isinstance(message, Credit | Resume | Probe):
            return self._apply_credit(message, now)
        return super()._handle_flow(message, now)

    def _apply_credit(self, message: Credit | Resume | Probe, now: float) -> list[Message]:
        expected = message.position if isinstance(message, Probe) else message.expected
        if expected > self._send_window.next:
            return []
        if isinstance(message, Credit):
            self._send_window.apply_credit(expected, 0)
        else:
            self._send_window.apply_resume(expected, 0)
        self._granted = max(self._granted, message.limit)
        confirmed = self._send_window.confirmed
        while self._unconfirmed and _end(self._unconfirmed[0]) <= confirmed:
            self._unconfirmed.popleft()
        self._apply_limit(self._granted)
        answer: list[Message] = [] if isinstance(message, Credit) else [self._probe_answer()]
        return self._send(now) + answer

    def _apply_limit(self, granted: int) -> None:
        """Limit what is sent to the credit, and to what this side can keep until confirmed."""
        self._send_window.limit = min(granted, self._send_window.confirmed + self._window)

    def _probe_answer(self) -> Message:
        return Progress() if self.result is None else self.result


def _end(chunk: Data) -> int:
    return chunk.offset + len(chunk.content)

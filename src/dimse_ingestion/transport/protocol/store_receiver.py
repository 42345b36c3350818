"""The replica's state machine of one C-STORE: accepts chunks in order and grants credit.

Sans-IO (see `state`). It counts bytes and queues chunks, at most one window of them, because the
announced size bounds the credit and says when the transfer is complete: a message of another size
fails the transfer, which the sender repeats. A compressed chunk counts as the bytes it stands for.
Checking the size and digest of what is stored, and storing, are done by the caller.
"""

from collections import deque
from collections.abc import Callable

from dimse_ingestion.transport.protocol.codec import (
    Accept,
    Credit,
    Data,
    End,
    Message,
    Probe,
    Progress,
    Resume,
)
from dimse_ingestion.transport.protocol.compression import ENCODINGS, CompressedPiece
from dimse_ingestion.transport.protocol.flow_control import ArrivalAction, ReceiveWindow
from dimse_ingestion.transport.protocol.state import NEVER, SessionState
from dimse_ingestion.transport.protocol.timeouts import Timeouts

_CREDITS_PER_WINDOW = 4
Grow = Callable[[int], int]
"""Returns the window that replaces one of this length: a larger one, or the same."""


class StoreReceiver(SessionState):
    """One session that receives `size` bytes: all of them `inline` with the open, or in chunks."""

    def __init__(
        self,
        subject: str,
        size: int,
        sha256: str,
        chunk: int,
        timeouts: Timeouts,
        now: float,
        *,
        inline: bytes | CompressedPiece | None = None,
    ) -> None:
        super().__init__(subject, timeouts, now)
        self.arrived: deque[bytes | CompressedPiece] = deque()
        """Chunks received and not yet consumed, in order."""
        self._size, self._sha256, self._chunk = size, sha256, chunk
        self._receive_window = ReceiveWindow()
        self._window = 0
        self._grow: Grow = lambda window: window
        self._blocked_at = NEVER  # position at which the sender had no credit left
        self._consumed = 0
        self._end_received = False
        if inline is not None:
            self._take_inline(inline)

    def _take_inline(self, content: bytes | CompressedPiece) -> None:
        if len(content) != self._size:
            self._fail("The data set does not have the announced size")
            return
        self._receive_window.limit = self._receive_window.expected = self._size
        self._end_received = True
        if content:
            self.arrived.append(content)

    @property
    def complete(self) -> bool:
        """Return whether every byte and the END were received."""
        return self._end_received and self._receive_window.expected == self._size

    @property
    def has_lease(self) -> bool:
        """Return whether bytes are still missing."""
        return not self.complete

    def grant(self, window: int, now: float, grow: Grow | None = None) -> list[Message]:
        """Grant the first window, so that the sender begins; `grow` may enlarge it later."""
        self._window = window
        self._grow = grow or self._grow
        self._receive_window.limit = max(
            self._receive_window.limit, min(self._size, self._consumed + window)
        )
        return self._record_sent([self._credit()], now) if self._accept_sent else self.accept(now)

    def consumed(self, length: int, now: float) -> list[Message]:
        """Note that `length` bytes were consumed; grant new credit when it is worth a message.

        Credit follows what was consumed, not what was received: a slow bucket slows the sender
        down. It is sent for each quarter of a window, because one message for each chunk would
        double the traffic, and once per window would stall the sender.

        When the sender had no credit left and everything it sent is consumed, both sides wait for
        credit on its way: the window is smaller than what bandwidth and distance have room for.
        """
        self._consumed += length
        if self._blocked_at <= self._consumed == self._receive_window.expected:
            self._blocked_at = NEVER
            self._window = self._grow(self._window)
        limit = min(self._size, self._consumed + self._window)
        is_worth_sending = limit - self._receive_window.limit >= self._window // _CREDITS_PER_WINDOW
        if limit <= self._receive_window.limit or not (is_worth_sending or limit == self._size):
            return []
        self._receive_window.limit = limit
        return self._record_sent([self._credit()], now)

    def on_reconnect(self, now: float) -> list[Message]:
        """Return a resume after a reconnect, since chunks on their way may be lost."""
        if self.result is not None or self.failure_reason or not self._accept_sent or self.complete:
            return []
        return self._record_sent([self._resume()], now)

    def _acceptance(self) -> Accept:
        return Accept(
            subject=self.subject,
            expected=self._receive_window.expected,
            limit=self._receive_window.limit,
            chunk=self._chunk,
            encodings=ENCODINGS,
        )

    def _handle_flow(self, message: Message, now: float) -> list[Message]:
        if self.result is not None or self.complete:
            return super()._handle_flow(message, now)
        if isinstance(message, Data):
            return self._take(message)
        if isinstance(message, End):
            return self._end(message)
        if isinstance(message, Probe):
            missing = message.position > self._receive_window.expected
            return [self._resume() if missing else self._credit()]
        return []

    def _take(self, message: Data) -> list[Message]:
        piece = message.piece
        action = self._receive_window.take(message.offset, len(piece))
        if action is ArrivalAction.ACCEPT:
            self.arrived.append(piece)
            if message.blocked:
                self._blocked_at = self._receive_window.expected
        return [self._resume()] if action is ArrivalAction.RESUME else []

    def _end(self, message: End) -> list[Message]:
        if (message.size, message.sha256) != (self._size, self._sha256):
            self._fail("The data set is not the one announced")
            return []
        if self._receive_window.expected < self._size:
            lost = self._receive_window.take(self._size, 0) is ArrivalAction.RESUME
            return [self._resume()] if lost else []
        self._end_received = True
        return [Progress()]

    def _credit(self) -> Credit:
        return Credit(expected=self._receive_window.expected, limit=self._receive_window.limit)

    def _resume(self) -> Resume:
        return Resume(expected=self._receive_window.expected, limit=self._receive_window.limit)

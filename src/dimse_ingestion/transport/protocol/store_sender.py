"""The proxy's state machine of one C-STORE attempt: chunks within the credit, END, resume.

Sans-IO (see `state`): `peek_chunk` gives the caller the range to send next, so that it is read from
the spool only when it may be sent. This module holds no bytes of the data set.
"""

from dimse_ingestion.transport.protocol.codec import (
    MAXIMUM_CHUNK,
    Abort,
    Accept,
    Credit,
    End,
    Message,
    Probe,
    Resume,
)
from dimse_ingestion.transport.protocol.flow_control import SendWindow
from dimse_ingestion.transport.protocol.state import AttemptFailed, AttemptState
from dimse_ingestion.transport.protocol.timeouts import Timeouts


class StoreSender(AttemptState):
    """One attempt to send `size` bytes with the digest `sha256`."""

    def __init__(self, size: int, sha256: str, chunk: int, timeouts: Timeouts, now: float) -> None:
        super().__init__(timeouts, now)
        self._end = End(size=size, sha256=sha256)
        self._size = size
        self._chunk = chunk
        self._send_window = SendWindow()
        self._end_sent = False
        self.resume_count = 0
        """Number of resumes that moved the position back."""

    def set_chunk_size(self, chunk: int) -> None:
        """Set the chunk size: a new connection may have another maximum payload."""
        self._chunk = chunk

    def peek_chunk(self, most: int = MAXIMUM_CHUNK) -> tuple[int, int] | None:
        """Return offset and length of the next DATA, of at most `most` bytes, or None.

        None when no DATA may be sent now. The position stays: see `advance`.
        """
        left = self._size - self._send_window.next
        length = min(self._chunk, most, self._send_window.available, left)
        if not self.may_send or length <= 0:
            return None
        return self._send_window.next, length

    def advance(self, offset: int, length: int) -> bool:
        """Move the position behind a chunk, which the caller must then send.

        Return False, and stay, when the chunk is no longer the next: after a resume or a loss.
        """
        if not self.may_send or offset != self._send_window.next:
            return False
        self._send_window.next += length
        return True

    def next_chunk(self) -> tuple[int, int] | None:
        """Return offset and length of the next DATA, and advance at once; None if there is none."""
        if chunk := self.peek_chunk():
            self.advance(*chunk)
        return chunk

    @property
    def is_blocked(self) -> bool:
        """Return whether there are more bytes, and no credit for them."""
        return self._send_window.next < self._size and not self._send_window.available

    def on_timer(self, now: float) -> list[Message]:
        """Return the messages that are due, and END once every byte was sent."""
        return [*super().on_timer(now), *self._end_if_all_sent()]

    def _end_if_all_sent(self) -> list[Message]:
        if self._end_sent or not self.may_send or self._send_window.next < self._size:
            return []
        self._end_sent = True
        return [self._end]

    def _probe_message(self) -> Message:
        return Probe(position=self._size + 1 if self._end_sent else self._send_window.next)

    def _handle_flow(self, message: Message, now: float) -> list[Message]:  # noqa: ARG002 - the interface's
        if isinstance(message, Accept | Credit | Resume):
            if message.expected > self._size:
                self.outcome = AttemptFailed("The replica expects more bytes than announced")
                return [Abort(reason="The position is beyond the announced size")]
            self._apply_credit(message)
        return self._end_if_all_sent()

    def _apply_credit(self, message: Accept | Credit | Resume) -> None:
        if isinstance(message, Accept):
            self._chunk = min(self._chunk, max(1, message.chunk))
        if not isinstance(message, Resume):
            self._send_window.apply_credit(message.expected, message.limit)
        elif self._send_window.apply_resume(message.expected, message.limit):
            self.resume_count += 1
            self._end_sent = False

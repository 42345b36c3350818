"""The sending end of one C-STORE attempt: chunks under credit, END, and back again after a loss.

Sans-IO (see `session`): the driver asks `next_data` which bytes to send, so that they are read
only when there is room for them. It never holds a byte of the data set.
"""

from dimse_ingestion.transport.protocol.codec import (
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
    """One attempt to carry `size` bytes whose digest is `sha256`."""

    def __init__(self, size: int, sha256: str, chunk: int, times: Timeouts, now: float) -> None:
        super().__init__(times, now)
        self._end = End(size=size, sha256=sha256)
        self._size = size
        self._chunk = chunk
        self._out = SendWindow()
        self._end_sent = False
        self.resumed = 0
        """Times the receiver asked to go back."""

    def rechunk(self, chunk: int) -> None:
        """A new connection may take other chunks."""
        self._chunk = chunk

    def next_data(self) -> tuple[int, int] | None:
        """Offset and length of the next DATA, which the driver then sends; None when it can't."""
        length = min(self._chunk, self._out.room, self._size - self._out.next)
        if not self.may_send or length <= 0:
            return None
        offset = self._out.next
        self._out.next += length
        return offset, length

    def due(self, now: float) -> list[Message]:
        """Do what the time asks for, and END once every byte was sent."""
        return [*super().due(now), *self._ending()]

    def _ending(self) -> list[Message]:
        if self._end_sent or not self.may_send or self._out.next < self._size:
            return []
        self._end_sent = True
        return [self._end]

    def _question(self) -> Message:
        return Probe(position=self._size + 1 if self._end_sent else self._out.next)

    def _flow(self, frame: Message, now: float) -> list[Message]:  # noqa: ARG002 - the interface's
        if isinstance(frame, Accept | Credit | Resume):
            if frame.expected > self._size:
                self.outcome = AttemptFailed("The replica expects more than there is")
                return [Abort(reason="There is not so much")]
            self._learn(frame)
        return self._ending()

    def _learn(self, frame: Accept | Credit | Resume) -> None:
        if isinstance(frame, Accept):
            self._chunk = min(self._chunk, max(1, frame.chunk))
        if not isinstance(frame, Resume):
            self._out.granted(frame.expected, frame.limit)
        elif self._out.resumed(frame.expected, frame.limit):
            self.resumed += 1
            self._end_sent = False

"""The proxy's state machine of an attempt that receives: a window, its credit, and a deadline.

Sans-IO (see `state`). `batches` and `fetch` add what a message consists of, and when credit is
worth a message.
"""

from collections import deque
from typing import Generic, TypeVar

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.protocol.codec import Abort, Credit, Message, Probe, Reject, Resume
from dimse_ingestion.transport.protocol.flow_control import ReceiveWindow
from dimse_ingestion.transport.protocol.state import NEVER, AttemptState
from dimse_ingestion.transport.protocol.timeouts import Timeouts

ArrivedT = TypeVar("ArrivedT")


class ReceivingAttempt(AttemptState, Generic[ArrivedT]):
    """An attempt that collects what the replica sends in `arrived`, in order and each once."""

    def __init__(
        self, arrived: deque[ArrivedT], expected: int, limit: int, timeouts: Timeouts, now: float
    ) -> None:
        super().__init__(timeouts, now)
        self.arrived = arrived
        """What was received and not yet taken."""
        self._receive_window = ReceiveWindow()
        self._receive_window.expected = expected
        self._receive_window.limit = limit
        self._last_progress = now

    @property
    def limit(self) -> int:
        """Return the credit to send with the open."""
        return self._receive_window.limit

    @property
    def received(self) -> int:
        """Return the number of positions received: batches or bytes."""
        return self._receive_window.expected

    def on_timer(self, now: float) -> list[Message]:
        """Return the messages that are due; end an attempt without progress."""
        if self.outcome is None and now >= self._progress_deadline:
            self.outcome = Reject(status=Status.OUT_OF_RESOURCES, comment="No answer in time")
            return [Abort(reason="No answer in time")] if self.subject else []
        return super().on_timer(now)

    @property
    def wake_at(self) -> float:
        """Return when `on_timer` must be called, unless something happens earlier."""
        return NEVER if self.outcome is not None else min(super().wake_at, self._progress_deadline)

    @property
    def _progress_deadline(self) -> float:
        return NEVER if self.arrived else self._last_progress + self.timeouts.deadline

    def _probe_message(self) -> Message:
        return Probe(position=self._receive_window.expected, limit=self._receive_window.limit)

    def _credit(self) -> Credit:
        return Credit(expected=self._receive_window.expected, limit=self._receive_window.limit)

    def _resume(self) -> Resume:
        return Resume(expected=self._receive_window.expected, limit=self._receive_window.limit)

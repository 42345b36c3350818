"""The two ends of one C-FIND: batches of matches, numbered, under credit, until the final status.

Sans-IO (see `session`). The replica keeps each batch until the proxy has it, so that a lost one is
sent again; both hold no more than the window. A cancel is told and not waited for (PS3.7 9.3.2.3).
What a match says is not looked at.
"""

from collections import deque

import msgspec

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.protocol.codec import (
    Abort,
    Cancel,
    Credit,
    Match,
    Message,
    Probe,
    Progress,
    Reject,
    Result,
    Resume,
)
from dimse_ingestion.transport.protocol.flow_control import ArrivalAction, ReceiveWindow, SendWindow
from dimse_ingestion.transport.protocol.messages import FindMatch, FindResult
from dimse_ingestion.transport.protocol.state import (
    NEVER,
    AttemptFailed,
    AttemptState,
    SessionState,
)
from dimse_ingestion.transport.protocol.timeouts import Timeouts

WINDOW = 8
"""Batches on the way, or waiting to be taken by the modality."""
BATCH = 256 * 1024
_PER_MATCH = 32  # bytes that msgpack and the field names add to an identifier
_PER_BATCH = 64


class FindReceiver(AttemptState):
    """The proxy's side: matches come out of `arrived` in order, each once."""

    def __init__(self, times: Timeouts, now: float) -> None:
        super().__init__(times, now)
        self.arrived: deque[list[FindMatch]] = deque()
        """Batches taken and not yet handed on."""
        self._in = ReceiveWindow()
        self._in.limit = WINDOW
        self._moved = now

    @property
    def limit(self) -> int:
        """The credit that goes with the open."""
        return self._in.limit

    @property
    def received(self) -> int:
        """Batches that have come."""
        return self._in.expected

    def taken(self, now: float) -> list[Message]:
        """The modality has the oldest batch in `arrived`: room for another."""
        self.arrived.popleft()
        self._moved = now
        self._in.limit += 1
        return [self._credit()] if self.outcome is None and self.subject else []

    def cancel(self) -> list[Message]:
        """The modality wants no more: the end is at once, whatever the replica does."""
        if self.outcome is not None:
            return []
        self.outcome = Result(find=FindResult(status=Status.CANCEL))
        return [Cancel()] if self.subject else []

    def due(self, now: float) -> list[Message]:
        """Do what the time asks for; a query without progress ends here."""
        if self.outcome is None and now >= self._starves_at:
            self.outcome = Reject(status=Status.OUT_OF_RESOURCES, comment="No answer in time")
            return [Abort(reason="No answer in time")] if self.subject else []
        return super().due(now)

    @property
    def wake_at(self) -> float:
        """When `due` is to be called, if nothing happens before."""
        return NEVER if self.outcome is not None else min(super().wake_at, self._starves_at)

    @property
    def _starves_at(self) -> float:
        return NEVER if self.arrived else self._moved + self.times.deadline

    def _question(self) -> Message:
        return Probe(position=self._in.expected, limit=self._in.limit)

    def _flow(self, frame: Message, now: float) -> list[Message]:
        if not isinstance(frame, Match):
            return []
        action = self._in.take(frame.number, 1)
        if action is ArrivalAction.ACCEPT:
            self._moved = now
            self.arrived.append(frame.matches)
        answer = self._resume() if action is ArrivalAction.RESUME else self._credit()
        return [answer] if self.subject and action is not ArrivalAction.IGNORE else []

    def _ended(self, frame: Message, now: float) -> list[Message]:  # noqa: ARG002 - the interface's
        """A status that overtook matches is not the end yet, nor is a cancel nobody asked for."""
        if not isinstance(frame, Result):
            return []
        if frame.find is not None and frame.find.status == Status.CANCEL:
            self.outcome = AttemptFailed("The replica ended the query")
            return []
        if frame.batches > self._in.expected:
            self.outcome = None
            return [self._resume()]
        return [self._credit()]

    def _credit(self) -> Credit:
        return Credit(expected=self._in.expected, limit=self._in.limit)

    def _resume(self) -> Resume:
        return Resume(expected=self._in.expected, limit=self._in.limit)


class FindSender(SessionState):
    """The replica's side: matches go in by `add` while there is `room`, batches come out."""

    def __init__(self, subject: str, limit: int, chunk: int, times: Timeouts, now: float) -> None:
        super().__init__(subject, times, now)
        self.cancelled = False
        self._out = SendWindow()
        self._out.limit = limit
        self._full = min(BATCH, chunk) - _PER_BATCH
        self._kept: deque[Match] = deque()
        """Batches that may have to be sent again; the last ones may wait for credit."""
        self._open: list[FindMatch] = []
        self._open_size = 0
        self._closed: Result | None = None

    @property
    def leased(self) -> bool:
        """Whether the proxy still has to take something."""
        return self.result is None or bool(self._kept)

    @property
    def joinable(self) -> bool:
        """Whether another attempt can have every batch from the first."""
        return super().joinable and not self.cancelled and self._out.confirmed == 0

    @property
    def room(self) -> bool:
        """Whether another match may be added."""
        return not self._kept or self._kept[-1].number < self._out.next

    @property
    def done(self) -> bool:
        """The result is sent and the proxy has every batch, or it is gone."""
        return self.result is not None and (not self._kept or bool(self.broken))

    def add(self, match: FindMatch, now: float) -> list[Message]:
        """Take a match. It goes out at once unless batches are on the way: then it joins others.

        Raises DimseFailure for a match that no message can carry.
        """
        size = len(match.identifier) + _PER_MATCH
        if size > self._full:
            raise DimseFailure(Status.UNABLE_TO_PROCESS, "A match is longer than a message")
        if self._open_size + size > self._full:
            self._close_batch()
        self._open.append(match)
        self._open_size += size
        return self._said_now(self._send(now), now)

    def finish(self, result: Result, now: float) -> list[Message]:
        """No more matches: the result follows the last batch."""
        if self.cancelled or self.broken:
            self._open, self._open_size = [], 0
            self._kept.clear()
        self._close_batch()
        self._closed = msgspec.structs.replace(result, batches=self._numbered)
        return self._said_now(self._send(now), now)

    @property
    def _numbered(self) -> int:
        return self._kept[-1].number + 1 if self._kept else self._out.next

    def _close_batch(self) -> None:
        if self._open:
            self._kept.append(Match(number=self._numbered, matches=self._open))
            self._open, self._open_size = [], 0

    def _send(self, now: float) -> list[Message]:
        """Everything the credit allows; an unfilled batch only when nothing is on the way."""
        if not self._kept and self._out.room:
            self._close_batch()
        frames: list[Message] = list(self._within_credit())
        if self._closed and self._out.next >= self._closed.batches and self.result is None:
            frames += super().finish(self._closed, now)
        return frames

    def _within_credit(self) -> list[Match]:
        ready = [each for each in self._kept if self._out.next <= each.number < self._out.limit]
        self._out.next += len(ready)
        return ready

    def _flow(self, frame: Message, now: float) -> list[Message]:
        if isinstance(frame, Cancel):
            self.cancelled = True
            return self.finish(self._closed, now) if self._closed else []  # lets go of the rest
        if isinstance(frame, Credit | Resume | Probe):
            return self._credited(frame, now)
        return super()._flow(frame, now)

    def _credited(self, frame: Credit | Resume | Probe, now: float) -> list[Message]:
        expected = frame.position if isinstance(frame, Probe) else frame.expected
        if expected > self._out.next:
            return []
        asks_again = not isinstance(frame, Credit)
        if asks_again:
            self._out.resumed(expected, frame.limit)
        else:
            self._out.granted(expected, frame.limit)
        while self._kept and self._kept[0].number < self._out.confirmed:
            self._kept.popleft()
        return self._send(now) + (self._reassured() if asks_again else [])

    def _reassured(self) -> list[Message]:
        return [Progress() if self.result is None else self.result]

    def _answer_to_join(self, now: float) -> list[Message]:
        self._out.next = 0
        again = self._send(now)
        return [*self.accept(now), *again, *([self.result] if self.result else [])]

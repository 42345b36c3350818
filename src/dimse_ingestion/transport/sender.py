"""One attempt to carry a data set, from the sender's side: events in, frames out.

Sans-IO: it has no clock (`now` is handed in, in seconds), no connection and no bytes; it says which
piece of the data set to send next. The receiver's credit bounds what is on the way; whatever is
lost is sent again from where the receiver is. An attempt ends in a result, or in `Again`.
"""

from dataclasses import dataclass

from dimse_ingestion.transport.frames import Accept, Busy, End, Frame, Kind, State
from dimse_ingestion.transport.messages import StoreOpen, StoreResult
from dimse_ingestion.transport.timing import Timing


@dataclass(frozen=True, slots=True)
class Again:
    """This attempt came to nothing; another may succeed.

    `unanswered` says that nobody listened at all, which has a budget of its own.
    """

    why: str
    after: float = 0.0
    unanswered: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the data set to send as DATA."""

    offset: int
    length: int


class Sending:
    """The sender's half of a session.

    `subject` is where frames go once accepted. `outgoing` are control frames to send, in order;
    the driver empties it. `outcome` is set at the end.
    """

    def __init__(self, open_: StoreOpen, timing: Timing, now: float) -> None:
        self.subject = ""
        self.outgoing: list[Frame] = []
        self.outcome: StoreResult | Again | None = None
        self._open = open_
        self._timing = timing
        self._next = 0
        self._limit = 0
        self._chunk = 0
        self._ended = False
        self._opened = now
        self._heard = now
        self._probed = now
        self._nobody_since: float | None = None

    def received(self, frame: Frame, now: float) -> None:
        """Take one frame from the receiver; raises Malformed when its body can't be read."""
        if self.outcome is not None:
            return
        self._heard = now
        self._nobody_since = None
        match frame.kind:
            case Kind.ACCEPT:
                self._accepted(frame.content(Accept))
            case Kind.CREDIT:
                self._limit = max(self._limit, frame.content(State).limit)
            case Kind.STATE | Kind.RESUME:
                self._go_on_from(frame.content(State))
            case Kind.RESULT:
                self.outcome = frame.content(StoreResult)
            case Kind.BUSY:
                self.outcome = Again("every replica is busy", frame.content(Busy).retry_after)
            case Kind.LEAVING | Kind.UNKNOWN | Kind.ABORT:
                self.outcome = Again(f"the replica said {frame.kind.value}")
            case _:
                pass

    def nobody_listened(self, now: float) -> None:
        """A frame found nobody at its subject."""
        if not self.subject:
            self.outcome = self.outcome or Again("no ingestion service listens", unanswered=True)
        elif self._nobody_since is None:
            self._nobody_since = now

    def tick(self, now: float) -> None:
        """Let time pass: time-outs, probes."""
        if self.outcome is not None:
            return
        if not self.subject and now - self._heard >= self._timing.open_timeout:
            self.outcome = Again("the ingestion service did not answer")
        elif self._nobody_since is not None and now - self._nobody_since >= self._timing.gone_after:
            self.outcome = Again("the replica is gone")
        elif self.subject and self._is_silent(now):
            self._probe(now)

    def reconnected(self, now: float) -> None:
        """The connection is back: ask the receiver where it is."""
        if self.subject and self.outcome is None:
            self._probe(now)

    def next_piece(self) -> Piece | None:
        """What to send next, if credit allows; END is put into `outgoing` after the last."""
        if not self.subject or self.outcome is not None or self._nobody_since is not None:
            return None
        left = self._open.size - self._next
        length = min(self._chunk, self._limit - self._next, left)
        if length > 0 and (length == self._chunk or length == left):
            piece = Piece(self._next, length)
            self._next += length
            return piece
        if left == 0 and not self._ended:
            self._ended = True
            self._send(Kind.END)
        return None

    @property
    def wakes_at(self) -> float:
        """When `tick` is due at the latest."""
        if not self.subject:
            return self._heard + self._timing.open_timeout
        return max(self._heard, self._probed) + self._timing.silence

    def _accepted(self, accept: Accept) -> None:
        if not self.subject:
            self.subject, self._limit, self._chunk = accept.subject, accept.limit, accept.chunk

    def _go_on_from(self, state: State) -> None:
        self._limit = max(self._limit, state.limit)
        if state.expected < self._next or (self._ended and state.expected <= self._open.size):
            self._next = min(self._next, state.expected)
            self._ended = False

    def _is_silent(self, now: float) -> bool:
        return now - max(self._heard, self._probed) >= self._timing.silence

    def _probe(self, now: float) -> None:
        self._probed = now
        self._send(Kind.PROBE)

    def _send(self, kind: Kind) -> None:
        content = End(size=self._open.size, sha256=self._open.sha256) if kind is Kind.END else None
        self.outgoing.append(Frame.of(kind, content))

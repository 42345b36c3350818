"""What every operation has in common at both its ends: being there, being heard, coming to an end.

Sans-IO: a frame or the time goes in, frames come out, and nothing here has a clock or a socket.
`Asking` is the proxy's side of one attempt, `Serving` the replica's side of one session; `sender`,
`receiver` and `finding` add what flows. C-ECHO has no flow and is played by these two alone.
"""

from dataclasses import dataclass

from dimse_ingestion.transport.protocol.codec import (
    Abort,
    Accept,
    Busy,
    End,
    Leaving,
    Message,
    Probe,
    Progress,
    Reject,
    Result,
    Unknown,
)
from dimse_ingestion.transport.protocol.timeouts import Timeouts

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """This attempt won't have a result; another may. `reached`: a replica has answered it."""

    because: str
    reached: bool = True
    after: float = 0.0
    """Seconds the replica asked to wait."""


Outcome = Result | Reject | AttemptFailed


class AttemptState:
    """One attempt, from its open to its outcome. Subclasses add what flows."""

    def __init__(self, times: Timeouts, now: float) -> None:
        self.times = times
        self.outcome: Outcome | None = None
        self.subject = ""
        """Where the session listens; empty until a replica has accepted."""
        self._heard = now
        self._probed = now
        self._doubted = NEVER
        self._interrupted = NEVER

    # events

    def receive(self, frame: Message, now: float, subject: str = "") -> list[Message]:
        """Take a frame that the session at `subject` sent; gives the frames to send to it."""
        if self.outcome is not None:
            return []
        self._heard, self._doubted = now, NEVER
        self.subject = self.subject or subject
        self.outcome = _end(frame)
        return self._flow(frame, now) if self.outcome is None else self._ended(frame, now)

    def nobody_listened(self, now: float) -> None:
        """The server found no subscription for what was sent."""
        if self.outcome is not None:
            return
        if not self.subject:
            self.outcome = AttemptFailed("Nobody listens", reached=False)
        elif self._doubted == NEVER:
            self._doubted = now
            self._probed = now

    def interrupted(self, now: float) -> None:
        """The connection broke: what was on the way may be lost."""
        if self.outcome is None and not self.subject:
            self.outcome = AttemptFailed("The connection to NATS broke", reached=False)
        self._interrupted = min(now, self._interrupted)

    def restored(self, now: float) -> list[Message]:
        """The connection is back: ask at once how far the replica is."""
        self._interrupted = self._doubted = NEVER
        self._heard = now
        return self._probe(now) if self.outcome is None and self.subject else []

    def due(self, now: float) -> list[Message]:
        """Do what the time asks for."""
        if self.outcome is not None:
            return []
        self.outcome = self._given_up(now)
        waiting = self.outcome is None and self.subject and self._interrupted == NEVER
        return self._probe(now) if waiting and now >= self._probe_at else []

    def abandon(self, reason: str) -> list[Message]:
        """Nobody waits for this attempt any more."""
        if self.outcome is not None:
            return []
        self.outcome = AttemptFailed(reason)
        return [Abort(reason=reason)] if self.subject else []

    # what it waits for

    @property
    def wake_at(self) -> float:
        """When `due` is to be called, if nothing happens before."""
        if self.outcome is not None:
            return NEVER
        return min(self._give_up_at, self._probe_at if self._live else NEVER)

    @property
    def may_send(self) -> bool:
        """Whether the replica is believed to be there."""
        return self._live and self.outcome is None and self._doubted == NEVER

    @property
    def _live(self) -> bool:
        return bool(self.subject) and self._interrupted == NEVER

    @property
    def _probe_at(self) -> float:
        if self._doubted != NEVER:
            return self._probed + self.times.doubt_interval
        return max(self._heard, self._probed) + self.times.silence

    @property
    def _give_up_at(self) -> float:
        if not self.subject:
            return self._heard + self.times.open_timeout
        if self._interrupted != NEVER:
            return self._interrupted + self.times.lease
        return min(self._doubted + self.times.doubt, self._heard + self.times.unanswered)

    def _given_up(self, now: float) -> AttemptFailed | None:
        if now < self._give_up_at:
            return None
        if not self.subject:
            return AttemptFailed("No answer to the open", reached=False)
        return AttemptFailed("The replica is gone")

    def _probe(self, now: float) -> list[Message]:
        self._probed = now
        return [self._question()]

    # for subclasses

    def _question(self) -> Message:
        """The probe, with how far this side is."""
        return Probe()

    def _flow(self, frame: Message, now: float) -> list[Message]:  # noqa: ARG002 - for subclasses
        """Take a frame that ends nothing."""
        return []

    def _ended(self, frame: Message, now: float) -> list[Message]:  # noqa: ARG002 - for subclasses
        """Take the frame that gave the outcome; may take the outcome back."""
        return []


def _end(frame: Message) -> Outcome | None:
    """The outcome a frame brings, if it brings one."""
    if isinstance(frame, Result | Reject):
        return frame
    if isinstance(frame, Busy):
        return AttemptFailed("The replica is busy", after=frame.retry_after)
    gone = {
        Leaving: "The replica is leaving",
        Unknown: "The replica does not know the session",
        Abort: "The replica gave the session up",
    }
    because = gone.get(type(frame))
    return AttemptFailed(because) if because else None


class SessionState:
    """One session at a replica, from its open until its result is sent. Subclasses add the flow."""

    def __init__(self, subject: str, times: Timeouts, now: float) -> None:
        self.subject = subject
        self.times = times
        self.result: Result | None = None
        self.broken = ""
        """Why the asking side's part won't come; empty while it may."""
        self._accept_sent = False
        self._opened = now
        self._heard = now
        self._said = now

    # events

    def receive(self, frame: Message, now: float) -> list[Message]:
        """Take a frame of the attempt this session belongs to; gives the frames to answer."""
        self._heard = now
        if isinstance(frame, Abort) and self.leased:
            self._break("The sender gave up")
        if self.broken and self.result is None:
            return []
        return self._said_now(self._flow(frame, now), now)

    def joined(self, now: float) -> list[Message]:
        """Another attempt of the same operation came: it goes on from where this one is."""
        self._heard = now
        return self._answer_to_join(now)

    def due(self, now: float) -> list[Message]:
        """Do what the time asks for."""
        if now >= self._lease_ends:
            self._break("The sender fell silent")
        if self.result is not None or self.broken:
            return []
        if not self._accept_sent and now >= self._opened + self.times.accept_after:
            return self.accept(now)
        beat = now >= self._said + self.times.heartbeat
        return self._said_now([Progress()], now) if beat else []

    def accept(self, now: float) -> list[Message]:
        """Say that this replica is at work."""
        self._accept_sent = True
        return self._said_now([self._acceptance()], now)

    def finish(self, result: Result, now: float) -> list[Message]:
        """The operation has its result."""
        self.result = result
        return self._said_now([result], now)

    def supersede(self) -> None:
        """Another session has taken over the operation."""
        self._break("Another attempt took over")

    def leave(self) -> list[Message]:
        """This replica ends before the operation."""
        if self.result is not None:
            return []
        self._break("The replica is leaving")
        return [Leaving()]

    # what it waits for

    @property
    def wake_at(self) -> float:
        """When `due` is to be called, if nothing happens before."""
        if self.broken:
            return NEVER
        if self.result is not None:
            return self._lease_ends
        beat = self._said + self.times.heartbeat
        accepting = NEVER if self._accept_sent else self._opened + self.times.accept_after
        return min(self._lease_ends, accepting, beat)

    @property
    def joinable(self) -> bool:
        """Whether another attempt can go on here."""
        return not self.broken

    @property
    def leased(self) -> bool:
        """Whether the asking side still has a part to play."""
        return False

    @property
    def _lease_ends(self) -> float:
        return self._heard + self.times.lease if self.leased else NEVER

    def _said_now(self, frames: list[Message], now: float) -> list[Message]:
        if frames:
            self._said = now
        return frames

    def _acceptance(self) -> Accept:
        return Accept(subject=self.subject)

    def _answer_to_join(self, now: float) -> list[Message]:
        return self.accept(now) if self.result is None else [self.result]

    def _break(self, because: str) -> None:
        """The first reason stays."""
        self.broken = self.broken or because

    def _flow(self, frame: Message, now: float) -> list[Message]:  # noqa: ARG002 - for subclasses
        """Take a frame; when nothing flows, every question has the same answer."""
        if self.result is not None:
            return [] if isinstance(frame, Abort) else [self.result]
        return [Progress()] if isinstance(frame, Probe | End) else []

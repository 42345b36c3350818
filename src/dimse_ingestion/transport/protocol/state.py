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

    reason: str
    replica_answered: bool = True
    retry_after: float = 0.0
    """Seconds the replica asked to wait."""


Outcome = Result | Reject | AttemptFailed


class AttemptState:
    """One attempt, from its open to its outcome. Subclasses add what flows."""

    def __init__(self, timeouts: Timeouts, now: float) -> None:
        self.timeouts = timeouts
        self.outcome: Outcome | None = None
        self.subject = ""
        """Where the session listens; empty until a replica has accepted."""
        self._last_received = now
        self._last_probe = now
        self._no_responders_since = NEVER
        self._disconnected_since = NEVER

    # events

    def receive(self, message: Message, now: float, subject: str = "") -> list[Message]:
        """Take a frame that the session at `subject` sent; gives the frames to send to it."""
        if self.outcome is not None:
            return []
        self._last_received, self._no_responders_since = now, NEVER
        self.subject = self.subject or subject
        self.outcome = _end(message)
        return (
            self._handle_flow(message, now)
            if self.outcome is None
            else self._handle_end(message, now)
        )

    def on_no_responders(self, now: float) -> None:
        """The server found no subscription for what was sent."""
        if self.outcome is not None:
            return
        if not self.subject:
            self.outcome = AttemptFailed("Nobody listens", replica_answered=False)
        elif self._no_responders_since == NEVER:
            self._no_responders_since = now
            self._last_probe = now

    def on_disconnect(self, now: float) -> None:
        """The connection broke: what was on the way may be lost."""
        if self.outcome is None and not self.subject:
            self.outcome = AttemptFailed("The connection to NATS broke", replica_answered=False)
        self._disconnected_since = min(now, self._disconnected_since)

    def on_reconnect(self, now: float) -> list[Message]:
        """The connection is back: ask at once how far the replica is."""
        self._disconnected_since = self._no_responders_since = NEVER
        self._last_received = now
        return self._probe(now) if self.outcome is None and self.subject else []

    def on_timer(self, now: float) -> list[Message]:
        """Do what the time asks for."""
        if self.outcome is not None:
            return []
        self.outcome = self._check_give_up(now)
        waiting = self.outcome is None and self.subject and self._disconnected_since == NEVER
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
        return min(self._give_up_at, self._probe_at if self._is_connected else NEVER)

    @property
    def may_send(self) -> bool:
        """Whether the replica is believed to be there."""
        return self._is_connected and self.outcome is None and self._no_responders_since == NEVER

    @property
    def _is_connected(self) -> bool:
        return bool(self.subject) and self._disconnected_since == NEVER

    @property
    def _probe_at(self) -> float:
        if self._no_responders_since != NEVER:
            return self._last_probe + self.timeouts.no_responders_probe_interval
        return max(self._last_received, self._last_probe) + self.timeouts.probe_after

    @property
    def _give_up_at(self) -> float:
        if not self.subject:
            return self._last_received + self.timeouts.open_timeout
        if self._disconnected_since != NEVER:
            return self._disconnected_since + self.timeouts.lease
        return min(
            self._no_responders_since + self.timeouts.no_responders_timeout,
            self._last_received + self.timeouts.probe_timeout,
        )

    def _check_give_up(self, now: float) -> AttemptFailed | None:
        if now < self._give_up_at:
            return None
        if not self.subject:
            return AttemptFailed("No answer to the open", replica_answered=False)
        return AttemptFailed("The replica is gone")

    def _probe(self, now: float) -> list[Message]:
        self._last_probe = now
        return [self._probe_message()]

    # for subclasses

    def _probe_message(self) -> Message:
        """The probe, with how far this side is."""
        return Probe()

    def _handle_flow(self, message: Message, now: float) -> list[Message]:  # noqa: ARG002 - for subclasses
        """Take a frame that ends nothing."""
        return []

    def _handle_end(self, message: Message, now: float) -> list[Message]:  # noqa: ARG002 - for subclasses
        """Take the frame that gave the outcome; may take the outcome back."""
        return []


def _end(message: Message) -> Outcome | None:
    """The outcome a frame brings, if it brings one."""
    if isinstance(message, Result | Reject):
        return message
    if isinstance(message, Busy):
        return AttemptFailed("The replica is busy", retry_after=message.retry_after)
    gone = {
        Leaving: "The replica is leaving",
        Unknown: "The replica does not know the session",
        Abort: "The replica gave the session up",
    }
    reason = gone.get(type(message))
    return AttemptFailed(reason) if reason else None


class SessionState:
    """One session at a replica, from its open until its result is sent. Subclasses add the flow."""

    def __init__(self, subject: str, timeouts: Timeouts, now: float) -> None:
        self.subject = subject
        self.timeouts = timeouts
        self.result: Result | None = None
        self.failure_reason = ""
        """Why the asking side's part won't come; empty while it may."""
        self._accept_sent = False
        self._opened_at = now
        self._last_received = now
        self._last_sent = now

    # events

    def receive(self, message: Message, now: float) -> list[Message]:
        """Take a frame of the attempt this session belongs to; gives the frames to answer."""
        self._last_received = now
        if isinstance(message, Abort) and self.has_lease:
            self._fail("The sender gave up")
        if self.failure_reason and self.result is None:
            return []
        return self._record_sent(self._handle_flow(message, now), now)

    def join(self, now: float) -> list[Message]:
        """Another attempt of the same operation came: it goes on from where this one is."""
        self._last_received = now
        return self._answer_to_join(now)

    def on_timer(self, now: float) -> list[Message]:
        """Do what the time asks for."""
        if now >= self._lease_ends:
            self._fail("The sender fell silent")
        if self.result is not None or self.failure_reason:
            return []
        if not self._accept_sent and now >= self._opened_at + self.timeouts.accept_after:
            return self.accept(now)
        beat = now >= self._last_sent + self.timeouts.heartbeat_interval
        return self._record_sent([Progress()], now) if beat else []

    def accept(self, now: float) -> list[Message]:
        """Say that this replica is at work."""
        self._accept_sent = True
        return self._record_sent([self._acceptance()], now)

    def finish(self, result: Result, now: float) -> list[Message]:
        """The operation has its result."""
        self.result = result
        return self._record_sent([result], now)

    def supersede(self) -> None:
        """Another session has taken over the operation."""
        self._fail("Another attempt took over")

    def leave(self) -> list[Message]:
        """This replica ends before the operation."""
        if self.result is not None:
            return []
        self._fail("The replica is leaving")
        return [Leaving()]

    # what it waits for

    @property
    def wake_at(self) -> float:
        """When `due` is to be called, if nothing happens before."""
        if self.failure_reason:
            return NEVER
        if self.result is not None:
            return self._lease_ends
        beat = self._last_sent + self.timeouts.heartbeat_interval
        accepting = NEVER if self._accept_sent else self._opened_at + self.timeouts.accept_after
        return min(self._lease_ends, accepting, beat)

    @property
    def is_joinable(self) -> bool:
        """Whether another attempt can go on here."""
        return not self.failure_reason

    @property
    def has_lease(self) -> bool:
        """Whether the asking side still has a part to play."""
        return False

    @property
    def _lease_ends(self) -> float:
        return self._last_received + self.timeouts.lease if self.has_lease else NEVER

    def _record_sent(self, messages: list[Message], now: float) -> list[Message]:
        if messages:
            self._last_sent = now
        return messages

    def _acceptance(self) -> Accept:
        return Accept(subject=self.subject)

    def _answer_to_join(self, now: float) -> list[Message]:
        return self.accept(now) if self.result is None else [self.result]

    def _fail(self, reason: str) -> None:
        """The first reason stays."""
        self.failure_reason = self.failure_reason or reason

    def _handle_flow(self, message: Message, now: float) -> list[Message]:  # noqa: ARG002 - for subclasses
        """Take a frame; when nothing flows, every question has the same answer."""
        if self.result is not None:
            return [] if isinstance(message, Abort) else [self.result]
        return [Progress()] if isinstance(message, Probe | End) else []

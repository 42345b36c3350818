"""The state machines of one operation, without its data: acceptance, liveness, result.

Sans-IO: messages and the time go in, messages come out; there is no clock and no socket here.
`AttemptState` is the proxy's side of one attempt, `SessionState` the replica's side of one
session. `store_sender`, `store_receiver`, `batches` and `fetch` add the flow of data; C-ECHO has
none and uses these two alone.

NATS delivers at most once, so each side has to find out by itself that a message or the other
side is lost: the proxy probes after a silence, the replica ends a session whose lease ran out.
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
NO_REPLICA = "No replica is subscribed"
"""The reason of an attempt that failed because the subject of its open has no subscriber."""
NO_ANSWER = "No answer to the open"
"""The reason of an attempt that failed because the replica that got its open is silent."""


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """The attempt ended without a result; another attempt may get one.

    `replica_answered`: some replica answered this attempt, so the service is not unreachable.
    """

    reason: str
    replica_answered: bool = True
    retry_after: float = 0.0
    """Seconds to wait before the next attempt, as the replica requested."""


Outcome = Result | Reject | AttemptFailed


class AttemptState:
    """The proxy's state of one attempt, from its open to its outcome.

    Without a session (`subject` is empty) only the open timeout counts. With one, three things
    can be wrong: the replica is silent (probe it), the server reported no responders (probe
    quickly for a while: the subscription may return after a reconnect of the replica), or our own
    connection is down (wait, because nothing can be learned about the replica).
    """

    def __init__(self, timeouts: Timeouts, now: float) -> None:
        self.timeouts = timeouts
        self.outcome: Outcome | None = None
        self.subject = ""
        """The session's subject; empty until a replica has answered."""
        self.encodings: tuple[str, ...] = ()
        """What the replica offered last, in ACCEPT or RESULT."""
        self._last_received = now
        self._last_probe = now
        self._no_responders_since = NEVER
        self._disconnected_since = NEVER

    # events

    def receive(self, message: Message, now: float, subject: str = "") -> list[Message]:
        """Process a message from the session at `subject`; return the messages to send to it."""
        if self.outcome is not None:
            return []
        self._last_received, self._no_responders_since = now, NEVER
        self.subject = self.subject or subject
        if isinstance(message, Accept | Result):
            self.encodings = message.encodings
        self.outcome = _end(message)
        return (
            self._handle_flow(message, now)
            if self.outcome is None
            else self._handle_end(message, now)
        )

    def on_no_responders(self, now: float) -> None:
        """Note the server's reply that a message had no subscriber.

        For an open, no replica is there: the attempt ends. Within a session, the replica may only
        be reconnecting: sending pauses and probes decide.
        """
        if self.outcome is not None:
            return
        if not self.subject:
            self.outcome = AttemptFailed(NO_REPLICA, replica_answered=False)
        elif self._no_responders_since == NEVER:
            self._no_responders_since = now
            self._last_probe = now

    def on_disconnect(self, now: float) -> None:
        """Note that the connection was lost, and with it perhaps messages on their way.

        An open that no replica has answered is given up: it may be lost, and a new attempt costs
        less than waiting for the timeout. A session continues after the reconnect.
        """
        if self.outcome is None and not self.subject:
            self.outcome = AttemptFailed("The connection to NATS broke", replica_answered=False)
        self._disconnected_since = min(now, self._disconnected_since)

    def on_reconnect(self, now: float) -> list[Message]:
        """Note the reconnect; probe at once, since credits and resumes may have been lost."""
        self._disconnected_since = self._no_responders_since = NEVER
        self._last_received = now
        return self._probe(now) if self.outcome is None and self.subject else []

    def on_timer(self, now: float) -> list[Message]:
        """Return the messages that are due at this time; note a timeout as the outcome."""
        if self.outcome is not None:
            return []
        self.outcome = self._check_give_up(now)
        waiting = self.outcome is None and self.subject and self._disconnected_since == NEVER
        return self._probe(now) if waiting and now >= self._probe_at else []

    def abandon(self, reason: str) -> list[Message]:
        """End the attempt because its caller no longer waits for it."""
        if self.outcome is not None:
            return []
        self.outcome = AttemptFailed(reason)
        return [Abort(reason=reason)] if self.subject else []

    # timers

    @property
    def wake_at(self) -> float:
        """Return when `on_timer` must be called, unless something happens earlier."""
        if self.outcome is not None:
            return NEVER
        return min(self._give_up_at, self._probe_at if self._is_connected else NEVER)

    @property
    def may_send(self) -> bool:
        """Return whether data may be sent: there is a session, and no sign that it is gone."""
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
            return AttemptFailed(NO_ANSWER, replica_answered=False)
        return AttemptFailed("The replica is gone")

    def _probe(self, now: float) -> list[Message]:
        self._last_probe = now
        return [self._probe_message()]

    # for subclasses

    def _probe_message(self) -> Message:
        """Return the probe, with this side's position."""
        return Probe()

    def _handle_flow(self, message: Message, now: float) -> list[Message]:  # noqa: ARG002 - for subclasses
        """Process a message that does not end the attempt."""
        return []

    def _handle_end(self, message: Message, now: float) -> list[Message]:  # noqa: ARG002 - for subclasses
        """Process the message that gave the outcome; may withdraw the outcome."""
        return []


def _end(message: Message) -> Outcome | None:
    """Return the outcome that a message brings, or None."""
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
    """The replica's state of one session, from its open until its result is sent.

    A fast operation sends only its result. ACCEPT follows when there is none after
    `accept_after`, so that the proxy does not open a second attempt; PROGRESS follows at each
    heartbeat. While the proxy still has data to send or to receive, the session has a lease,
    which every message of the proxy renews.
    """

    def __init__(self, subject: str, timeouts: Timeouts, now: float) -> None:
        self.subject = subject
        self.timeouts = timeouts
        self.result: Result | None = None
        self.failure_reason = ""
        """The reason why the session cannot continue; empty while it can."""
        self._accept_sent = False
        self._opened_at = now
        self._last_received = now
        self._last_sent = now

    # events

    def receive(self, message: Message, now: float) -> list[Message]:
        """Process a message of the session's attempt; return the messages that answer it."""
        self._last_received = now
        if isinstance(message, Abort) and self.has_lease:
            self._fail("The sender gave up")
        if self.failure_reason and self.result is None:
            return []
        return self._record_sent(self._handle_flow(message, now), now)

    def join(self, now: float) -> list[Message]:
        """Continue with another attempt of the same operation, at the current position."""
        self._last_received = now
        return self._answer_to_join(now)

    def on_timer(self, now: float) -> list[Message]:
        """Return the messages that are due at this time; note a timeout as the outcome."""
        if now >= self._lease_ends:
            self._fail("The sender sent nothing within the lease")
        if self.result is not None or self.failure_reason:
            return []
        if not self._accept_sent and now >= self._opened_at + self.timeouts.accept_after:
            return self.accept(now)
        beat = now >= self._last_sent + self.timeouts.heartbeat_interval
        return self._record_sent([Progress()], now) if beat else []

    def accept(self, now: float) -> list[Message]:
        """Return the ACCEPT, and note that it is sent."""
        self._accept_sent = True
        return self._record_sent([self._acceptance()], now)

    def finish(self, result: Result, now: float) -> list[Message]:
        """Return the messages that carry the operation's result."""
        self.result = result
        return self._record_sent([result], now)

    def supersede(self) -> None:
        """End this session because another session has taken over the operation."""
        self._fail("Another attempt took over")

    def leave(self) -> list[Message]:
        """End this session because the replica shuts down before the operation ends."""
        if self.result is not None:
            return []
        self._fail("The replica is leaving")
        return [Leaving()]

    # timers

    @property
    def wake_at(self) -> float:
        """Return when `on_timer` must be called, unless something happens earlier."""
        if self.failure_reason:
            return NEVER
        if self.result is not None:
            return self._lease_ends
        beat = self._last_sent + self.timeouts.heartbeat_interval
        accepting = NEVER if self._accept_sent else self._opened_at + self.timeouts.accept_after
        return min(self._lease_ends, accepting, beat)

    @property
    def is_joinable(self) -> bool:
        """Return whether another attempt can continue this session."""
        return not self.failure_reason

    @property
    def has_lease(self) -> bool:
        """Return whether the proxy still has data to send or to receive."""
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
        """Record why the session failed; only the first reason is recorded."""
        self.failure_reason = self.failure_reason or reason

    def _handle_flow(self, message: Message, now: float) -> list[Message]:  # noqa: ARG002 - for subclasses
        """Answer a message: with the result when there is one, else with PROGRESS to a probe."""
        if self.result is not None:
            return [] if isinstance(message, Abort) else [self.result]
        return [Progress()] if isinstance(message, Probe | End) else []

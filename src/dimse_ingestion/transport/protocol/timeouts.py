"""The timeouts and intervals of transport v1, in one value that a test can shrink as a whole.

The sans-IO modules read no clock: they are given `now`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Durations in seconds."""

    open_timeout: float = 2.0
    """An open without an answer is sent again after this time, with the same operation id."""
    open_budget: float = 10.0
    """An operation ends with A700 when no replica answers for this time."""
    deadline: float = 50.0
    """The limit for a whole C-STORE, and for the next progress of a C-FIND."""
    conversion_deadline: float = 200.0
    """The limit for the next progress of a fetch whose data set the replica converts first."""
    echo_deadline: float = 20.0
    """The limit for a C-ECHO that a replica has accepted."""
    first_backoff: float = 0.05
    """The pause before the first retry; doubled for each further one, with jitter."""
    max_backoff: float = 4.0
    last_attempt_margin: float = 1.0
    """A pause that would pass the deadline is cut, so that the last attempt has this time left."""
    probe_after: float = 1.0
    """The proxy probes a replica that has sent nothing for this time."""
    no_responders_probe_interval: float = 0.25
    """The interval of probes after the server reported no responders."""
    no_responders_timeout: float = 3.0
    """After no responders, the proxy probes for this time before it tries another replica."""
    probe_timeout: float = 10.0
    """A replica that is subscribed but answers no probe for this time (it hangs) is given up."""
    heartbeat_interval: float = 5.0
    """A replica at work sends a message at least this often."""
    lease: float = 20.0
    """A replica ends a session whose proxy has sent nothing for this time."""
    accept_after: float = 0.5
    """A replica that has no result after this time sends ACCEPT."""
    result_retention: float = 120.0
    """A replica keeps the result of a finished session for this time."""
    busy_retry_after: float = 0.1
    """The pause that a busy replica requests."""

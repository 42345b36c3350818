"""How long either side of an operation waits for what; one value, so that a test shrinks them all.

Only durations: nobody in the sans-IO modules reads a clock, `now` is handed to them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """All in seconds."""

    open_timeout: float = 2.0
    """An open without any answer is given up and opened again, under the same operation id."""
    open_budget: float = 10.0
    """With nobody listening for so long, an operation ends with A700."""
    deadline: float = 50.0
    """For the final answer of a C-STORE, and for the next sign of progress in a C-FIND."""
    echo_deadline: float = 20.0
    """For the answer to a C-ECHO that a replica has taken on."""
    first_backoff: float = 0.05
    """Before the first retry; doubled for each further one, and jittered."""
    max_backoff: float = 4.0
    last_attempt_margin: float = 1.0
    """The last attempt begins so long before the deadline, when a pause would go beyond it."""
    probe_after: float = 1.0
    """Without a word from the replica, the asking side probes."""
    no_responders_probe_interval: float = 0.25
    """Between probes after the server said that nobody listened."""
    no_responders_timeout: float = 3.0
    """After that message, the asking side probes for so long before it goes elsewhere."""
    probe_timeout: float = 10.0
    """Probes that nobody refuses and nobody answers: go elsewhere (a replica that hangs)."""
    heartbeat_interval: float = 5.0
    """The longest a replica at work says nothing."""
    lease: float = 20.0
    """A replica that hears nothing for so long gives up the session."""
    accept_after: float = 0.5
    """A replica that has no result by then says that it is at work."""
    result_retention: float = 120.0
    """A replica answers for a finished session so long."""
    busy_retry_after: float = 0.1
    """What a busy replica asks others to wait."""

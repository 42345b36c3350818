"""When the forwarder may send, and what it does with a result; pure, without clock and tasks.

While the way to the service seems to be down, one data set at a time is tried, with an exponential
back-off and jitter. A failure says that only if nothing was delivered since its attempt began: else
it is the data set's own, and the others go on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.protocol.messages import StoreResult

_REFUSALS = (
    Status.INVALID_SOP_INSTANCE,
    Status.SOP_CLASS_NOT_SUPPORTED,
    Status.MISSING_ATTRIBUTE,
    Status.OUT_OF_RESOURCES,  # not transient: larger than the bucket's limit for one object
)
_REFUSED_RANGES = (Status.DOES_NOT_MATCH_SOP_CLASS, Status.CANNOT_UNDERSTAND)


class Outcome(StrEnum):
    """What became of one attempt; the values are those of the metric's label."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """The service refuses this data set for good."""
    UNAVAILABLE = "unavailable"
    DENIED = "denied"
    """A credential or its permissions are wrong; somebody may correct them."""
    FAILED = "failed"
    """An error that is in neither the data set nor the network."""


def outcome_of(result: StoreResult) -> Outcome:
    """Return what a result means; only a refusal is final."""
    if result.status == Status.SUCCESS:
        return Outcome.DELIVERED
    if result.status == Status.NOT_AUTHORIZED:
        return Outcome.DENIED
    if result.transient:
        return Outcome.UNAVAILABLE
    return Outcome.REFUSED if _is_refusal(result.status) else Outcome.FAILED


def _is_refusal(status: int) -> bool:
    if status in _REFUSALS:
        return True
    data_set, cannot_understand = _REFUSED_RANGES
    return status & 0xFF00 == data_set or status & 0xF000 == cannot_understand


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """Attempts at once, and pauses in seconds."""

    parallel: int = 8
    first_pause: float = 1.0
    longest_pause: float = 30.0
    longest_pause_of_one: float = 300.0
    """The longest pause of a data set that fails while others are delivered."""


class Pace:
    """Decide when the next attempt may start; `random` returns numbers from 0 to 1."""

    def __init__(self, limits: PaceLimits, random: Callable[[], float]) -> None:
        self._limits = limits
        self._random = random
        self._failures = 0
        self._not_before = 0.0
        self._last_success = float("-inf")

    @property
    def is_open(self) -> bool:
        """Return whether the way to the service seems to be up."""
        return not self._failures

    def may_start(self, running: int, now: float) -> bool:
        """Return whether an attempt may start beside those that run."""
        if self.is_open:
            return running < self._limits.parallel
        return not running and now >= self._not_before

    def wake_at(self, now: float) -> float | None:
        """Return when an attempt may start although nothing else happens, None if any time."""
        return self._not_before if not self.is_open and now < self._not_before else None

    def on_delivered(self, now: float) -> bool:
        """Note a delivery; return whether the way was closed until now."""
        was_closed = not self.is_open
        self._failures = 0
        self._last_success = now
        return was_closed

    def on_failure(self, started: float, now: float) -> None:
        """Note a failed attempt that began at `started`."""
        if self._last_success > started:
            return
        self._failures += 1
        limits = self._limits
        pause = _growing(limits.first_pause, limits.longest_pause, self._failures)
        self._not_before = now + self._jittered(pause)

    def on_reconnect(self) -> None:
        """Try again at once: the connection to NATS is back."""
        self._not_before = 0.0

    def pause_of_one(self, failures: int) -> float:
        """Return the pause of a data set that has failed so many times."""
        limits = self._limits
        return self._jittered(_growing(limits.first_pause, limits.longest_pause_of_one, failures))

    def _jittered(self, pause: float) -> float:
        return pause * (0.5 + self._random() / 2)


def _growing(first: float, longest: float, failures: int) -> float:
    return float(min(longest, first * 2.0 ** min(failures - 1, 16)))

"""What is gathered into one message: instances of a study, and repetitions of a security alert.

A message is not made for each instance, but for all of one association and study (PS3.15 A.5.3.6
and A.5.3.7). Pure: it has no clock, and hands finished messages to `emit`.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime

from dimse_ingestion.audit.messages import (
    Activity,
    Alert,
    AuditMessage,
    Participant,
    instances,
    security_alert,
)

Emit = Callable[[AuditMessage], None]
_MOST_OPEN = 1000
"""Studies, or alerts, that are gathered at once; a further one ends the oldest."""
_MOST_SOP_CLASSES = 100
"""SOP classes of one message, so that it is never longer than repositories take."""


@dataclass(slots=True)
class _Gathered:
    """The instances of one activity so far."""

    since: datetime
    last: datetime
    longest: float
    sop_classes: dict[str, int] = field(default_factory=dict)


class Instances:
    """The instances of all activities that go on."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._open: dict[tuple[Hashable, Activity], _Gathered] = {}

    def add(
        self,
        scope: Hashable,
        activity: Activity,
        sop_class_uid: str,
        now: datetime,
        longest: float,
    ) -> None:
        """Add one instance; its message is due after `longest` seconds, or when its scope ends."""
        key = (scope, activity)
        gathered = self._open.get(key)
        if gathered is None:
            if len(self._open) >= _MOST_OPEN:
                self._end(next(iter(self._open)))
            gathered = self._open[key] = _Gathered(now, now, longest)
        gathered.last = now
        counts = gathered.sop_classes
        counts[sop_class_uid] = counts.get(sop_class_uid, 0) + 1
        if len(counts) >= _MOST_SOP_CLASSES:
            self._end(key)

    def end(self, scope: Hashable) -> None:
        """Emit the messages of a scope, such as an association, that has ended."""
        for key in [key for key in self._open if key[0] == scope]:
            self._end(key)

    def end_due(self, now: datetime | None) -> None:
        """Emit the messages that are due, or with None all."""
        for key, gathered in list(self._open.items()):
            if now is None or (now - gathered.since).total_seconds() >= gathered.longest:
                self._end(key)

    def _end(self, key: tuple[Hashable, Activity]) -> None:
        gathered = self._open.pop(key)
        self._emit(instances(key[1], gathered.last, gathered.sop_classes))


@dataclass(slots=True)
class _Repeated:
    """An alert whose first occurrence was emitted, and its repetitions since."""

    alert: Alert
    since: datetime
    number: int = 0


class Alerts:
    """Security alerts: the first of each kind from one address at once, repetitions counted.

    A peer that tries again and again can't fill the queue with it.
    """

    def __init__(self, emit: Emit, reporter: Participant, interval: float) -> None:
        self._emit = emit
        self._reporter = reporter
        self._interval = interval
        self._repeated: dict[tuple[str, str], _Repeated] = {}

    def add(self, alert: Alert, now: datetime) -> None:
        """Emit an alert, or count it when it repeats one of the interval."""
        key = (alert.culprit.address, alert.description)
        if (repeated := self._repeated.get(key)) is not None:
            repeated.alert = alert
            repeated.number += 1
            return
        if len(self._repeated) >= _MOST_OPEN:
            self._end(next(iter(self._repeated)), now)
        self._repeated[key] = _Repeated(alert, now)
        self._emit(security_alert(alert, self._reporter, now))

    def end_due(self, now: datetime, *, everything: bool = False) -> None:
        """Emit the repetitions whose interval is over, or all of them."""
        for key, repeated in list(self._repeated.items()):
            if everything or (now - repeated.since).total_seconds() >= self._interval:
                self._end(key, now)

    def _end(self, key: tuple[str, str], now: datetime) -> None:
        repeated = self._repeated.pop(key)
        if repeated.number:
            number = repeated.number
            self._emit(security_alert(repeated.alert, self._reporter, now, number))

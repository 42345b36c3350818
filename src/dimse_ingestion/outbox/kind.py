"""What an outbox holds: its name in log lines, the setting of its limit, and its metrics.

Data sets that were answered with success are one kind, audit messages another.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from dimse_ingestion.observability import metrics


@dataclass(frozen=True, slots=True)
class OutboxMetrics:
    """The metrics of all outboxes of one kind in this process; None where a kind has none."""

    added: metrics.Counter
    delivered: metrics.Counter
    waiting: metrics.Gauge
    oldest_seconds: metrics.Gauge
    used_bytes: metrics.Gauge
    used_ratio: metrics.Gauge
    quarantined: metrics.Gauge
    refused: Callable[[str], metrics.Counter]
    """Returns the counter of a storage space for entries that could not be added."""
    delivered_bytes: metrics.Counter | None = None
    waiting_bytes: metrics.Gauge | None = None
    free_bytes: metrics.Gauge | None = None
    dead_letters: metrics.Gauge | None = None
    oldest: "WeakKeyDictionary[object, float]" = field(default_factory=WeakKeyDictionary)
    """The age of the oldest entry of each outbox: the metric is their maximum."""


@dataclass(frozen=True, slots=True)
class OutboxKind:
    """One kind of outbox; `noun` and `plural` name what it holds."""

    noun: str
    plural: str
    limit_setting: str
    metrics: OutboxMetrics


DATA_SETS = OutboxKind(
    noun="data set",
    plural="data sets",
    limit_setting="DIMSE_SPOOL_LIMIT",
    metrics=OutboxMetrics(
        added=metrics.outbox_acknowledged,
        delivered=metrics.outbox_forwarded,
        waiting=metrics.outbox_waiting,
        oldest_seconds=metrics.outbox_oldest_seconds,
        used_bytes=metrics.outbox_used_bytes,
        used_ratio=metrics.outbox_used_ratio,
        quarantined=metrics.outbox_quarantined,
        refused=metrics.spool_refused.labels,
        delivered_bytes=metrics.outbox_forwarded_bytes,
        waiting_bytes=metrics.outbox_waiting_bytes,
        free_bytes=metrics.outbox_free_bytes,
        dead_letters=metrics.outbox_dead_letters,
    ),
)
AUDIT_MESSAGES = OutboxKind(
    noun="audit message",
    plural="audit messages",
    limit_setting="DIMSE_AUDIT_LIMIT",
    metrics=OutboxMetrics(
        added=metrics.audit_queued,
        delivered=metrics.audit_sent,
        waiting=metrics.audit_waiting,
        oldest_seconds=metrics.audit_oldest_seconds,
        used_bytes=metrics.audit_used_bytes,
        used_ratio=metrics.audit_used_ratio,
        quarantined=metrics.audit_quarantined,
        refused=lambda _: metrics.audit_lost,
    ),
)

"""The Prometheus metrics of all services.

A label has few, known values, and never a patient, a UID, or a peer that no setting names. A
metric's name begins with the service or the package that counts it. Readiness checks are not here
(see `probes`).
"""

from typing import Any, Self

import prometheus_client


class Gauge(prometheus_client.Gauge):
    """A number that goes up and down; by default the sum over the workers of a service."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("multiprocess_mode", "livesum")
        super().__init__(*args, **options)


class _ResolvedLabels(prometheus_client.metrics.MetricWrapperBase):
    """A metric that finds the series of label values which it has seen by one look-up.

    The library converts and locks at each call; no series is ever removed here.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._resolved: dict[tuple[object, ...], Self] = {}
        super().__init__(*args, **options)

    def labels(self, *values: object, **named: object) -> Self:
        """Return the series with these label values."""
        if (series := self._resolved.get(values)) is None:
            series = super().labels(*values, **named)
            if not named:
                self._resolved[values] = series
        return series


class Counter(_ResolvedLabels, prometheus_client.Counter):
    """A number of events."""


class Histogram(_ResolvedLabels, prometheus_client.Histogram):
    """A distribution of durations or sizes."""


_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)

event_loop_tasks = Gauge("dimse_event_loop_tasks", "Tasks of the event loop that have not ended")

# workers
worker_restarts = Counter(
    "dimse_worker_restarts_total", "Worker processes that ended and were started again"
)

# proxy
proxy_associations = Gauge("dimse_proxy_associations", "Associations open now", ["space"])
proxy_association_requests = Counter(
    "dimse_proxy_associations_asked_total",
    "Associations requested, by outcome (accepted, or the reason of the rejection)",
    ["outcome", "space"],
)
proxy_operations = Counter(
    "dimse_proxy_operations_total",
    "DIMSE requests answered, by service (echo, store, find, get, commit, other) and final status "
    "(hexadecimal)",
    ["service", "status", "space"],
)
proxy_operation_seconds = Histogram(
    "dimse_proxy_operation_seconds",
    "Seconds from a request's last byte to its final response",
    ["service", "space"],
    buckets=_SECONDS,
)
proxy_received_bytes = Counter(
    "dimse_proxy_received_bytes_total", "Bytes of data sets received from modalities", ["space"]
)
proxy_matches = Counter("dimse_proxy_matches_total", "C-FIND matches sent to modalities", ["space"])
proxy_space_ready = Gauge(
    "dimse_proxy_space_ready",
    "1 if all checks of a storage space pass, 0 if not, of a proxy with several spaces",
    ["space"],
    multiprocess_mode="livemin",
)
proxy_unused_folders = Gauge(
    "dimse_proxy_unused_folders",
    "Spools and storage commitment journals that hold what was answered with success, and that no "
    "storage space uses, by kind (spool, commitment_journal); counted each minute",
    ["kind"],
)
proxy_sub_operations = Counter(
    "dimse_proxy_sub_operations_total",
    "Sub-operations of C-MOVE and C-GET, by service (move, get) and outcome (completed, warned, "
    "failed)",
    ["service", "outcome", "space"],
)
proxy_last_success = Gauge(
    "dimse_proxy_last_success_timestamp_seconds",
    "Unix time of the last C-STORE answered 0000, by calling AE title (those of the setting "
    "modalities; all others together are other)",
    ["calling_ae_title"],
    multiprocess_mode="max",
)
proxy_silent_after = Gauge(
    "dimse_proxy_silent_after_timestamp_seconds",
    "Unix time at which a modality has sent nothing for its expectedEvery, counted from the last "
    "success or the proxy's start, by calling AE title",
    ["calling_ae_title"],
    multiprocess_mode="livemax",
)

proxy_last_reload = Gauge(
    "dimse_proxy_last_reload_success_timestamp_seconds",
    "Unix time at which the settings were last loaded with success",
    multiprocess_mode="livemin",
)
proxy_last_reload_successful = Gauge(
    "dimse_proxy_last_reload_successful",
    "1 if the last reload of the settings succeeded, 0 if the old ones stay in use",
    multiprocess_mode="livemin",
)

# storage commitment
commitment_transactions = Gauge(
    "dimse_commitment_transactions",
    "Storage commitment transactions in the journal, by state (checking, reporting)",
    ["state", "space"],
)
commitment_oldest_seconds = Gauge(
    "dimse_commitment_oldest_seconds",
    "Seconds since the oldest transaction of a state was received (checking) or decided "
    "(reporting); 0 without one",
    ["state", "space"],
    multiprocess_mode="livemax",
)
commitment_journal_bytes = Gauge(
    "dimse_commitment_journal_bytes", "Bytes of the storage commitment journal", ["space"]
)
commitment_references = Counter(
    "dimse_commitment_references_total",
    "References decided, by Failure Reason (hexadecimal, 0000 if the instance is stored)",
    ["reason", "space"],
)
commitment_reports = Counter(
    "dimse_commitment_reports_total",
    "Attempts to send a report, by outcome (delivered, failed), and reports given up (given_up)",
    ["outcome", "space"],
)
commitment_damaged = Counter(
    "dimse_commitment_damaged_total",
    "Transactions whose file in the journal is damaged",
    ["space"],
)

# spooling
spool_memory_bytes = Gauge(
    "dimse_spool_memory_bytes", "Bytes of data sets held in memory", ["space"]
)
spool_disk_bytes = Gauge(
    "dimse_spool_disk_bytes", "Bytes of data sets held in files of the spool", ["space"]
)
spool_refused = Counter(
    "dimse_spool_refused_total", "Data sets refused because the spool is full", ["space"]
)

# outbox
outbox_waiting = Gauge(
    "dimse_outbox_waiting", "Data sets answered with success that wait to be forwarded"
)
outbox_waiting_bytes = Gauge("dimse_outbox_waiting_bytes", "Bytes of the data sets that wait")
outbox_oldest_seconds = Gauge(
    "dimse_outbox_oldest_seconds",
    "Seconds since the oldest data set that waits was received",
    multiprocess_mode="livemax",
)
outbox_used_bytes = Gauge(
    "dimse_outbox_used_bytes", "Bytes of all files of the outbox, dead letters included"
)
outbox_used_ratio = Gauge(
    "dimse_outbox_used_ratio", "The part of the outbox's limit that is in use, from 0 to 1"
)
outbox_free_bytes = Gauge(
    "dimse_outbox_free_bytes", "Free bytes of the outbox's disk", multiprocess_mode="livemin"
)
outbox_dead_letters = Gauge(
    "dimse_outbox_dead_letters", "Data sets that the service refuses for good"
)
outbox_quarantined = Gauge("dimse_outbox_quarantined", "Damaged files and ranges in quarantine")
outbox_acknowledged = Counter(
    "dimse_outbox_acknowledged_total", "Data sets made durable in the outbox and answered"
)
outbox_forwarded = Counter("dimse_outbox_forwarded_total", "Data sets forwarded from the outbox")
outbox_forwarded_bytes = Counter(
    "dimse_outbox_forwarded_bytes_total", "Bytes of data sets forwarded from the outbox"
)
outbox_failures = Counter(
    "dimse_outbox_failures_total",
    "Attempts to forward that failed, by outcome (unavailable: tried again; denied and failed: "
    "tried again, somebody must act; refused: a dead letter; damaged: in quarantine)",
    ["outcome"],
)

# audit
audit_queued = Counter("dimse_audit_queued_total", "Audit messages made durable in the queue")
audit_sent = Counter("dimse_audit_sent_total", "Audit messages sent to the repository")
audit_waiting = Gauge(
    "dimse_audit_waiting", "Audit messages that wait to be sent to the repository"
)
audit_oldest_seconds = Gauge(
    "dimse_audit_oldest_seconds",
    "Seconds since the oldest audit message that waits was queued",
    multiprocess_mode="livemax",
)
audit_used_bytes = Gauge("dimse_audit_used_bytes", "Bytes of all files of the audit queue")
audit_used_ratio = Gauge(
    "dimse_audit_used_ratio", "The part of the audit queue's limit that is in use, from 0 to 1"
)
audit_quarantined = Gauge(
    "dimse_audit_quarantined", "Damaged files and ranges of the audit queue in quarantine"
)
audit_lost = Counter(
    "dimse_audit_lost_total",
    "Audit messages lost because the queue was full or its disk could not be written",
)
audit_failures = Counter(
    "dimse_audit_failures_total", "Batches of audit messages that could not be sent, tried again"
)

# storage
storage_requests = Counter(
    "dimse_storage_requests_total",
    "Requests to the bucket, by kind (head, put, get, list, delete, check) and outcome (done, "
    "failed, refused)",
    ["asked", "outcome"],
)
storage_put_seconds = Histogram(
    "dimse_storage_put_seconds", "Seconds until an object was durable", buckets=_SECONDS
)
storage_put_bytes = Counter("dimse_storage_put_bytes_total", "Bytes of objects made durable")

# events
events_sent = Counter(
    "dimse_events_sent_total",
    "Events sent to the sink, by outcome (accepted, failed, refused)",
    ["outcome"],
)
events_seconds = Histogram(
    "dimse_events_seconds", "Seconds until the sink answered an event or failed", buckets=_SECONDS
)
events_batch_events = Histogram(
    "dimse_events_batch_events",
    "Events sent in one request to a sink that accepts batches",
    buckets=(1, 2, 5, 10, 20, 50, 100),
)

# queries
query_requests = Counter(
    "dimse_queries_asked_total",
    "Queries sent to the catalogue, by outcome (done, failed, refused, left)",
    ["outcome"],
)
queries_matches = Counter("dimse_queries_matches_total", "Matches received from the catalogue")

# ingestion
ingestion_stored = Counter(
    "dimse_ingestion_stored_total",
    "Instances durable and known to the catalogue, by whether they were stored for the first time "
    "(new, again)",
    ["outcome"],
)
ingestion_store_seconds = Histogram(
    "dimse_ingestion_store_seconds",
    "Seconds from an accepted transfer to an accepted event",
    buckets=_SECONDS,
)
ingestion_failures = Counter(
    "dimse_ingestion_failures_total",
    "Operations that failed, by service (store, find, commit, retrieve, fetch) and DIMSE status",
    ["service", "status"],
)
ingestion_commitment_references = Counter(
    "dimse_ingestion_commitment_references_total",
    "References of storage commitments checked, by Failure Reason (hexadecimal, 0000 if the "
    "instance is stored)",
    ["reason"],
)
ingestion_fetched_bytes = Counter(
    "dimse_ingestion_fetched_bytes_total",
    "Bytes of stored data sets sent to proxies for C-MOVE and C-GET",
)

# dicomweb
dicomweb_requests = Counter(
    "dimse_dicomweb_requests_total",
    "Requests answered, by method (GET, HEAD, POST, OPTIONS, other) and HTTP status",
    ["method", "status"],
)
dicomweb_request_seconds = Histogram(
    "dimse_dicomweb_request_seconds",
    "Seconds from a request's head to the end of its response",
    buckets=_SECONDS,
)
dicomweb_stored = Counter(
    "dimse_dicomweb_stored_total",
    "Instances of STOW-RS durable and known to the catalogue, by whether they were stored for the "
    "first time (new, again)",
    ["outcome"],
)
dicomweb_store_seconds = Histogram(
    "dimse_dicomweb_store_seconds",
    "Seconds from a completely received instance to an accepted event",
    buckets=_SECONDS,
)
dicomweb_store_failures = Counter(
    "dimse_dicomweb_store_failures_total",
    "Instances of STOW-RS that were not stored, by failure reason (hexadecimal)",
    ["status"],
)

# catalogue
catalogue_events = Counter(
    "dimse_catalogue_events_total",
    "Events received, by outcome (new, known, refused, failed)",
    ["outcome"],
)
catalogue_unauthorized = Counter(
    "dimse_catalogue_unauthorized_total",
    "Events and queries refused with 401: their bearer token was missing or wrong",
)
catalogue_commit_events = Histogram(
    "dimse_catalogue_commit_events",
    "Events committed together",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200),
)
catalogue_queries = Counter(
    "dimse_catalogue_queries_total",
    "Queries answered, by level and outcome (done, failed, left)",
    ["level", "outcome"],
)
catalogue_compared = Counter(
    "dimse_catalogue_compared_total",
    "Objects of a bucket compared with the catalogue by reindex --missing, by outcome (known, "
    "missing)",
    ["outcome"],
)

# operator
operator_reconciliations = Counter(
    "dimse_operator_looks_total",
    "Reconciliations of custom resources, by kind and outcome (done, refused: the spec is invalid, "
    "failed: an object can't be applied, unreachable: the API server, broken: the status can't be "
    "written)",
    ["kind", "outcome"],
)
operator_reconcile_seconds = Histogram(
    "dimse_operator_look_seconds",
    "Seconds from the start of a reconciliation until the resource's status was written",
    buckets=_SECONDS,
)
operator_resources = Gauge(
    "dimse_operator_resources", "Custom resources, by kind and phase", ["kind", "phase"]
)
operator_leading = Gauge(
    "dimse_operator_leading", "1 in the replica that holds the Lease, 0 in the others"
)

# transport
transport_retries = Counter(
    "dimse_transport_retries_total",
    "Attempts without a final result that were followed by another, by service",
    ["service", "space"],
)
transport_sent_bytes = Counter(
    "dimse_transport_sent_bytes_total",
    "Bytes of data sets sent to NATS, as they were sent: compressed, and again after a loss",
    ["space"],
)
transport_saved_bytes = Counter(
    "dimse_transport_saved_bytes_total",
    "Bytes of data sets that compression saved on their way to NATS",
    ["space"],
)
transport_rate_limit_wait = Counter(
    "dimse_transport_rate_limit_wait_seconds_total",
    "Seconds for which data sets waited for the rate limit, those of several at once added up",
    ["space"],
)
transport_sessions = Gauge(
    "dimse_transport_sessions", "Operations in progress in this replica, by service", ["service"]
)
transport_refused = Counter(
    "dimse_transport_refused_total",
    "Requests this replica answered with busy or a rejection, by service",
    ["service"],
)
transport_granted_bytes = Gauge(
    "dimse_transport_granted_bytes", "Bytes of credit that this replica has granted to senders"
)
transport_fetch_bytes = Gauge(
    "dimse_transport_fetch_bytes",
    "Bytes that this replica may keep for data sets on their way to proxies (C-MOVE, C-GET)",
)

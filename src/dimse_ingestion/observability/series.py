"""Initial values (0) of the series of labelled counters, set when a service starts.

A series that first appears with its first event starts at 1, and `increase()` and `rate()` never
see that event: an alert would miss the first failure. So each counter with known label values
starts with all of them, in the service that counts it. Gauges and histograms are left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from itertools import product

from prometheus_client import Counter

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.observability import metrics

_Labels = tuple[Iterable[str], ...]
STATUSES = tuple(f"{status:04X}" for status in Status if not status.is_pending)
FAILURES = tuple(status for status in STATUSES if status != "0000")
OPERATIONS = ("store", "find", "echo", "commit")
COMMITMENT_REASONS = ("0000", "0110", "0112", "0119")
TRANSPORT_OPERATIONS = (*OPERATIONS, "retrieve", "fetch")
REPORTED_REASONS = (*COMMITMENT_REASONS, "0122", "0131", "0213")
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "other")
SERVER_ERRORS = tuple(str(status.value) for status in HTTPStatus if 500 <= status <= 505)
ASSOCIATIONS = (
    "accepted",
    "no_reason_given",
    "application_context_not_supported",
    "calling_ae_title_not_recognized",
    "called_ae_title_not_recognized",
    "protocol_version_not_supported",
    "temporary_congestion",
    "local_limit_exceeded",
)
LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")

_SPACE: Mapping[Counter, _Labels] = {
    metrics.storage_requests: (
        ("head", "put", "get", "list", "delete", "check"),
        ("done", "failed", "refused"),
    ),
    metrics.events_sent: (("accepted", "failed", "refused"),),
    metrics.query_requests: (("done", "failed", "refused", "left"),),
}
SERIES: Mapping[str, Mapping[Counter, _Labels]] = {
    "proxy": {
        # of a called AE title that no storage space has
        metrics.proxy_association_requests: (("called_ae_title_not_recognized",), ("",)),
        metrics.outbox_failures: (("unavailable", "denied", "failed", "refused", "damaged"),),
    },
    "ingestion": {
        **_SPACE,
        metrics.ingestion_stored: (("new", "again"),),
        metrics.ingestion_failures: (("store", "find", "commit", "retrieve", "fetch"), FAILURES),
        metrics.ingestion_commitment_references: (COMMITMENT_REASONS,),
        metrics.transport_refused: (TRANSPORT_OPERATIONS,),
    },
    "dicomweb": {
        **_SPACE,
        metrics.dicomweb_requests: (METHODS, SERVER_ERRORS),
        metrics.dicomweb_stored: (("new", "again"),),
        metrics.dicomweb_store_failures: (FAILURES,),
    },
    "catalogue": {
        metrics.catalogue_events: (("new", "known", "refused", "failed"),),
        metrics.catalogue_queries: (LEVELS, ("done", "failed", "left")),
        metrics.catalogue_compared: (("known", "missing"),),
    },
}
"""The counters of each service, and the values that each of their labels may have."""
SERIES_OF_SPACES: Mapping[str, Mapping[Counter, _Labels]] = {
    "proxy": {
        metrics.proxy_association_requests: (ASSOCIATIONS,),
        metrics.proxy_operations: ((*OPERATIONS, "get", "move", "other"), STATUSES),
        metrics.proxy_sub_operations: (("get", "move"), ("completed", "warned", "failed")),
        metrics.proxy_received_bytes: (),
        metrics.commitment_references: (REPORTED_REASONS,),
        metrics.commitment_reports: (("delivered", "failed", "given_up"),),
        metrics.commitment_damaged: (),
        metrics.spool_refused: (),
        metrics.transport_retries: (TRANSPORT_OPERATIONS,),
        metrics.transport_sent_bytes: (),
        metrics.transport_saved_bytes: (),
        metrics.transport_rate_limit_wait: (),
    },
    "dicomweb": {metrics.spool_refused: ()},
}
"""The same of counters with the label `space`, which comes last."""


def start_series(service: str, spaces: Sequence[str] = ("",)) -> None:
    """Create every series of the service's counters at 0; those that have counted stay as is.

    `spaces` are the values of the label `space`, for the counters of a proxy.
    """
    for counter, labels in SERIES[service].items():
        for values in product(*labels):
            counter.labels(*values)
    for counter, labels in SERIES_OF_SPACES.get(service, {}).items():
        for values in product(*labels, spaces):
            counter.labels(*values)

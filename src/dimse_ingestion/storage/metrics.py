"""Metrics of requests to the bucket, by operation and outcome."""

from collections.abc import Iterator
from contextlib import contextmanager

from dimse_ingestion.failures import AccessDenied, LimitExceeded, Unavailable
from dimse_ingestion.observability import metrics


@contextmanager
def request_count(operation: str) -> Iterator[None]:
    """Count the outcome of the block: done, refused (access is denied), or failed.

    A missing object counts as done. Other exceptions do not come from the bucket and are not
    counted: the source of a put may fail too.
    """
    try:
        yield
    except AccessDenied:
        metrics.storage_requests.labels(operation, "refused").inc()
        raise
    except (Unavailable, LimitExceeded):
        metrics.storage_requests.labels(operation, "failed").inc()
        raise
    except KeyError:
        metrics.storage_requests.labels(operation, "done").inc()
        raise
    metrics.storage_requests.labels(operation, "done").inc()

"""Metrics of requests to the bucket, by operation and outcome."""

from collections.abc import Iterator
from contextlib import contextmanager

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.observability import metrics

_OUTCOMES = {Status.NOT_AUTHORIZED: "refused", Status.OUT_OF_RESOURCES: "failed"}


@contextmanager
def request_count(operation: str) -> Iterator[None]:
    """Count the outcome of the block: done, refused (access is denied), or failed.

    A missing object counts as done. Other exceptions do not come from the bucket and are not
    counted: the source of a put may fail too.
    """
    try:
        yield
    except DimseFailure as failure:
        if outcome := _OUTCOMES.get(failure.status):
            metrics.storage_requests.labels(operation, outcome).inc()
        raise
    except KeyError:
        metrics.storage_requests.labels(operation, "done").inc()
        raise
    metrics.storage_requests.labels(operation, "done").inc()

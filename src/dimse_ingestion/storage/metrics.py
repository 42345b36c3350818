"""How the bucket's calls end, counted for `/metrics`."""

from collections.abc import Iterator
from contextlib import contextmanager

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.observability import metrics

_OUTCOMES = {Status.NOT_AUTHORIZED: "refused", Status.OUT_OF_RESOURCES: "failed"}


@contextmanager
def request_count(operation: str) -> Iterator[None]:
    """Count what happens within: done, refused (access is denied), or failed.

    A missing object is an answer. What else ends a call is not the bucket's doing and not counted:
    a put's source may give up with a failure of its own.
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

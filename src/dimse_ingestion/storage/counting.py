"""How the bucket's calls end, counted for `/metrics`."""

from collections.abc import Iterator
from contextlib import contextmanager

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.observability import metrics


@contextmanager
def counted(asked: str) -> Iterator[None]:
    """Count what happens within: done, or failed (transient) or refused.

    A missing object is an answer. A put whose source gives up with a DimseFailure counts as its
    failure says; what else ends a call is not the bucket's doing and not counted.
    """
    try:
        yield
    except DimseFailure as failure:
        outcome = "failed" if failure.transient else "refused"
        metrics.storage_requests.labels(asked, outcome).inc()
        raise
    except KeyError:
        metrics.storage_requests.labels(asked, "done").inc()
        raise
    metrics.storage_requests.labels(asked, "done").inc()

import pytest
from prometheus_client import REGISTRY

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import AccessDenied, LimitExceeded, Unavailable
from dimse_ingestion.storage.metrics import request_count


def count(outcome: str) -> float:
    labels = {"asked": "put", "outcome": outcome}
    return REGISTRY.get_sample_value("dimse_storage_requests_total", labels) or 0.0


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        (Unavailable("full"), "failed"),
        (LimitExceeded("too large"), "failed"),
        (AccessDenied("denied", transient=True), "refused"),
        (KeyError("x"), "done"),
    ],
)
def test_counts_how_a_call_ends(ending: Exception, outcome: str) -> None:
    before = count(outcome)
    with pytest.raises(type(ending)), request_count("put"):
        raise ending
    assert count(outcome) == before + 1


def test_success_is_counted_and_failures_of_the_source_are_not() -> None:
    def counts() -> list[float]:
        return [count(outcome) for outcome in ("done", "failed", "refused")]

    done, failed, refused = counts()
    with request_count("put"):
        pass
    assert counts() == [done + 1, failed, refused]
    with pytest.raises(ValueError, match="source"), request_count("put"):
        raise ValueError("source")
    with pytest.raises(DimseFailure, match="source"), request_count("put"):
        raise DimseFailure(Status.CANNOT_UNDERSTAND, "source")
    assert counts() == [done + 1, failed, refused]

import json

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicomweb.http.problems import Problem, handle
from dimse_ingestion.failures import AccessDenied, Invalid, LimitExceeded, Refused, Unavailable

REQUEST = Request({"type": "http", "method": "GET"})


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (Problem(415, "Send DICOM."), 415, "Send DICOM."),
        (Unavailable("The bucket is down."), 503, "The bucket is down."),
        (DimseFailure(Status.DOES_NOT_MATCH_SOP_CLASS, "No key."), 400, "No key."),
        (DimseFailure(Status.PROCESSING_FAILURE, "Odd."), 500, "Odd."),
        (Invalid("No date."), 400, "No date."),
        (LimitExceeded("Too many."), 413, "Too many."),
        (Refused("Refused."), 502, "Refused."),
        (AccessDenied("Denied."), 502, "Denied."),
        (AccessDenied("Denied.", transient=True), 503, "Denied."),
        (HTTPException(404), 404, "This URL does not exist"),
        (RuntimeError("SMITH^JOHN"), 500, "An internal error"),
    ],
)
async def test_every_error_is_a_problem(error: Exception, status: int, detail: str) -> None:
    response = await handle(REQUEST, error)
    problem = json.loads(bytes(response.body))
    assert (response.status_code, problem["status"]) == (status, status)
    assert response.media_type == "application/problem+json"
    assert problem["detail"].startswith(detail)
    assert problem["title"]
    assert "SMITH" not in str(problem)


async def test_only_transient_failures_have_retry_after() -> None:
    assert (await handle(REQUEST, Unavailable("Down."))).headers["retry-after"] == "1"
    assert "retry-after" not in (await handle(REQUEST, Problem(400, "Wrong."))).headers

"""Refusals of requests to the catalogue as problem details (RFC 9457)."""

from http import HTTPStatus

from starlette.responses import JSONResponse, Response

from dimse_ingestion.catalogue.request_body import BodyTooLong
from dimse_ingestion.failures import Failure

REFUSALS = (BodyTooLong, ValueError, Failure)
"""What is raised for a request that is refused, or can't be answered now."""


def refusal_response(refusal: Exception) -> Response:
    """Return the answer to a request that is refused, or can't be answered now."""
    if isinstance(refusal, BodyTooLong):
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(refusal))
    if isinstance(refusal, Failure):
        later = refusal.transient
        status = HTTPStatus.SERVICE_UNAVAILABLE if later else HTTPStatus.UNPROCESSABLE_ENTITY
        return problem(status, refusal.comment)
    return problem(HTTPStatus.BAD_REQUEST, str(refusal))


def problem(status: HTTPStatus, detail: str) -> Response:
    """Return problem details (RFC 9457); a 503 says after how long to retry."""
    return JSONResponse(
        {"title": detail, "status": int(status)},
        status_code=int(status),
        headers={"retry-after": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None,
        media_type="application/problem+json",
    )

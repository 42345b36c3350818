"""Error responses as `application/problem+json` (RFC 9457): a status and a helpful sentence.

All errors become responses here: a `Problem` of a service, a Failure of storage or catalogue,
or an HTTPException of the router. No response repeats a value of a data set.
"""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure, Invalid, LimitExceeded, Refused
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.pixels.failures import Undecodable

MEDIA_TYPE = "application/problem+json"
_LOG = logger(__name__)
_RETRY_LATER = {"retry-after": "1"}
_STATUSES: Mapping[type[Failure], HTTPStatus] = {
    Undecodable: HTTPStatus.NOT_ACCEPTABLE,
    Invalid: HTTPStatus.BAD_REQUEST,
    LimitExceeded: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Refused: HTTPStatus.BAD_GATEWAY,
    Failure: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""Status of a failure that is not transient, by kind."""
_ROUTING_DETAILS = {
    HTTPStatus.NOT_FOUND: "This URL does not exist: see GET /dicomweb for the available resources.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This URL does not support the method: see Allow.",
}


class Problem(Exception):
    """A request can't be fulfilled: an HTTP status, and a sentence that says what to do."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the response that describes it."""
        content = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        return JSONResponse(content, self.status, self.headers, media_type=MEDIA_TYPE)


def from_failure(failure: Failure) -> Problem:
    """Return the problem for a failure; a transient one has Retry-After."""
    if failure.transient:
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, failure.public_comment, headers=_RETRY_LATER)
    return Problem(_status(failure), failure.public_comment)


def _status(failure: Failure) -> HTTPStatus:
    if isinstance(failure, DimseFailure) and failure.status == Status.DOES_NOT_MATCH_SOP_CLASS:
        return HTTPStatus.BAD_REQUEST  # a query that its information model does not allow
    return next(_STATUSES[kind] for kind in type(failure).__mro__ if kind in _STATUSES)


async def handle(request: Request, error: Exception) -> Response:
    """Return the response to a request that raised an exception; for Starlette."""
    problem = _problem(error)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _LOG.warning(
            "A request failed.", method=request.method, status=problem.status, reason=problem.detail
        )
    return problem.response()


def _problem(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case Failure():
            return from_failure(error)
        case HTTPException():
            status = HTTPStatus(error.status_code)
            return Problem(
                status, _ROUTING_DETAILS.get(status, error.detail), headers=error.headers
            )
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "An internal error prevented a response.")


HANDLERS = dict.fromkeys((Problem, Failure, HTTPException, Exception), handle)
"""Exception class → its handler, for Starlette."""

"""What went wrong, as `application/problem+json` (RFC 9457): a sentence that helps, and a status.

Every refusal leaves by here, whoever met it: a room raises `Problem`, or a DimseFailure comes up
from the wires, or the router has no such address. No answer repeats a value of a data set.
"""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.observability.logging import logger

MEDIA_TYPE = "application/problem+json"
_LOG = logger(__name__)
_LATER = {"retry-after": "1"}
_STATUSES = {
    Status.DOES_NOT_MATCH_SOP_CLASS: HTTPStatus.BAD_REQUEST,
    Status.OUT_OF_RESOURCES: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Status.UNABLE_TO_PROCESS: HTTPStatus.BAD_GATEWAY,
    Status.NOT_AUTHORIZED: HTTPStatus.BAD_GATEWAY,
}
_ROUTING = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address: see GET /dicomweb for what there is.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take this method: see Allow.",
}


class Problem(Exception):
    """A request that can't be answered as asked: an HTTP status, and a sentence with the cure."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer that tells it."""
        content = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        return JSONResponse(content, self.status, self.headers, media_type=MEDIA_TYPE)


def from_failure(failure: DimseFailure) -> Problem:
    """The problem that a failure of the wires is; what may succeed later says when to ask again."""
    if failure.transient:
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, failure.public_comment, headers=_LATER)
    status = _STATUSES.get(failure.status, HTTPStatus.INTERNAL_SERVER_ERROR)
    return Problem(status, failure.public_comment)


async def answer(request: Request, error: Exception) -> Response:
    """The answer to a request that ended in an exception, for starlette."""
    problem = _problem(error)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _LOG.warning(
            "A request failed.", method=request.method, status=problem.status, why=problem.detail
        )
    return problem.response()


def _problem(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case DimseFailure():
            return from_failure(error)
        case HTTPException():
            status = HTTPStatus(error.status_code)
            return Problem(status, _ROUTING.get(status, error.detail), headers=error.headers)
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "A mistake of ours kept this from being answered."
    )


HANDLERS = dict.fromkeys((Problem, DimseFailure, HTTPException, Exception), answer)
"""For starlette: what is raised → who answers."""

"""ASGI middleware that answers 401 to requests without the bearer token (RFC 6750).

The token is compared in constant time and never logged. The caller decides which paths need it.
"""

import hmac
import time
from collections.abc import Callable
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.secure_http.mounted_value import MountedValue
from dimse_ingestion.settings import MountedMissing

_LOG = logger(__name__)
_MISSING = "The bearer token is missing: send `Authorization: Bearer TOKEN`."
_WRONG = "The bearer token is wrong: send the one this service was given."
_LOG_INTERVAL = 10.0  # seconds
_REREAD_INTERVAL = 1.0  # seconds: not every wrong token makes the Secret be read
_NEWEST = 0.0  # as the age of a value: read it again now


class RefusalLog:
    """Logs requests without the token, a line at most every ten seconds for all of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged_at = float("-inf")
        self._count = 0

    def add(self, scope: Scope, reason: str) -> None:
        """Count a refused request, and log it unless another was logged just before."""
        self._count += 1
        if self._clock() - self._logged_at < _LOG_INTERVAL:
            return
        host, *_ = scope.get("client") or ("unknown",)
        _LOG.warning(
            "Requests without the right bearer token are refused with 401.",
            reason=reason,
            peer=host,
            path=scope["path"],
            requests=self._count,
        )
        self._logged_at, self._count = self._clock(), 0


class TokenCheck:
    """Checks the header Authorization of requests for one of the tokens."""

    def __init__(
        self,
        tokens: MountedValue[tuple[str, ...]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self._reread_at = float("-inf")

    def is_right(self, authorization: str) -> bool:
        """Return whether a request may be served."""
        try:
            return not self.problem(authorization)
        except MountedMissing:
            return False

    def problem(self, authorization: str) -> str:
        """Return why a request is refused, or an empty text. Raises MountedMissing."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return _MISSING
        sent = token.strip().encode()
        if _is_one_of(sent, self._tokens.value()):
            return ""
        return "" if _is_one_of(sent, self._reread()) else _WRONG

    def _reread(self) -> tuple[str, ...]:
        """Return the tokens, read again: a client may know a new one before this service.

        Wrong tokens make the Secret be read once a second at most.
        """
        if self._clock() - self._reread_at < _REREAD_INTERVAL:
            return self._tokens.value()
        self._reread_at = self._clock()
        return self._tokens.value(_NEWEST)


class RequireToken:
    """Pass on requests that carry one of the tokens; refuse all others with 401."""

    def __init__(
        self,
        app: ASGIApp,
        tokens: MountedValue[tuple[str, ...]],
        refusals: RefusalLog | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._check = TokenCheck(tokens, clock)
        self._refusals = refusals or RefusalLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            reason = self._check.problem(Headers(scope=scope).get("authorization", ""))
        except MountedMissing as missing:
            await _problem(HTTPStatus.SERVICE_UNAVAILABLE, str(missing))(scope, receive, send)
            return
        if not reason:
            await self._app(scope, receive, send)
            return
        self._refusals.add(scope, reason)
        metrics.catalogue_unauthorized.inc()
        await _problem(HTTPStatus.UNAUTHORIZED, reason)(scope, receive, send)


def _is_one_of(sent: bytes, tokens: tuple[str, ...]) -> bool:
    """Compare with every token, so that the time taken reveals nothing about them."""
    return any([hmac.compare_digest(sent, each.encode()) for each in tokens])  # noqa: C419


def _problem(status: HTTPStatus, detail: str) -> JSONResponse:
    headers = {"www-authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(
        {"title": detail, "status": int(status)},
        status_code=int(status),
        headers=headers,
        media_type="application/problem+json",
    )

"""Admission control: limits on concurrent requests and on slow clients, and request metrics.

It is the outermost middleware. Requests above the limit are refused at once, so that they do not
slow the others. A client that sends or reads too slowly is disconnected. Slow clients can't occupy
all slots: when no slot is free, the slowest client is evicted for a new one, and requests with a
body have only a part of the slots. Limits on the size of bodies are in the services.
"""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.middleware.slow_client import ProgressTimeout
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.response_pieces import body_length

_LOG = logger(__name__)
_RETRY_LATER = {"retry-after": "1"}
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})
# seconds of delay after which a client may be evicted: uploads come in small pieces, downloads
# are read in large ones
_LATE_UPLOAD, _LATE_DOWNLOAD = 1.0, 5.0


class SlowReader(Exception):
    """A client reads its response too slowly, or not at all."""


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Concurrent requests; seconds a client may be idle; bytes per second that it must transfer."""

    requests: int
    silence: float
    least_rate: int

    @property
    def bodies(self) -> int:
        """Return the slots for requests with a body; the others are for requests that read."""
        return max(1, self.requests * 3 // 4)


async def refuse_request(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond 503: no slot is free for the request."""
    problem = Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Too many requests are in progress: try again later.",
        headers=_RETRY_LATER,
    ).response()
    await problem(scope, receive, send)


class AdmissionMiddleware:
    """Passes requests to `app` within the limits, and to `refuse` above them."""

    def __init__(
        self, app: ASGIApp, limits: AdmissionLimits, refuse: ASGIApp = refuse_request
    ) -> None:
        self._app = app
        self._limits = limits
        self._refuse = refuse
        self._active: set[_Client] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = _Client(scope, receive, send, self._limits)
        app = self._app if self._admit(client) else self._refuse
        try:
            with metrics.dicomweb_request_seconds.time():
                await app(scope, client.receive, client.send)
        except SlowReader:
            _LOG.info(
                "A client was disconnected because it read too slowly.", method=scope["method"]
            )
        finally:
            self._active.discard(client)

    def _admit(self, client: "_Client") -> bool:
        """Return whether the client got a slot; evict a slow client for it if necessary."""
        if rivals := self._rivals(client):
            slowest = max(rivals, key=lambda each: each.slowness)
            if slowest.slowness < 1:
                return False
            slowest.evict()
            self._active.discard(slowest)
        self._active.add(client)
        return True

    def _rivals(self, client: "_Client") -> set["_Client"]:
        """Return the clients of whom one must be evicted; none while a slot is free."""
        if client.has_body:
            bodies = {each for each in self._active if each.has_body}
            if len(bodies) >= self._limits.bodies:
                return bodies
        return self._active if len(self._active) >= self._limits.requests else set()


class _Client:
    """The client of one request: enforces timeouts on it and counts its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: AdmissionLimits) -> None:
        self.has_body = _has_body(scope)
        self._method = scope["method"] if scope["method"] in _METHODS else "other"
        self._receive = receive
        self._send = send
        self._limits = limits
        self._upload_timeout = ProgressTimeout(limits.silence, limits.least_rate)
        self._download_timeout = ProgressTimeout(limits.silence, limits.least_rate)
        self._is_body_complete = False
        self._has_response = False
        self._is_evicted = False

    @property
    def slowness(self) -> float:
        """Return how slow it is while it is waited for; from 1 on it may be evicted."""
        return max(
            self._upload_timeout.delay / _LATE_UPLOAD, self._download_timeout.delay / _LATE_DOWNLOAD
        )

    def evict(self) -> None:
        """End all waiting for the client, to free its slot."""
        self._is_evicted = True
        self._upload_timeout.end()
        self._download_timeout.end()

    async def receive(self) -> Message:
        """See ASGI. Raises Problem when the body comes too slowly."""
        if self._is_body_complete or self._has_response:
            return await self._receive()
        if self._is_evicted:
            raise self._too_slow()
        try:
            message = await self._upload_timeout.wait(self._receive())
        except TimeoutError:
            return self._abandon_body()
        self._upload_timeout.add_bytes(len(message.get("body", b"")))
        self._is_body_complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """See ASGI. Raises SlowReader when the response is read too slowly."""
        if message["type"] == "http.response.start":
            self._has_response = True
            metrics.dicomweb_requests.labels(self._method, str(message["status"])).inc()
        try:
            await self._download_timeout.wait(self._send(message))
        except TimeoutError:
            raise SlowReader from None
        self._download_timeout.add_bytes(body_length(message))

    def _abandon_body(self) -> Message:
        """Return a disconnect if the response has started, else raise Problem."""
        if self._has_response:
            return {"type": "http.disconnect"}
        raise self._too_slow()

    def _too_slow(self) -> Problem:
        if self._is_evicted:
            sentence = (
                "Too many requests are in progress, and this body was the slowest: try again later."
            )
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, sentence, headers=_RETRY_LATER)
        return Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            f"The body was slower than {self._limits.least_rate} bytes per second, by "
            f"{self._limits.silence:.0f} s (DICOMWEB_LEAST_RATE, DICOMWEB_SILENCE): send faster.",
        )


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    return b"transfer-encoding" in headers or length.strip(b"0") != b""

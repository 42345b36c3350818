"""Bounds on all requests together and on clients' patience, and the count of what was answered.

Around everything: one request too many is refused at once instead of slowing the others, and a
client that sends or reads too little for too long is left. Slow clients can't take all places: when
there is none, the one that is furthest behind gives its place to who comes, and bodies have only a
part of them. Bounds on what a body holds are the services' that take them.
"""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.middleware.slow_client import ProgressTimeout
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
_LATER = {"retry-after": "1"}
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})
# seconds a client must be behind to lose its place: it sends in small pieces and reads large ones
_BEHIND_SENDING, _BEHIND_READING = 1.0, 5.0


class SlowReader(Exception):
    """A client that reads nothing, or too slowly."""


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Requests at once; seconds a client may be silent; bytes a second that it must move."""

    requests: int
    silence: float
    least_rate: int

    @property
    def bodies(self) -> int:
        """Requests at once that have a body: the rest of the places is for those that read."""
        return max(1, self.requests * 3 // 4)


async def refuse_request(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to a request for which there is no place."""
    problem = Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "Too many requests are at work: ask again.", headers=_LATER
    ).response()
    await problem(scope, receive, send)


class AdmissionMiddleware:
    """Has `app` answer within the limits, and `refusing` what is too many."""

    def __init__(
        self, app: ASGIApp, limits: AdmissionLimits, refusing: ASGIApp = refuse_request
    ) -> None:
        self._app = app
        self._limits = limits
        self._refusing = refusing
        self._at_work: set[_Client] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = _Client(scope, receive, send, self._limits)
        answering = self._app if self._placed(client) else self._refusing
        try:
            with metrics.dicomweb_request_seconds.time():
                await answering(scope, client.receive, client.send)
        except SlowReader:
            _LOG.info("A client that read nothing was left.", method=scope["method"])
        finally:
            self._at_work.discard(client)

    def _placed(self, client: "_Client") -> bool:
        """Whether there is a place for it, which it has then."""
        if rivals := self._rivals(client):
            slowest = max(rivals, key=lambda each: each.slowness)
            if slowest.slowness < 1:
                return False
            slowest.leave()
            self._at_work.discard(slowest)
        self._at_work.add(client)
        return True

    def _rivals(self, client: "_Client") -> set["_Client"]:
        """Those of whom one must go for this one to come; none while there are places."""
        if client.has_body:
            bodies = {each for each in self._at_work if each.has_body}
            if len(bodies) >= self._limits.bodies:
                return bodies
        return self._at_work if len(self._at_work) >= self._limits.requests else set()


class _Client:
    """Who is at the other end of one request: waited for with patience, its answer counted."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: AdmissionLimits) -> None:
        self.has_body = _has_body(scope)
        self._method = scope["method"] if scope["method"] in _METHODS else "other"
        self._receive = receive
        self._send = send
        self._limits = limits
        self._sending = ProgressTimeout(limits.silence, limits.least_rate)
        self._reading = ProgressTimeout(limits.silence, limits.least_rate)
        self._is_whole = False
        self._is_answered = False
        self._must_leave = False

    @property
    def slowness(self) -> float:
        """How slow it is, if it is waited for right now: with 1 it may lose its place."""
        return max(self._sending.behind / _BEHIND_SENDING, self._reading.behind / _BEHIND_READING)

    def leave(self) -> None:
        """Give its place to another."""
        self._must_leave = True
        self._sending.end()
        self._reading.end()

    async def receive(self) -> Message:
        """See ASGI. Raises Problem when the body comes too slowly."""
        if self._is_whole or self._is_answered:
            return await self._receive()
        if self._must_leave:
            raise self._too_slow()
        try:
            message = await self._sending.wait(self._receive())
        except TimeoutError:
            return self._given_up()
        self._sending.moved(len(message.get("body", b"")))
        self._is_whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """See ASGI. Raises ClientLeft when the answer is read too slowly."""
        if message["type"] == "http.response.start":
            self._is_answered = True
            metrics.dicomweb_requests.labels(self._method, str(message["status"])).inc()
        try:
            await self._reading.wait(self._send(message))
        except TimeoutError:
            raise SlowReader from None
        self._reading.moved(len(message.get("body", b"")))

    def _given_up(self) -> Message:
        """What the rest of a body is that nobody waits for."""
        if self._is_answered:
            return {"type": "http.disconnect"}
        raise self._too_slow()

    def _too_slow(self) -> Problem:
        if self._must_leave:
            sentence = "Too many requests are at work, and this one's body came slowest: ask again."
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, sentence, headers=_LATER)
        return Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            f"The body came slower than {self._limits.least_rate} bytes a second, by "
            f"{self._limits.silence:.0f} s (DICOMWEB_LEAST_RATE, DICOMWEB_SILENCE): send faster.",
        )


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    return b"transfer-encoding" in headers or length.strip(b"0") != b""

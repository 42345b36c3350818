"""Bounds on all requests together and on clients' patience, and the count of what was answered.

Around everything: one request too many is refused at once instead of slowing the others, and a
client that reads nothing for too long is left. Bounds on bodies are the services' that take them.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dimse_ingestion.dicomweb.problems import Problem
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger

_LOG = logger(__name__)
_UNAVAILABLE = 503
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})


class ClientLeft(Exception):
    """A client that reads nothing."""


class Limiting:
    """At most `most` requests at once; a client may be silent for `silence` seconds."""

    def __init__(self, app: ASGIApp, most: int, silence: float) -> None:
        self._app = app
        self._most = most
        self._silence = silence
        self._at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answering = self._app if self._at_work < self._most else _one_too_many()
        sending = _Sending(send, self._silence, scope["method"])
        self._at_work += 1
        try:
            with metrics.dicomweb_request_seconds.time():
                await answering(scope, receive, sending)
        except ClientLeft:
            _LOG.info("A client that read nothing was left.", method=scope["method"])
        finally:
            self._at_work -= 1


class _Sending:
    """Messages to one client, with its status counted."""

    def __init__(self, send: Send, silence: float, method: str) -> None:
        self._send = send
        self._silence = silence
        self._method = method if method in _METHODS else "other"

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            metrics.dicomweb_requests.labels(self._method, str(message["status"])).inc()
        try:
            async with asyncio.timeout(self._silence):
                await self._send(message)
        except TimeoutError:
            raise ClientLeft from None


def _one_too_many() -> ASGIApp:
    return Problem(
        _UNAVAILABLE, "Too many requests are at work: ask again.", headers={"retry-after": "1"}
    ).response()

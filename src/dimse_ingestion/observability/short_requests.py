"""Requests with a short body that are answered without an ASGI application.

ASGI's task, events and messages cost more processor time than reading and answering a request of
some KiB. A service with a hot path takes its requests here, when their body is whole, and leaves
all others to its application. HTTP itself is in `http_protocol`.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Headers = Sequence[tuple[bytes, bytes]]
"""The headers of a request in their order; names are in lower case."""


class ShortRequests(Protocol):
    """What takes the requests of one method and URL.

    Each piece of a body that waits to be whole is in memory, and counted by `hold`.
    """

    @property
    def target(self) -> tuple[bytes, bytes]:
        """Return the method and the URL, with its query, of the requests."""

    @property
    def longest(self) -> int:
        """Return the most bytes of a body; longer ones are the application's."""

    def hold(self, length: int) -> bool:
        """Count so many more bytes as memory in use; False if that is too much."""

    def release(self, length: int) -> None:
        """Count bytes that `hold` has counted no longer."""

    def take(self, headers: Headers, body: bytes, answer: Callable[[Response], None]) -> bool:
        """Take a request, and call `answer` once, now or later; False leaves it to others.

        The body is held; a request that is taken releases it. The answer's body is sent as it is:
        it is a `Response` of Starlette's, not one that streams.
        """


class _NoReader:
    """Stands for the event that wakes the reader of a body: there is none."""

    def set(self) -> None:
        """Do nothing."""


class ShortCycle:
    """A request under way and its answer; uvicorn's protocol sees a RequestResponseCycle in it."""

    def __init__(
        self,
        transport: asyncio.Transport,
        default_headers: Headers,
        on_response: Callable[[], None],
        *,
        keep_alive: Callable[[], bool],
    ) -> None:
        self.message_event = _NoReader()
        self.disconnected = self.response_started = self.response_complete = False
        self._transport = transport
        self._default_headers = default_headers
        self._on_response = on_response
        self._keep_alive = keep_alive

    def answer(self, response: Response) -> None:
        """Send the answer, unless the client has gone."""
        if self.disconnected or self.response_complete or self._transport.is_closing():
            return
        self.response_started = self.response_complete = True
        keep_alive = self._keep_alive()
        parts = [STATUS_LINE[response.status_code]]
        for name, value in (*self._default_headers, *response.raw_headers):
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n" if keep_alive else b"connection: close\r\n\r\n", bytes(response.body))
        self._transport.write(b"".join(parts))
        if not keep_alive:
            self._transport.close()
        self._on_response()

"""HTTP/1.1 on one connection for uvicorn, with a parser in C (httptools, of Node.js' llhttp).

It costs a fraction of h11, which needed most of a short request's time. What h11 checks and
httptools does not is checked here: the length of a head, its header Host, that fields of a trailer
are no headers, and that an offered upgrade is ignored. A head has to arrive in time. Errors are
problem details (RFC 9457). Sockets and the end of a server are in `http_server`; how a response is
written is in `response_pieces`.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.response_pieces import PIECES, JoinedWrites, ResponseCycle
from dimse_ingestion.observability.short_requests import ShortCycle, ShortRequests

if TYPE_CHECKING:
    from starlette.types import Scope

_LOG = logger(__name__)
LINGER = 1.0  # seconds for a client to read an error, or to send a last request at shutdown
_HEAD_TIMEOUT = 20  # seconds until a request's head must be complete
_LONGEST_HEAD = 64 * 1024  # bytes of request line and headers
_HEAD_END = b"\r\n\r\n"
_NONE = (b"", b"")  # the method and URL of no request
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class _InvalidHead(Exception):
    """A head without exactly one Host (RFC 9112, 3.2), or that ends HTTP/1.1 (CONNECT)."""


class _Place(Enum):
    """The place of the parser in a request."""

    BEFORE = auto()
    HEAD = auto()
    BODY = auto()


class HttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 with a timeout for a request's head, and errors as problem details.

    `short_requests` take those of their requests that are behind no other on the connection; the
    application gets the rest. `is_closing` returns whether an answer is its connection's last.
    """

    def __init__(
        self,
        *arguments: Any,
        short_requests: ShortRequests | None = None,
        is_closing: Callable[[], bool] = lambda: False,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._short_requests = short_requests
        self._target = short_requests.target if short_requests else _NONE
        self._is_closing = is_closing
        self._withheld: list[bytes] | None = None
        """The body so far of a request that the application has not got."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first request's head."""
        super().connection_made(transport)
        self._place = _Place.BEFORE
        self._head_length = 0
        self._refused = False
        self._last_answer = b""
        self._performed: RequestResponseCycle | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer."""
        self._cancel_head_timer()
        self._drop_withheld()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse bytes; refuse a head that is too long, or takes too long."""
        if self._refused:
            return
        if self._place is _Place.BEFORE:
            # an empty line may precede a request (RFC 9112, 2.2); many of them are no request
            data = data.lstrip(b"\r\n")
        if self._place is not _Place.BODY:
            data = _without_upgrade(data)
        if data:
            super().data_received(data)
        self._check_head(len(data))

    def _check_head(self, received: int) -> None:
        """Check length and time of a head that is incomplete after so many more bytes."""
        if self._refused:
            return
        if self._place is _Place.HEAD:
            self._head_length += received
        if self._head_length > _LONGEST_HEAD:
            self.send_400_response("Invalid HTTP request received.")
        elif self._head_timer is None and (self._place is _Place.HEAD or not received):
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        cast("Scope", self.scope)["extensions"] = {PIECES: {}}
        self._place = _Place.HEAD

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; fields of a trailer are dropped, because nothing limits their number."""
        if self._place is _Place.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request. Raises _InvalidHead, which the parser takes as an error."""
        self._head_length = 0
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or not (hosts or self.parser.get_http_version() == "1.0"):
            raise _InvalidHead
        if self.parser.should_upgrade():  # CONNECT
            raise _InvalidHead
        self._cancel_head_timer()
        if self._may_be_short():
            self._withheld = []
        else:
            super().on_headers_complete()
        self._place = _Place.BODY

    def on_body(self, body: bytes) -> None:
        """Add a piece of the body."""
        if self._withheld is not None:
            if self._hold(body):
                return
            self._pass_on()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request's body, and perform a request that was withheld."""
        is_taken = self._withheld is not None and self._take(self._withheld)
        if not is_taken:
            self._pass_on()
            super().on_message_complete()
        self._place = _Place.BEFORE

    def _may_be_short(self) -> bool:
        """Return whether a request is taken when its body is whole and short."""
        return (
            (self.parser.get_method(), self.url) == self._target
            and (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            and not self.flow.write_paused
        )

    def _hold(self, piece: bytes) -> bool:
        """Withhold a piece of the body; return False if it is too much."""
        short, withheld = self._short_requests, self._withheld
        if short is None or withheld is None:
            return False
        if sum(map(len, withheld)) + len(piece) > short.longest or not short.hold(len(piece)):
            return False
        withheld.append(piece)
        return True

    def _take(self, pieces: list[bytes]) -> bool:
        """Have a whole request taken; return False if it is not."""
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        cycle: Any = ShortCycle(
            self.transport,
            self.server_state.default_headers,
            self.on_response_complete,
            keep_alive=lambda: keep_alive and not self._is_closing(),
        )
        before, self.cycle = self.cycle, cycle
        try:
            is_taken = bool(
                self._short_requests
                and self._short_requests.take(self.headers, b"".join(pieces), cycle.answer)
            )
        except Exception:  # noqa: BLE001 - the parser would take it for a mistake of the client
            _LOG.exception("A request could not be taken.")
            is_taken = False
        if is_taken:
            self._performed, self._withheld = cycle, None
        else:
            self.cycle = before
        return is_taken

    def _pass_on(self) -> None:
        """Have the application perform a request that is withheld, with the body so far."""
        if self._withheld is None:
            return
        pieces = self._drop_withheld()
        super().on_headers_complete()
        for piece in pieces:
            super().on_body(piece)

    def _drop_withheld(self) -> list[bytes]:
        """Withhold nothing; return what was withheld."""
        pieces, self._withheld = self._withheld or [], None
        if self._short_requests:
            self._short_requests.release(sum(map(len, pieces)))
        return pieces

    def send_400_response(self, msg: str) -> None:
        """Answer 400 to bytes that are not HTTP/1.1, or to a head that is too long."""
        self._refuse("400 Bad Request", f"{msg.rstrip('.')}, or its head is too long.")

    def shutdown(self) -> None:
        """Close an idle connection after `LINGER` seconds, so that a request in flight arrives."""
        self._pass_on()
        self.timeout_keep_alive = LINGER  # type: ignore[assignment] # only ever a timer's delay
        if self.cycle is None or self.cycle.response_complete:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                LINGER, self.timeout_keep_alive_handler
            )

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(_HEAD_TIMEOUT, self._refuse_slow_head)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = None

    def _refuse_slow_head(self) -> None:
        self._refuse("408 Request Timeout", f"No complete request arrived in {_HEAD_TIMEOUT} s.")

    def _refuse(self, status: str, detail: str) -> None:
        """Answer an error as the connection's last answer, behind those to earlier requests."""
        self._refused = True
        self._cancel_head_timer()
        if self._withheld is not None:
            self._drop_withheld()
        elif self._place is _Place.BODY and not self._give_up(self.cycle):
            return
        number, _, title = status.partition(" ")
        body = f'{{"title":"{title}","status":{number},"detail":"{detail}"}}'
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n"
        tail = f"content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}"
        self._last_answer = (head + tail).encode("ascii", "replace")
        if not self._is_performing():
            self._send_last_answer()

    def _give_up(self, broken: RequestResponseCycle) -> bool:
        """End a request whose body is broken; return whether it can still be answered.

        Bytes of another answer would be taken for a part of one that has begun.
        """
        if not broken.response_complete:
            broken.disconnected = True
            broken.message_event.set()
            self.pipeline = deque(each for each in self.pipeline if each[0] is not broken)
        if broken.response_started:
            self.loop.call_later(LINGER if broken.response_complete else 0, self.transport.close)
        return not broken.response_started

    def _is_performing(self) -> bool:
        performed = self._performed
        return performed is not None and not (performed.response_complete or performed.disconnected)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._performed = cycle
        cycle.__class__ = ResponseCycle  # uvicorn makes it, and has no setting for its class
        cycle.transport = cast("asyncio.Transport", JoinedWrites(self.transport, self.loop))
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Perform the next request; send the last answer when there is none."""
        super().on_response_complete()
        if self._last_answer and not self._is_performing():
            self._send_last_answer()

    def _send_last_answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self._last_answer)
        # bytes that still arrive are read and dropped: closing the socket with unread bytes in it
        # would send a TCP reset, and the client would lose the answer
        self.loop.call_later(LINGER, self.transport.close)


def _without_upgrade(data: bytes) -> bytes:
    """Drop the header Upgrade of a head: after it, the parser would not read the body.

    A server may ignore it (RFC 9110, 7.8), and clients that offer HTTP/2 so send it with any body.
    """
    end = data.find(_HEAD_END)
    if not _UPGRADE.search(data, 0, end if end >= 0 else len(data)):
        return data
    head, separator, rest = data.partition(_HEAD_END)
    return _UPGRADE.sub(b"", head) + separator + rest

"""An HTTP server (uvicorn) for an ASGI application inside a running event loop.

A service has one event loop and handles its signals itself; uvicorn implements HTTP/1.1 alone. The
application is the caller's (see `probes`). A shutdown loses no request that a client may already
have sent on a persistent connection: one that arrives within `_LINGER` seconds is answered, with
`Connection: close` (RFC 9112, 9.6).
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import h11
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from dimse_ingestion.settings.errors import address_mistake

_LONGEST_STOP = 10.0
_BACKLOG = 256
_HEAD_TIMEOUT = 20  # seconds until a request's head must be complete
_KEEP_ALIVE = 75  # seconds; longer than a reverse proxy keeps its idle connections (nginx: 60)
_LINGER = 1.0  # seconds for a client to read an error, or to send a last request at shutdown


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers: the service has its own."""
        yield


class _Protocol(H11Protocol):
    """HTTP/1.1 with a timeout for a request's head, and errors as problem details (RFC 9457)."""

    _head_timer: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first request's head."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer."""
        self._cancel_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse bytes; cancel the timer when a head is complete, start it for the next one."""
        if self._refused:
            return
        super().data_received(data)
        if self._refused or self.conn.their_state is not h11.IDLE:
            self._cancel_head_timer()
        elif self._head_timer is None:
            self._wait_for_head()

    def send_400_response(self, msg: str) -> None:
        """Answer 400 to bytes that are not HTTP/1.1, or to a head that is too long."""
        self._refuse("400 Bad Request", f"{msg.rstrip('.')}, or its head is too long.")

    def shutdown(self) -> None:
        """Close an idle connection after `_LINGER` seconds, so that a request in flight arrives."""
        self.timeout_keep_alive = _LINGER  # type: ignore[assignment] # only ever a timer's delay
        if self.cycle is None or self.cycle.response_complete:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                _LINGER, self.timeout_keep_alive_handler
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
        number, _, title = status.partition(" ")
        body = f'{{"title":"{title}","status":{number},"detail":"{detail}"}}'
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n"
        tail = f"content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}"
        self.transport.write((head + tail).encode("ascii", "replace"))
        self._refused = True
        # bytes that still arrive are read and dropped: closing the socket with unread bytes in it
        # would send a TCP reset, and the client would lose the answer
        self.loop.call_later(_LINGER, self.transport.close)


class _CloseHeader:
    """ASGI middleware that adds `Connection: close` to each response while `enabled` is set."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.enabled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application."""

        async def send_with_header(message: Message) -> None:
            if self.enabled and message["type"] == "http.response.start":
                last = (b"connection", b"close")
                message = {**message, "headers": [*message.get("headers", ()), last]}
            await send(message)

        await self._app(scope, receive, send_with_header)


@asynccontextmanager
async def serve(
    app: ASGIApp,
    host: str,
    port: int,
    longest_stop: float = _LONGEST_STOP,
    tls: ssl.SSLContext | None = None,
    *,
    setting: str = "",
) -> AsyncIterator[int]:
    """Serve `app` until the end of the block, whose value is the port (a free one for port 0).

    With `tls`, a server-side context, every connection has to use TLS.

    Raises OSError when the address can't be bound, or ConfigurationMistake if `setting`, the name
    of the setting with the address, is given. At the end, requests in progress have `longest_stop`
    seconds to finish.
    """
    try:
        listener = listening_socket(host, port)
    except OSError as error:
        if setting:
            raise address_mistake(setting, f"{host}:{port}", error) from None
        raise
    close_header = _CloseHeader(app)
    configuration = uvicorn.Config(
        close_header,
        http=_Protocol,
        proxy_headers=False,  # the application decides which proxy's headers it trusts
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=longest_stop,  # type: ignore[arg-type] # only ever a delay
    )
    configuration.load()
    configuration.ssl = tls
    server = _Server(configuration)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name=f"http on {port}")
    try:
        yield listener.getsockname()[1]
    finally:
        close_header.enabled = server.should_exit = True
        await serving
        listener.close()


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket, so that no connection is refused before its server runs.

    Raises OSError.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
    listener = socket.create_server(
        (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both
    )
    # asyncio sets TCP_NODELAY only on sockets created with IPPROTO_TCP; accepted ones inherit it
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    return listener

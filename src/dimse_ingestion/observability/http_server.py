"""An HTTP application served inside a running event loop, stopped without signals.

A door has one event loop and handles its signals itself; uvicorn only speaks HTTP here. What is
served is the caller's (see `probes`). At the end no request is lost that a client may already have
sent on a connection it keeps: what comes within a moment is answered, with `Connection: close`.
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
_LONGEST_HEAD = 20  # seconds until a request's head must be there
_KEPT_ALIVE = 75  # seconds; longer than what stands before us keeps its connections (nginx: 60)
_LINGER = 1.0  # seconds in which a client reads why it was refused, or asks once more at the end


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the door."""
        yield


class _Protocol(H11Protocol):
    """HTTP/1.1 that waits for no head of a request for ever, and refuses with a problem."""

    _patience: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client comes."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """A client goes."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes, which may complete a head or begin the next one."""
        if self._refused:
            return
        super().data_received(data)
        if self._refused or self.conn.their_state is not h11.IDLE:
            self._wait_no_more()
        elif self._patience is None:
            self._wait_for_head()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP/1.1, or too long a head."""
        self._refuse("400 Bad Request", f"{msg.rstrip('.')}, or its head is too long.")

    def shutdown(self) -> None:
        """The server ends: wait for the last request rather than cut it off on its way."""
        self.timeout_keep_alive = _LINGER  # type: ignore[assignment] # only ever a timer's delay
        if self.cycle is None or self.cycle.response_complete:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                _LINGER, self.timeout_keep_alive_handler
            )

    def _wait_for_head(self) -> None:
        self._patience = self.loop.call_later(_LONGEST_HEAD, self._give_up)

    def _wait_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = None

    def _give_up(self) -> None:
        self._refuse("408 Request Timeout", f"No request came whole in {_LONGEST_HEAD} s.")

    def _refuse(self, status: str, detail: str) -> None:
        number, _, title = status.partition(" ")
        body = f'{{"title":"{title}","status":{number},"detail":"{detail}"}}'
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n"
        tail = f"content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}"
        self.transport.write((head + tail).encode("ascii", "replace"))
        self._refused = True
        # what still comes is read and dropped: closed at once, the answer would be lost with it
        self.loop.call_later(_LINGER, self.transport.close)


class _Ending:
    """Tells with each answer that it is its connection's last one, once `begun` is set."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""

        async def telling(message: Message) -> None:
            if self.begun and message["type"] == "http.response.start":
                last = (b"connection", b"close")
                message = {**message, "headers": [*message.get("headers", ()), last]}
            await send(message)

        await self._app(scope, receive, telling)


@asynccontextmanager
async def served(
    app: ASGIApp,
    host: str,
    port: int,
    longest_stop: float = _LONGEST_STOP,
    tls: ssl.SSLContext | None = None,
    *,
    setting: str = "",
) -> AsyncIterator[int]:
    """Serve `app` until the end of the block; gives the port (a free one is taken for 0).

    With `tls`, a context of a server, nothing but TLS is spoken.

    Raises OSError when the address can't be listened on, or ConfigurationMistake if the name of
    its setting is given. At the end, requests under way have `longest_stop` seconds.
    """
    try:
        listening = _listening(host, port)
    except OSError as error:
        if setting:
            raise address_mistake(setting, f"{host}:{port}", error) from None
        raise
    ending = _Ending(app)
    configuration = uvicorn.Config(
        ending,
        http=_Protocol,
        proxy_headers=False,  # whose headers count is the application's matter
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_keep_alive=_KEPT_ALIVE,
        timeout_graceful_shutdown=longest_stop,  # type: ignore[arg-type] # it is waited for so long
    )
    configuration.load()
    configuration.ssl = tls
    server = _Server(configuration)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name=f"http on {port}")
    try:
        yield listening.getsockname()[1]
    finally:
        ending.begun = server.should_exit = True
        await serving
        listening.close()


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens at once, so that no request is refused before uvicorn runs."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
    listening = socket.create_server((host, port), family=family, dualstack_ipv6=both)
    # asyncio does so only for sockets that were made for TCP by name; accepted ones inherit it
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setblocking(False)
    return listening

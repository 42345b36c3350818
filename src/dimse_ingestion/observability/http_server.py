"""An HTTP server (uvicorn) for an ASGI application inside a running event loop.

A service has one event loop and handles its signals itself; uvicorn implements HTTP/1.1 alone. The
application is the caller's (see `probes`). A shutdown loses no request that a client may already
have sent on a persistent connection: one that arrives within a second is answered, with
`Connection: close` (RFC 9112, 9.6).
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dimse_ingestion.observability.http_protocol import HttpProtocol
from dimse_ingestion.observability.short_requests import ShortRequests
from dimse_ingestion.settings.errors import address_mistake

_LONGEST_STOP = 10.0
_BACKLOG = 256
_KEEP_ALIVE = 75  # seconds; longer than a reverse proxy keeps its idle connections (nginx: 60)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers: the service has its own."""
        yield


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
    short_requests: ShortRequests | None = None,
) -> AsyncIterator[int]:
    """Serve `app` until the end of the block, whose value is the port (a free one for port 0).

    With `tls`, a server-side context, every connection has to use TLS. `short_requests` take
    requests before `app`.

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
        http=partial(  # type: ignore[arg-type] # it is only called
            HttpProtocol,
            short_requests=short_requests,
            is_closing=lambda: close_header.enabled,
        ),
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

"""An HTTP application served inside a running event loop, stopped without signals.

A door has one event loop and handles its signals itself; uvicorn only speaks HTTP here. What is
served is the caller's (see `probes`).
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

_LONGEST_STOP = 10


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the door."""
        yield


@asynccontextmanager
async def served(app: ASGIApp, host: str, port: int) -> AsyncIterator[int]:
    """Serve `app` until the end of the block; gives the port (a free one is taken for 0).

    Raises OSError when the address can't be listened on. At the end, requests under way have
    10 seconds.
    """
    listening = _listening(host, port)
    configuration = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_LONGEST_STOP,
    )
    server = _Server(configuration)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name=f"http on {port}")
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        listening.close()


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens at once, so that no request is refused before uvicorn runs."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
    listening = socket.create_server((host, port), family=family, dualstack_ipv6=both)
    listening.setblocking(False)
    return listening

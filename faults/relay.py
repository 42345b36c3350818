"""A TCP relay between two services: it watches for bytes, delays, cuts connections, or stops.

It runs in a thread of its own. It does not understand the protocol: `watch` finds a byte string in
one read, and NATS writes the header of a message in one.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_PIECE = 1 << 16
_IN_FLIGHT = 1024
"""Pieces on the way; a relay that is full stops reading."""


@dataclass
class Relay:
    """A relay to `target` on 127.0.0.1; `port` is its own port once it listens."""

    target: int
    delay: float = 0.0
    """Seconds that each piece waits, in each direction."""
    cut_share: float = 0.0
    """Probability that a piece of at most 64 KiB cuts all connections."""
    port: int = 0
    _watched: bytes = b""
    _on_seen: Callable[[], None] = field(default=lambda: None)
    _random: random.Random = field(default_factory=lambda: random.Random(20260101))
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def watch(self, content: bytes, on_seen: Callable[[], None]) -> threading.Event:
        """Call `on_seen` before the first piece with `content` goes on; the event is set then."""
        seen = threading.Event()

        def once() -> None:
            self._watched = b""
            on_seen()
            seen.set()

        self._watched, self._on_seen = content, once
        return seen

    def cut(self) -> None:
        """Close all connections."""
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, listening: threading.Event) -> None:
        """Relay until cancelled."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        listening.set()
        async with server:
            await server.serve_forever()

    async def _connected(self, near: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        try:
            with suppress(asyncio.CancelledError):  # the relay ends, and its connections with it
                await asyncio.gather(self._carry(near, far_writer), self._carry(far, writer))
        finally:
            self._writers -= {writer, far_writer}

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._deliver(pieces, writer))
            with suppress(ConnectionError):
                while piece := await reader.read(_PIECE):
                    if self._watched and self._watched in piece:
                        self._on_seen()
                    if self.cut_share and self._random.random() < self.cut_share:
                        self._cut()
                    await pieces.put((self._loop.time() + self.delay, piece))
            await pieces.put((self._loop.time() + self.delay, b""))

    async def _deliver(
        self, pieces: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter
    ) -> None:
        """Write pieces when they are due; an empty one closes the connection."""
        while (due := await pieces.get())[1]:
            if (left := due[0] - self._loop.time()) > 0:
                await asyncio.sleep(left)
            if not writer.is_closing():
                with suppress(ConnectionError):
                    writer.write(due[1])
                    await writer.drain()
        writer.close()


@contextmanager
def relay(target: int, *, delay: float = 0.0, cut_share: float = 0.0) -> Iterator[Relay]:
    """Yield a relay that listens until the end of the block."""
    made = Relay(target, delay, cut_share)
    listening = threading.Event()
    tasks: list[asyncio.Task[None]] = []

    def run() -> None:
        asyncio.set_event_loop(made._loop)
        tasks.append(made._loop.create_task(made.serve(listening)))
        with suppress(asyncio.CancelledError):
            made._loop.run_until_complete(tasks[0])
        left = asyncio.all_tasks(made._loop)
        for task in left:
            task.cancel()
        made._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        made._loop.close()

    thread = threading.Thread(target=run, name="relay")
    thread.start()
    listening.wait()
    try:
        yield made
    finally:
        made._loop.call_soon_threadsafe(tasks[0].cancel)
        thread.join()

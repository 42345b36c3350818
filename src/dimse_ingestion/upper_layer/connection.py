"""One TCP or TLS connection: bytes and time for an association, on asyncio.

All connections of an acceptor read into one buffer: what arrives is consumed before the next one
reads, so that memory doesn't grow with the number of connections. The rules are `association`'s.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, cast

from dimse_ingestion.upper_layer.association import Association
from dimse_ingestion.upper_layer.limits import UpperLayerLimits
from dimse_ingestion.upper_layer.services import Services

BUFFER_LENGTH = 256 * 1024


class Host(Protocol):
    """What connections have in common: their acceptor."""

    services: Services
    limits: UpperLayerLimits
    buffer: memoryview

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that ends with the acceptor at the latest."""

    def add_connection(self, connection: "Connection") -> bool:
        """The connection has begun; False when there is no room for it."""

    def remove_connection(self, connection: "Connection") -> None:
        """The connection is gone."""


class Connection(asyncio.BufferedProtocol):
    """An association's `Wire`, and the loop's protocol."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._limits = host.limits
        self._buffer = host.buffer
        self._loop = asyncio.get_running_loop()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._last_activity = self._loop.time()
        self._unread = memoryview(b"")  # read and not taken yet: others come first
        self._reading = True
        self._scheduled: asyncio.Handle | None = None
        self._artim: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._silence_timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self.association: Association

    # what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        host = self._host
        self.association = Association(
            host.services, host.limits, self, host.spawn, (str(peer[0]), int(peer[1]))
        )
        self.association.connection_made()
        if host.add_connection(self):
            self._check_silence()
        else:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop's interface
        """Where to read to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self._last_activity = self._loop.time()
        received = self._buffer[:nbytes]
        if self._unread:
            self._unread = memoryview(bytes(self._unread) + bytes(received))
        elif (consumed := self.association.data_received(received)) < nbytes:
            self._unread = memoryview(bytes(received[consumed:]))  # the buffer is everybody's
            self._transport.pause_reading()
            self._schedule_read()

    def eof_received(self) -> bool:
        """Half a connection is none."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's interface
        """End."""
        for timer in (self._artim, self._write_timer, self._silence_timer):
            if timer is not None:
                timer.cancel()
        self._may_write.set()
        self._unread = memoryview(b"")
        self.association.connection_lost()
        self._host.remove_connection(self)

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        self._may_write.clear()
        self._write_timer = self._loop.call_later(self._limits.write_timeout, self._give_up_writing)

    def resume_writing(self) -> None:
        """The peer has read."""
        self._may_write.set()
        if self._write_timer is not None:
            self._write_timer.cancel()

    # what the association asks

    def write(self, content: bytes) -> None:
        """Send; never blocks."""
        self._last_activity = self._loop.time()
        self._transport.write(content)

    async def drain(self) -> None:
        """Wait until the peer has read enough, or the connection is lost."""
        if not self._may_write.is_set():
            await self._may_write.wait()

    def close(self) -> None:
        """Close at once: there is nobody left who would read what is still to be sent."""
        self._transport.abort()

    def pause_reading(self) -> None:
        """Read no more."""
        self._reading = False
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._last_activity = self._loop.time()
        self._reading = True
        if self._unread:
            self._schedule_read()
        elif not self._transport.is_closing():
            self._transport.resume_reading()

    def _schedule_read(self) -> None:
        """Take more of what was read when others had their turn."""
        if self._reading and self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        self._scheduled = None
        if not (self._unread and self._reading):
            return
        self._unread = self._unread[self.association.data_received(self._unread) :]
        if self._unread:
            self._schedule_read()
        elif self._reading and not self._transport.is_closing():
            self._transport.resume_reading()

    def start_artim(self) -> None:
        """Start the ARTIM timer, or start it again."""
        self.stop_artim()
        self._artim = self._loop.call_later(
            self._limits.artim_timeout, self.association.artim_expired
        )

    def stop_artim(self) -> None:
        """Stop the ARTIM timer if it runs."""
        if self._artim is not None:
            self._artim.cancel()
            self._artim = None

    # time

    def silent_for(self) -> float:
        """Seconds since anything went over this connection."""
        return self._loop.time() - self._last_activity

    def _check_silence(self) -> None:
        """Abort a silent peer; else look again when it may have been silent long enough."""
        longest = self.association.longest_silence
        left = self._shortest if longest is None else longest - self.silent_for()
        if left <= 0:
            self.association.abort(f"The peer was silent for {longest} s.")
            left = self._shortest
        self._silence_timer = self._loop.call_later(min(left, self._shortest), self._check_silence)

    @property
    def _shortest(self) -> float:
        return min(self._limits.dimse_timeout, self._limits.idle_timeout)

    def _give_up_writing(self) -> None:
        self.association.abort(f"The peer read nothing for {self._limits.write_timeout} s.")
        self._transport.abort()

"""One TCP or TLS connection on asyncio: it gives an association its bytes and timers.

All connections of a host read into one shared buffer. What arrives is consumed before another
connection reads, so that memory doesn't grow with the number of connections. The protocol is in
`association`.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from dimse_ingestion.upper_layer.limits import UpperLayerLimits
from dimse_ingestion.upper_layer.transport_connection import (
    ConnectedAssociation,
    TransportConnection,
)

BUFFER_LENGTH = 256 * 1024


class Host(Protocol):
    """The acceptor or requestor as its connections see it."""

    limits: UpperLayerLimits
    buffer: memoryview

    def create_association(
        self, connection: TransportConnection, peer: tuple[str, int]
    ) -> ConnectedAssociation:
        """Return the association of a new connection to this address."""

    def add_connection(self, connection: "Connection") -> bool:
        """Register a new connection; return False when the limit is reached."""

    def remove_connection(self, connection: "Connection") -> None:
        """Remove a closed connection."""


class Connection(asyncio.BufferedProtocol):
    """Connect asyncio's protocol callbacks to an association; it is its `TransportConnection`.

    `lost` is called when the connection is closed.
    """

    def __init__(self, host: Host, lost: Callable[[], None] | None = None) -> None:
        self._host = host
        self._lost = lost
        self._limits = host.limits
        self._buffer = host.buffer
        self._loop = asyncio.get_running_loop()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._last_activity = self._loop.time()
        self._unread = memoryview(b"")  # received and not consumed yet
        self._reading = True
        self._scheduled: asyncio.Handle | None = None
        self._artim: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._silence_timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self.association: ConnectedAssociation

    # callbacks of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Create the association and start its timers; close at once if there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        self._is_encrypted = transport.get_extra_info("ssl_object") is not None
        peer = transport.get_extra_info("peername") or ("", 0)
        host = self._host
        self.association = host.create_association(self, (str(peer[0]), int(peer[1])))
        self.association.connection_made()
        if host.add_connection(self):
            self._check_silence()
        else:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop's interface
        """Return the shared buffer that the loop reads into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Pass the bytes that were read to the association.

        If it does not consume all of them, the rest is copied out of the shared buffer and reading
        pauses, so that other connections get their turn of the loop.
        """
        self._last_activity = self._loop.time()
        received = self._buffer[:nbytes]
        if self._unread:
            self._unread = memoryview(bytes(self._unread) + bytes(received))
        elif (consumed := self.association.data_received(received)) < nbytes:
            self._unread = memoryview(bytes(received[consumed:]))  # the buffer is shared
            self._transport.pause_reading()
            self._schedule_read()

    def eof_received(self) -> bool:
        """Close the connection: DICOM does not use half-closed ones."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's interface
        """Cancel all timers and end the association."""
        for timer in (self._artim, self._write_timer, self._silence_timer):
            if timer is not None:
                timer.cancel()
        self._may_write.set()
        self._unread = memoryview(b"")
        self.association.connection_lost()
        self._host.remove_connection(self)
        if self._lost is not None:
            self._lost()

    def pause_writing(self) -> None:
        """Start the write time-out: the peer reads too slowly."""
        self._may_write.clear()
        self._write_timer = self._loop.call_later(self._limits.write_timeout, self._give_up_writing)

    def resume_writing(self) -> None:
        """Stop the write time-out: the peer has read."""
        self._may_write.set()
        if self._write_timer is not None:
            self._write_timer.cancel()

    # TransportConnection: called by the association

    def write(self, content: bytes) -> None:
        """Send bytes without blocking; drop them when the connection is closed."""
        self._last_activity = self._loop.time()
        if not self._transport.is_closing():
            self._transport.write(content)

    def write_pieces(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Send bytes in pieces; joined over TLS, where each piece would become a record."""
        self._last_activity = self._loop.time()
        if self._is_encrypted:
            self.write(b"".join(pieces))
        elif not self._transport.is_closing():
            self._transport.writelines(pieces)

    async def drain(self) -> None:
        """Wait until the write buffer has space, or the connection is lost."""
        if not self._may_write.is_set():
            await self._may_write.wait()

    def close(self) -> None:
        """Close at once without sending buffered bytes: the peer no longer reads."""
        self._transport.abort()

    def pause_reading(self) -> None:
        """Pause reading."""
        self._reading = False
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading, first with the bytes already received."""
        self._last_activity = self._loop.time()
        self._reading = True
        if self._unread:
            self._schedule_read()
        elif not self._transport.is_closing():
            self._transport.resume_reading()

    def _schedule_read(self) -> None:
        """Continue with unread bytes in the next turn of the loop."""
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
        """Start or restart the ARTIM timer."""
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
        """Return the seconds since the last byte in either direction."""
        return self._loop.time() - self._last_activity

    def _check_silence(self) -> None:
        """Abort a peer that is silent for too long; otherwise schedule the next check."""
        longest = self.association.longest_silence
        left = self._shortest if longest is None else longest - self.silent_for()
        if left <= 0:
            self.association.abort(f"{self.association.peer_name} was silent for {longest} s.")
            left = self._shortest
        self._silence_timer = self._loop.call_later(min(left, self._shortest), self._check_silence)

    @property
    def _shortest(self) -> float:
        return min(self._limits.dimse_timeout, self._limits.idle_timeout)

    def _give_up_writing(self) -> None:
        name, seconds = self.association.peer_name, self._limits.write_timeout
        self.association.abort(f"{name} read nothing for {seconds} s.")
        self._transport.abort()

"""The reader of a NATS connection over TCP or TLS: the parser gets bytes as the socket gives them.

asyncio's streams, which nats-py reads with, copy each byte three times. This reader takes their
place after the handshake. It knows no NATS command.
"""

import asyncio
from typing import cast

from nats.aio.transport import TcpTransport

from dimse_ingestion.transport.nats.server_protocol import Parser

_BUFFER_LENGTH = 64 * 1024
"""Bytes of one read, unless the parser has space for a long body."""


class SocketReader(asyncio.BufferedProtocol):
    """Reads one socket until `closed`, which has the error that ended it, or None."""

    def __init__(self, transport: asyncio.Transport, parser: Parser) -> None:
        self._transport = transport
        self._parser = parser
        self._loop = asyncio.get_running_loop()
        self._buffer = memoryview(bytearray(_BUFFER_LENGTH))
        self._is_body = False
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._ended: Exception | None = None
        self.closed: asyncio.Future[Exception | None] = self._loop.create_future()

    async def wait_writable(self) -> None:
        """Wait until less than the high-water mark is unsent. Raises OSError when it broke."""
        await self._may_write.wait()
        if self.closed.done():
            raise ConnectionResetError("the connection is closed")

    def feed(self, received: bytes | memoryview) -> None:
        """Parse bytes; no more are read until all of them are parsed."""
        try:
            if self._parser.feed(received):
                self._transport.pause_reading()
                self._loop.call_soon(self._read_on)
        except Exception as error:  # noqa: BLE001 - reported to who waits for the end
            self._end(error)

    def _read_on(self) -> None:
        if self.closed.done() or self._transport.is_closing():
            return
        self._transport.resume_reading()
        self.feed(b"")

    def _end(self, error: Exception | None) -> None:
        self._may_write.set()
        if not self.closed.done():
            self.closed.set_result(error)

    # callbacks of asyncio

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop's interface
        """Return where the loop reads into: the long body under way, or the buffer."""
        space = self._parser.body_space
        self._is_body = space is not None
        return self._buffer if space is None else space

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what was read; nothing once the connection has ended."""
        if self.closed.done():
            return
        if self._is_body:
            self._parser.body_received(nbytes)
        else:
            self.feed(self._buffer[:nbytes])

    def eof_received(self) -> bool:
        """Close the connection: the server has ended it."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end."""
        self._end(exc)

    def pause_writing(self) -> None:
        """Note that the high-water mark is reached."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Note that the server has read."""
        self._may_write.set()


def read_socket(streams: TcpTransport, parser: Parser) -> SocketReader:
    """Return a reader that takes the place of nats-py's streams, and gets what they have read."""
    stream, writer = streams._io_reader, streams._io_writer
    if stream is None or writer is None:
        raise ConnectionResetError("the connection ended while it was opened")
    transport = cast("asyncio.Transport", writer.transport)
    reader = SocketReader(transport, parser)
    if transport.is_closing() or stream.exception() is not None:
        reader.connection_lost(stream.exception())
        return reader
    transport.pause_reading()  # uvloop chooses its way of reading when reading resumes
    transport.set_protocol(reader)
    received = vars(stream)["_buffer"]
    unread = bytes(received)
    received.clear()
    transport.resume_reading()
    if stream.at_eof():
        reader.feed(unread)
        reader.connection_lost(None)
    elif unread:
        reader.feed(unread)
    return reader

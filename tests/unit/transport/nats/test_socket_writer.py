"""The writer of a TCP connection: also when the peer has closed it."""

import asyncio
from contextlib import suppress

from nats.aio.transport import TcpTransport

from dimse_ingestion.transport.nats.socket_writer import socket_writer_for


async def _close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def _ignore(_: Exception) -> None:
    """Ignore an error of a later write."""


async def test_bytes_for_a_closed_connection_are_dropped() -> None:
    async with await asyncio.start_server(_close, "127.0.0.1", 0) as server:
        transport = TcpTransport()  # type: ignore[no-untyped-call] # of nats-py
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        transport._bare_io_reader = transport._io_reader = reader
        transport._bare_io_writer = transport._io_writer = writer
        socket_writer = socket_writer_for(transport, _ignore)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)  # until the event loop has closed the socket
            socket_writer.write(b"PING\r\n")
            socket_writer.write(b"PUB a 40000\r\n", bytes(40_000), b"\r\n")
        assert socket_writer.sent == 0

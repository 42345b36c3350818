"""A TCP relay that delays every byte, in both directions: distance on one machine.

Bandwidth is not limited: a byte leaves so many seconds after it came, however many are on the way.
It is a process of its own, so that its work is not counted as a system's; it still takes processors
of the same machine.
"""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

from harness.ports import free_port
from harness.services import eventually

_PIECE = 1 << 18
_IN_FLIGHT = 4096
"""Pieces on the way; a relay that is full stops reading."""


@contextmanager
def delaying_relay(port: int, delay: float) -> Iterator[int]:
    """Relay to a port on this machine with `delay` seconds each way; yield the relay's port."""
    own = free_port()
    arguments = [sys.executable, "-m", "benchmarks.relay", str(own), str(port), str(delay)]
    process = subprocess.Popen(arguments)
    try:
        eventually(lambda: _listens(own), bool)
        yield own
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


async def relay(own: int, port: int, delay: float) -> None:
    """Relay until cancelled."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_carry(reader, far_writer, delay), _carry(far_reader, writer, delay))

    server = await asyncio.start_server(connected, "127.0.0.1", own, limit=_PIECE)
    async with server:
        await server.serve_forever()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Carry one direction to its end."""
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT)
    delivering = asyncio.create_task(_deliver(pieces, writer))
    loop = asyncio.get_running_loop()
    try:
        while piece := await reader.read(_PIECE):
            await pieces.put((loop.time() + delay, piece))
    except ConnectionError:
        pass
    await pieces.put((loop.time() + delay, b""))
    await delivering


async def _deliver(
    pieces: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter
) -> None:
    loop = asyncio.get_running_loop()
    try:
        while (due := await pieces.get())[1]:
            await asyncio.sleep(max(0.0, due[0] - loop.time()))
            writer.write(due[1])
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


if __name__ == "__main__":
    uvloop.run(relay(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))

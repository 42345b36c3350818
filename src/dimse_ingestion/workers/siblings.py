"""Questions between the workers of a service, each over a Unix socket in the folder they share.

The supervisor has no part in them. A worker that does not run or does not answer in time gives no
answer; what that means is for the caller to decide, and so is the content of questions.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

_TIMEOUT = 5.0
_LENGTH = 4  # bytes before a message
_LONGEST = 1024 * 1024
_LONGEST_ADDRESS = 100
"""Bytes of a socket's path; the kernel takes 107 (unix(7))."""


class Siblings:
    """The other workers of a service, as the worker with this number sees them (from 1)."""

    def __init__(self, folder: Path, number: int, workers: int, timeout: float = _TIMEOUT) -> None:
        self._folder = folder
        self._number = number
        self._workers = workers
        self._timeout = timeout

    @asynccontextmanager
    async def answering(self, name: str, answer: Callable[[bytes], bytes]) -> AsyncIterator[None]:
        """Answer the questions of this name within the block. Raises OSError."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, asyncio.IncompleteReadError, _TooLong):
                async with asyncio.timeout(self._timeout):
                    _send(writer, answer(await _receive(reader)))
                    await writer.drain()
            writer.close()

        with _address(self._folder, f"{name}-{self._number}") as address:
            server = await asyncio.start_unix_server(serve, address)
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()

    async def ask(self, name: str, question: bytes) -> Sequence[bytes | None]:
        """Ask each other worker; return their answers, None for one that gives none."""
        others = [each for each in range(1, self._workers + 1) if each != self._number]
        return await asyncio.gather(*(self._ask(f"{name}-{each}", question) for each in others))

    async def _ask(self, socket: str, question: bytes) -> bytes | None:
        with suppress(OSError, asyncio.IncompleteReadError, _TooLong):
            async with asyncio.timeout(self._timeout):
                with _address(self._folder, socket) as address:
                    reader, writer = await asyncio.open_unix_connection(address)
                try:
                    _send(writer, question)
                    return await _receive(reader)
                finally:
                    writer.close()
        return None


@contextmanager
def _address(folder: Path, name: str) -> Iterator[str]:
    """Yield the path of a socket, by a descriptor of its folder where it is too long otherwise."""
    path = folder / name
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


class _TooLong(Exception):
    """A message is longer than any that a worker sends."""


def _send(writer: asyncio.StreamWriter, message: bytes) -> None:
    writer.write(len(message).to_bytes(_LENGTH) + message)


async def _receive(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(_LENGTH))
    if length > _LONGEST:
        raise _TooLong
    return await reader.readexactly(length)

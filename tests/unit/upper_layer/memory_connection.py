"""A transport connection in memory, for tests of what an association does to its connection."""

import asyncio
from collections.abc import Sequence


class MemoryConnection:
    """Record the calls of a `TransportConnection`.

    The states are methods, because a type checker assumes that an attribute which a test has
    compared stays as it is.
    """

    def __init__(self) -> None:
        self.written = bytearray()
        self._closed = False
        self._reading = True
        self._artim = False
        self.may_write = asyncio.Event()
        self.may_write.set()

    def is_closed(self) -> bool:
        return self._closed

    def is_reading(self) -> bool:
        return self._reading

    def is_artim_running(self) -> bool:
        return self._artim

    def write(self, content: bytes) -> None:
        assert not self._closed
        self.written += content

    def write_pieces(self, pieces: Sequence[bytes | memoryview]) -> None:
        self.write(b"".join(pieces))

    async def drain(self) -> None:
        await self.may_write.wait()

    def close(self) -> None:
        self._closed = True

    def pause_reading(self) -> None:
        assert self._reading
        self._reading = False

    def resume_reading(self) -> None:
        assert not self._reading
        self._reading = True

    def start_artim(self) -> None:
        self._artim = True

    def stop_artim(self) -> None:
        self._artim = False

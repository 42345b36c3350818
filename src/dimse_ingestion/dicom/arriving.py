"""Bytes as they arrive, read by a parser that may stop anywhere and go on later.

A parser is a generator: it asks for bytes with `yield from`, and is resumed when more have come.
Bytes that are only passed over are never kept nor copied. Inflating (PS3.5 A.5) happens here too,
so that no parser knows of it.
"""

import zlib
from collections.abc import Generator

Parsing = Generator[None, None, None]
_INFLATED_AT_ONCE = 256 * 1024


class Ended(Exception):
    """No more bytes will come, and the parser wants some."""


class Arriving:
    """A queue of bytes with a position; `offset` counts from the first byte ever fed."""

    def __init__(self) -> None:
        self.offset = 0
        self.ended = False
        self._buffer = bytearray()
        self._start = 0
        self._to_pass_over = 0

    def add(self, data: bytes | memoryview) -> None:
        """Take what came; what was read before is let go of, what is skipped is not kept."""
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        if self._to_pass_over:
            step = min(self._to_pass_over, len(data))
            self.pass_over(step)
            data = memoryview(data)[step:]
        self._buffer += data

    @property
    def available(self) -> int:
        """Bytes that have come and were not read."""
        return len(self._buffer) - self._start

    @property
    def to_pass_over(self) -> int:
        """Bytes to come that nobody will look at."""
        return self._to_pass_over

    def pass_over(self, length: int) -> None:
        """Count so many of those as come, though they never were."""
        step = min(length, self._to_pass_over)
        self._to_pass_over -= step
        self.offset += step

    def take(self, length: int) -> Generator[None, None, bytes]:
        """The next `length` bytes; raises Ended when they won't come."""
        while len(self._buffer) - self._start < length:
            yield from self._wait()
        end = self._start + length
        taken = bytes(self._buffer[self._start : end])
        self._start = end
        self.offset += length
        return taken

    def skip(self, length: int) -> Parsing:
        """Pass over the next `length` bytes without keeping them."""
        step = min(length, self.available)
        self._advance(step)
        self._to_pass_over = length - step
        while self._to_pass_over:
            yield from self._wait()

    def peek(self, length: int) -> Generator[None, None, bytes]:
        """The next `length` bytes, still to be read; raises Ended when they won't come."""
        while self.available < length:
            yield from self._wait()
        return bytes(self._buffer[self._start : self._start + length])

    def has_more(self) -> Generator[None, None, bool]:
        """Whether there is another byte; waits until that is known."""
        while not self.available:
            if self.ended:
                return False
            yield
        return True

    def _wait(self) -> Parsing:
        if self.ended:
            raise Ended
        yield

    def _advance(self, length: int) -> None:
        self._start += length
        self.offset += length


class Inflating:
    """Deflated bytes made plain, a bounded piece at a time."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def pieces(self, data: bytes | memoryview) -> Generator[bytes, None, None]:
        """What `data` holds; raises zlib.error when it isn't deflated."""
        rest: bytes | memoryview = data
        more = True
        while more and not self._inflater.eof:
            piece = self._inflater.decompress(rest, _INFLATED_AT_ONCE)
            rest = self._inflater.unconsumed_tail
            more = bool(rest) or len(piece) == _INFLATED_AT_ONCE
            if piece:
                yield piece

    @property
    def complete(self) -> bool:
        """Whether the last block was seen."""
        return self._inflater.eof

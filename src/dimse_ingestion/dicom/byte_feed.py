"""Bytes as they arrive, read by a parser that may stop anywhere and go on later.

A parser is a generator: it asks for bytes with `yield from`, and is resumed when more have come.
It also stops when it has done a slice of work, so that a data set of a million elements leaves the
event loop free in between. Bytes that are only passed over are never kept nor copied. Inflating
(PS3.5 A.5) happens here too, so that no parser knows of it.
"""

import zlib
from collections.abc import Generator

ParserSteps = Generator[None, None, None]
_INFLATED_AT_ONCE = 256 * 1024


class EndOfData(Exception):
    """No more bytes will come, and the parser wants some."""


class ByteFeed:
    """A queue of bytes with a position; `offset` counts from the first byte ever fed."""

    def __init__(self) -> None:
        self.offset = 0
        self.ended = False
        self.paused = False
        """Whether the parser stopped to leave time to others, though it has bytes to go on."""
        self.buffer = bytearray()
        self.start = 0
        """Where in `buffer` the byte at `offset` stands."""
        self._to_pass_over = 0

    def add(self, data: bytes | memoryview) -> None:
        """Take what came; what was read before is let go of, what is skipped is not kept."""
        if self.start:
            del self.buffer[: self.start]
            self.start = 0
        if self._to_pass_over:
            step = min(self._to_pass_over, len(data))
            self.mark_skipped(step)
            data = memoryview(data)[step:]
        self.buffer += data

    @property
    def available(self) -> int:
        """Bytes that have come and were not read."""
        return len(self.buffer) - self.start

    @property
    def skippable(self) -> int:
        """Bytes to come that nobody will look at."""
        return self._to_pass_over

    def mark_skipped(self, length: int) -> None:
        """Count so many of those as come, though they never were."""
        step = min(length, self._to_pass_over)
        self._to_pass_over -= step
        self.offset += step

    def advance(self, length: int) -> None:
        """Go on behind `length` bytes that have come; back, if negative, over what was just read.

        Bytes that were read can be read again until the parser next waits for more.
        """
        self.start += length
        self.offset += length

    def take(self, length: int) -> Generator[None, None, bytes]:
        """Return the next `length` bytes; raises Ended when they won't come."""
        yield from self.wait_for(length)
        taken = bytes(self.buffer[self.start : self.start + length])
        self.advance(length)
        return taken

    def wait_for(self, length: int) -> ParserSteps:
        """Wait until the next `length` bytes have come; raises Ended when they won't."""
        while len(self.buffer) - self.start < length:
            if self.ended:
                raise EndOfData
            yield

    def skip(self, length: int) -> ParserSteps:
        """Pass over the next `length` bytes without keeping them."""
        step = min(length, self.available)
        self.advance(step)
        self._to_pass_over = length - step
        while self._to_pass_over:
            if self.ended:
                raise EndOfData
            yield

    def peek(self, length: int) -> Generator[None, None, bytes]:
        """Return the next `length` bytes, still to be read; raises Ended when they won't come."""
        yield from self.wait_for(length)
        return bytes(self.buffer[self.start : self.start + length])

    def peek_up_to(self, length: int) -> Generator[None, None, bytes]:
        """Return the next `length` bytes, still to be read, or all there are before the end."""
        while self.available < length and not self.ended:
            yield
        return bytes(self.buffer[self.start : self.start + length])

    def pause(self) -> ParserSteps:
        """Stop to leave time to others."""
        self.paused = True
        yield


class Inflater:
    """Inflates deflated bytes, a bounded piece at a time."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def pieces(self, data: bytes | memoryview) -> Generator[bytes, None, None]:
        """Yield what `data` holds; raises zlib.error when it isn't deflated."""
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

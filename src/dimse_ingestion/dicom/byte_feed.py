"""The input buffer of an incremental parser, which can stop at any byte and resume later.

A parser is a generator: it waits for bytes with `yield from`, and is resumed when more arrive. It
also pauses after a slice of work, so that a data set of a million elements does not block the event
loop. Skipped bytes are neither buffered nor copied. Inflating (PS3.5 A.5) is done here as well, so
that parsers need not know of it.
"""

import zlib
from collections.abc import Generator

ParserSteps = Generator[None, None, None]
_INFLATED_AT_ONCE = 256 * 1024


class EndOfData(Exception):
    """The input has ended, and the parser needs more bytes."""


class ByteFeed:
    """A queue of bytes with a read position; `offset` counts from the first byte added."""

    def __init__(self) -> None:
        self.offset = 0
        self.ended = False
        self.paused = False
        """True if the parser paused after a slice of work although more bytes are available."""
        self.buffer = bytearray()
        self.start = 0
        """The index in `buffer` of the byte at `offset`."""
        self._to_pass_over = 0

    def add(self, data: bytes | memoryview) -> None:
        """Append bytes; bytes already read are dropped, skipped ones are not buffered."""
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
        """The number of buffered bytes that were not read."""
        return len(self.buffer) - self.start

    @property
    def skippable(self) -> int:
        """The number of the next bytes that the parser skips."""
        return self._to_pass_over

    def mark_skipped(self, length: int) -> None:
        """Count at most `length` of the skippable bytes as added, without having them."""
        step = min(length, self._to_pass_over)
        self._to_pass_over -= step
        self.offset += step

    def advance(self, length: int) -> None:
        """Move the read position by `length` bytes; a negative length goes back.

        Bytes can be read again until the parser next waits for more.
        """
        self.start += length
        self.offset += length

    def take(self, length: int) -> Generator[None, None, bytes]:
        """Read the next `length` bytes; raises EndOfData."""
        yield from self.wait_for(length)
        taken = bytes(self.buffer[self.start : self.start + length])
        self.advance(length)
        return taken

    def wait_for(self, length: int) -> ParserSteps:
        """Wait until the next `length` bytes are available; raises EndOfData."""
        while len(self.buffer) - self.start < length:
            if self.ended:
                raise EndOfData
            yield

    def skip(self, length: int) -> ParserSteps:
        """Skip the next `length` bytes without buffering them; raises EndOfData."""
        step = min(length, self.available)
        self.advance(step)
        self._to_pass_over = length - step
        while self._to_pass_over:
            if self.ended:
                raise EndOfData
            yield

    def peek(self, length: int) -> Generator[None, None, bytes]:
        """Return the next `length` bytes without reading them; raises EndOfData."""
        yield from self.wait_for(length)
        return bytes(self.buffer[self.start : self.start + length])

    def peek_up_to(self, length: int) -> Generator[None, None, bytes]:
        """Return up to `length` of the next bytes without reading them; fewer only at the end."""
        while self.available < length and not self.ended:
            yield
        return bytes(self.buffer[self.start : self.start + length])

    def pause(self) -> ParserSteps:
        """Pause after a slice of work."""
        self.paused = True
        yield


class Inflater:
    """Inflate deflated bytes in pieces of bounded size."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def pieces(self, data: bytes | memoryview) -> Generator[bytes, None, None]:
        """Yield the inflated bytes of `data`; raises zlib.error if it isn't deflated."""
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
        """Return whether the end of the deflated stream was read."""
        return self._inflater.eof

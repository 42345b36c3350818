"""Bodies of requests, read whole within limits: of each, and of all in memory at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from dimse_ingestion.failures import Unavailable

_MOST_HELD = 64 * 2**20
DECODED_IN_PLACE = 256 * 1024
"""Bytes of a body that is decoded in the event loop, which takes some milliseconds."""
_Decoded = TypeVar("_Decoded")


class BodyTooLong(Exception):
    """A body has more bytes than allowed; the text has the limit."""


class BodyReader:
    """Read bodies of at most `longest` bytes; all together `most` (one alone may be longer)."""

    def __init__(self, longest: int, most: int = _MOST_HELD) -> None:
        self.longest = longest
        self._most = most
        self._held = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Read the whole body; it counts as memory in use until the end of the block.

        Raises BodyTooLong, ValueError when the client disconnects, and Unavailable when too much
        memory is in use.
        """
        pieces: list[bytes] = []
        length = 0
        try:
            async for piece in request.stream():
                self._check_limits(length, len(piece))
                pieces.append(piece)
                self._held += len(piece)
                length += len(piece)
            body = b"".join(pieces)
            pieces.clear()
            yield body
        except ClientDisconnect:
            raise ValueError("The body did not arrive whole.") from None
        finally:
            self._held -= length

    def hold(self, length: int) -> bool:
        """Count bytes of a body that is read elsewhere as memory in use; False if too many are."""
        if self._held + length > self._most:
            return False
        self._held += length
        return True

    def release(self, length: int) -> None:
        """Count bytes that `hold` has counted no longer."""
        self._held -= length

    def _check_limits(self, length: int, more: int) -> None:
        if length + more > self.longest:
            raise BodyTooLong(f"The body has more than {self.longest} bytes.")
        if self._held > length and self._held + more > self._most:
            raise Unavailable("The catalogue has too many requests in memory.")


async def decode_body(body: bytes, decode: Callable[[], _Decoded]) -> _Decoded:
    """Return the result of `decode`, in a thread if the body is long."""
    return decode() if len(body) <= DECODED_IN_PLACE else await asyncio.to_thread(decode)

"""The bodies of requests, read whole within bounds: of each, and of all that are held at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from dimse_ingestion.dicom.failure import OutOfResources

_MOST_HELD = 64 * 2**20


class BodyTooLong(Exception):
    """More bytes than one body may have; says how many those are."""


class BodyReader:
    """Bodies of at most `longest` bytes; together `most` (one alone may be longer)."""

    def __init__(self, longest: int, most: int = _MOST_HELD) -> None:
        self._longest = longest
        self._most = most
        self._held = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The whole body, counted as held until the end of the block.

        Raises BodyTooLong, ValueError when the client leaves, and transient A700 when too much is
        held already.
        """
        body = bytearray()
        try:
            async for piece in request.stream():
                self._check_room(len(body), len(piece))
                body += piece
                self._held += len(piece)
            yield bytes(body)
        except ClientDisconnect:
            raise ValueError("The body did not arrive whole.") from None
        finally:
            self._held -= len(body)

    def _check_room(self, length: int, more: int) -> None:
        if length + more > self._longest:
            raise BodyTooLong(f"The body has more than {self._longest} bytes.")
        if self._held > length and self._held + more > self._most:
            raise OutOfResources("The catalogue has more at work than it can hold.")

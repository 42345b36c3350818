"""One attempt of a C-STORE: its data in DATA messages, within credit and rate limit.

Each piece is compressed, if that pays and the replica offers to expand it, then waits for the rate
limit, and only then the position advances. Meanwhile the state machine goes on: it sends probes,
which keep the session's lease, and follows a resume.
"""

import asyncio

from dimse_ingestion.transport.carrier import Carrier, CarrierDown
from dimse_ingestion.transport.client.attempt import Attempt
from dimse_ingestion.transport.client.rate_limit import RateLimiter
from dimse_ingestion.transport.contract import Source
from dimse_ingestion.transport.protocol.codec import MAXIMUM_CHUNK, Data, chunk_size
from dimse_ingestion.transport.protocol.compression import ENCODING, CompressedPiece, compress
from dimse_ingestion.transport.protocol.state import NEVER
from dimse_ingestion.transport.protocol.store_sender import StoreSender

_IN_LOOP_LIMIT = 32 * 1024  # below this size in bytes, a thread costs more than compressing
_Piece = bytes | CompressedPiece


async def compressed(content: bytes) -> CompressedPiece | None:
    """Return the frame of some bytes, or None if it does not pay; in a thread if it takes long."""
    if len(content) <= _IN_LOOP_LIMIT:
        frame = compress(content)
    else:
        frame = await asyncio.get_running_loop().run_in_executor(None, compress, content)
    return None if frame is None else CompressedPiece(frame, len(content))


def length_on_wire(piece: _Piece) -> int:
    """Return how many bytes of a message a piece takes."""
    return len(piece.content if isinstance(piece, CompressedPiece) else piece)


class StoreAttempt(Attempt):
    """One attempt of a C-STORE; reads its source only when a chunk may be sent.

    `compresses`: the data set is worth compressing, and the settings allow it.
    """

    machine: StoreSender

    def __init__(
        self,
        carrier: Carrier,
        inbox: str,
        machine: StoreSender,
        source: Source,
        limiter: RateLimiter,
        *,
        compresses: bool = False,
    ) -> None:
        super().__init__(carrier, inbox, machine)
        self._source = source
        self._limiter = limiter
        self._compresses = compresses
        self._next: tuple[int, _Piece] | None = None  # offset and piece that wait for the limit
        self._waits_since = NEVER
        self.waited = 0.0
        """Seconds for which its data waited for the rate limit."""

    async def _send_flow(self) -> None:
        self._flow_continues_at = NEVER
        while (following := await self._next_piece()) is not None:
            offset, piece = following
            if pause := self._limiter.take(self, length_on_wire(piece), self._clock()):
                self._begin_wait()
                self._flow_continues_at = self._clock() + pause
                break
            self._end_wait()
            self._next = None
            self._send_piece(offset, piece)
            await self._wait_writable()
        else:
            self._end_flow()
        self._send(self.machine.on_timer(self._clock()))

    async def _next_piece(self) -> tuple[int, _Piece] | None:
        """Return offset and content of the piece to send next, or None when there is none now."""
        while chunk := self.machine.peek_chunk(self._limiter.largest_piece(MAXIMUM_CHUNK)):
            offset, length = chunk
            if self._next and self._next[0] == offset:
                return self._next
            content = self._source.read(offset, length)
            is_offered = self._compresses and ENCODING in self.machine.encodings
            piece = await compressed(content) if is_offered else None
            self._next = offset, piece or content  # another one may be the next by now
        return None

    def _send_piece(self, offset: int, piece: _Piece) -> None:
        if not self.machine.advance(offset, len(piece)):
            return
        blocked = self.machine.is_blocked
        if isinstance(piece, CompressedPiece):
            self._limiter.count_saved(piece.size - len(piece.content))
            data = Data(offset=offset, content=piece.content, blocked=blocked, size=piece.size)
        else:
            data = Data(offset=offset, content=piece, blocked=blocked)
        self._publish(self.machine.subject, data, {})

    def _end_flow(self) -> None:
        self._limiter.forget(self)
        self._end_wait()

    def _begin_wait(self) -> None:
        self._waits_since = min(self._waits_since, self._clock())

    def _end_wait(self) -> None:
        if self._waits_since != NEVER:
            seconds = self._clock() - self._waits_since
            self._waits_since = NEVER
            self.waited += seconds
            self._limiter.count_wait(seconds)

    async def _wait_writable(self) -> None:
        try:
            await self._carrier.wait_writable()
        except CarrierDown:
            self.machine.on_disconnect(self._clock())

    def _update_chunk_size(self) -> None:
        self._next = None  # it may be longer than the new connection takes
        self.machine.set_chunk_size(chunk_size(self._carrier.maximum_payload))

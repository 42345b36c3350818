"""The C-STORE at the proxy's end of the transport: how its data set travels, attempt by attempt.

A short data set travels with its open, a longer one in a session (`store_attempt`). Before each
attempt, an open with its data set waits here for the rate limit: nothing is sent meanwhile, and the
wait counts as no silence of the service.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from dimse_ingestion.transport.carrier import CarrierDown
from dimse_ingestion.transport.client.rate_limit import RateLimiter
from dimse_ingestion.transport.client.retry import (
    FinalResult,
    Operation,
    Retrier,
    RetriesExhausted,
)
from dimse_ingestion.transport.client.store_attempt import StoreAttempt, compressed
from dimse_ingestion.transport.contract import Source
from dimse_ingestion.transport.protocol.codec import (
    INLINE_IN_FLIGHT,
    OpenStore,
    Result,
    chunk_size,
    encode,
    inline_size,
)
from dimse_ingestion.transport.protocol.compression import ENCODING, is_compressible
from dimse_ingestion.transport.protocol.messages import StoreOpen
from dimse_ingestion.transport.protocol.state import Outcome
from dimse_ingestion.transport.protocol.store_sender import StoreSender
from dimse_ingestion.transport.protocol.timeouts import Timeouts

SLOW_LINE = 256 * 1024
"""Bytes per second at which an open with its data set still arrives before it is sent again."""
_INLINE_OVERHEAD = 16  # bytes that msgpack and the field name add to an inline data set
_NOTEWORTHY_WAIT = 1.0
"""Seconds of waiting for the rate limit above which a failure tells of it."""


@dataclass(slots=True)
class Sending:
    """What all C-STOREs of a connection share."""

    limiter: RateLimiter
    compresses: Callable[[], bool] = lambda: False
    """Returns whether data sets are compressed where that pays."""
    encodings: tuple[str, ...] = ()
    """What the service offered with its last result."""
    inline_in_flight: int = 0
    """Bytes of the data sets that travel with their opens now."""


class StoreOperation:
    """One C-STORE with its attempts."""

    def __init__(
        self, retrier: Retrier, sending: Sending, open_: StoreOpen, source: Source
    ) -> None:
        self._retrier = retrier
        self._carrier = retrier.carrier
        self._sending = sending
        self._open = open_
        self._source = source
        self._opening = OpenStore(open=open_)
        self._compresses = False
        self._reserved = 0
        self._waited = 0.0

    async def run(self, deadline: float) -> FinalResult:
        """Run attempts until one has a final result. Raises RetriesExhausted."""
        self._operation = Operation("store", self._open.operation_id, deadline)
        try:
            return await self._retrier.run(self._operation, self._attempt, self._prepare)
        except RetriesExhausted as error:
            if self._waited < _NOTEWORTHY_WAIT:
                raise
            raise RetriesExhausted(f"{error}; rate limit: {self._waited:.0f} s") from None
        finally:
            self._release()

    async def _prepare(self) -> None:
        """Decide how the data set travels, and wait until its open may be sent."""
        with suppress(CarrierDown):  # the attempt itself finds that out
            await self._carrier.wait_writable()
        self._release()
        free = INLINE_IN_FLIGHT - self._sending.inline_in_flight
        most = self._sending.limiter.largest_open(inline_size(self._carrier.maximum_payload))
        self._compresses = self._sending.compresses() and is_compressible(
            self._open.transfer_syntax_uid
        )
        self._opening = bare = OpenStore(open=self._open)
        overhead = len(encode(bare)[1]) + _INLINE_OVERHEAD
        if self._open.size + overhead <= min(most, free):
            self._reserved = self._open.size
            self._sending.inline_in_flight += self._reserved
            self._opening = await self._build_open()
            await self._wait_for_limit(overhead + len(_content_of(self._opening) or b""))

    async def _build_open(self) -> OpenStore:
        """Return the open with its data set, compressed if that pays and the service offers it."""
        content = self._source.read(0, self._open.size)
        is_offered = self._compresses and ENCODING in self._sending.encodings
        piece = await compressed(content) if is_offered else None
        if piece is None:
            return OpenStore(open=self._open, inline=content)
        self._sending.limiter.count_saved(piece.size - len(piece.content))
        return OpenStore(open=self._open, inline_zstd=piece.content)

    async def _wait_for_limit(self, size: int) -> None:
        """Wait while there is a connection: without one, the attempt fails and costs nothing."""
        limiter, now = self._sending.limiter, self._retrier.now
        started = now()
        try:
            while self._carrier.connected:
                pause = limiter.take(self, size, now())
                if not pause:
                    return
                await asyncio.sleep(pause)
        finally:
            limiter.forget(self)
            if waited := now() - started:
                self._waited += waited
                limiter.count_wait(waited)

    async def _attempt(self) -> Outcome:
        retrier, carrier = self._retrier, self._carrier
        machine = StoreSender(
            self._open.size,
            self._open.sha256,
            chunk_size(carrier.maximum_payload),
            _timeouts(self._opening, retrier.timeouts),
            retrier.now(),
        )
        attempt = StoreAttempt(
            carrier,
            retrier.inboxes.new(),
            machine,
            self._source,
            self._sending.limiter,
            compresses=self._compresses,
        )
        try:
            outcome = await retrier.run_attempt(self._operation, attempt, self._opening)
        finally:
            self._waited += attempt.waited
        if isinstance(outcome, Result):
            self._sending.encodings = machine.encodings
        return outcome

    def _release(self) -> None:
        self._sending.inline_in_flight -= self._reserved
        self._reserved = 0


def _timeouts(opening: OpenStore, timeouts: Timeouts) -> Timeouts:
    """Give an open more time by the length of its data set, which may still be on its way."""
    content = _content_of(opening)
    if content is None:
        return timeouts
    seconds = timeouts.open_timeout + len(content) / SLOW_LINE
    return replace(timeouts, open_timeout=seconds)


def _content_of(opening: OpenStore) -> bytes | None:
    """Return the data set of an open as it is sent, None if it takes a session."""
    return opening.inline or opening.inline_zstd

"""The driver of one session at a replica: connects a state machine to a carrier and a timer.

A session belongs to the attempt that opened or joined it last; messages of an older attempt are
ignored. An operation reads a data set from `VerifiedChunks`, and sends matches and instances to a
`SessionItemSink`, the bytes of a data set to a `SessionByteSink`.
"""

import asyncio
import hashlib
from contextlib import suppress
from typing import Generic, TypeVar

from dimse_ingestion.failures import Unavailable
from dimse_ingestion.transport.carrier import Carrier, CarrierDown
from dimse_ingestion.transport.protocol.batches import BatchSender, ItemT
from dimse_ingestion.transport.protocol.codec import Message, Result, encode
from dimse_ingestion.transport.protocol.compression import (
    CompressedPiece,
    DamagedFrame,
    decompress,
)
from dimse_ingestion.transport.protocol.fetch import FetchSender
from dimse_ingestion.transport.protocol.state import NEVER, SessionState
from dimse_ingestion.transport.protocol.store_receiver import StoreReceiver

_IN_LOOP_LIMIT = 64 * 1024  # below this size in bytes, a thread costs more than hashing

M_co = TypeVar("M_co", bound=SessionState, covariant=True)


class SessionDriver(Generic[M_co]):
    """A state machine, the inbox that its messages go to, and its timer."""

    def __init__(self, carrier: Carrier, machine: M_co, inbox: str) -> None:
        self.machine = machine
        self.wakeup = asyncio.Event()
        """Set whenever a message was received or sent."""
        self._carrier = carrier
        self._inbox = inbox
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._timer_at = NEVER  # held here: uvloop's handle of a timer that is due has no `when`
        self.send([])

    def now(self) -> float:
        """Return the event loop's time in seconds."""
        return self._loop.time()

    def receive(self, message: Message, inbox: str) -> None:
        """Process a message of the attempt with this inbox."""
        if inbox == self._inbox:
            self.send(self.machine.receive(message, self.now()))

    def resend_accept_to(self, inbox: str) -> bool:
        """Return whether the open comes from this session's own attempt; send ACCEPT again then."""
        if inbox == self._inbox:
            self.send(self.machine.accept(self.now()))
        return inbox == self._inbox

    def join(self, inbox: str) -> None:
        """Move the session to another attempt of the same operation."""
        self._inbox = inbox
        self.send(self.machine.join(self.now()))

    def send(self, messages: list[Message]) -> None:
        """Send messages to the attempt's inbox; the proxy probes for what cannot be sent now."""
        for message in messages:
            headers, body = encode(message)
            with suppress(CarrierDown):
                self._carrier.publish(
                    self._inbox, body, reply=self.machine.subject, headers=headers
                )
        self.wakeup.set()
        self._schedule_wake()

    def finish(self, result: Result) -> None:
        """Send the result of the operation."""
        self.send(self.machine.finish(result, self.now()))

    async def wait_for_change(self) -> None:
        """Wait until a message was received or sent."""
        self.wakeup.clear()
        await self.wakeup.wait()

    async def wait_writable(self) -> None:
        """Wait until the send buffer has space."""
        with suppress(CarrierDown):
            await self._carrier.wait_writable()

    def close(self) -> None:
        """Stop the timer."""
        if self._timer:
            self._timer.cancel()
        self._timer, self._timer_at = None, NEVER

    def _schedule_wake(self) -> None:
        """Set the timer, unless it fires earlier already: an early call does no harm."""
        when = self.machine.wake_at
        if when == NEVER or self._timer_at <= when:
            return
        self.close()
        self._timer, self._timer_at = self._loop.call_at(when, self._wake), when

    def _wake(self) -> None:
        self._timer, self._timer_at = None, NEVER
        self.send(self.machine.on_timer(self.now()))


class VerifiedChunks:
    """The chunks of a data set in order, expanded, with the digest verified at the end.

    Asking for the next chunk means that the previous one was consumed, and gives its credit back
    to the sender.
    """

    def __init__(self, driver: SessionDriver[StoreReceiver], sha256: str) -> None:
        self.verified = False
        """True once every byte was read and the digest is the announced one."""
        self._driver = driver
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        self._uncredited = 0

    def __aiter__(self) -> "VerifiedChunks":
        return self

    async def __anext__(self) -> bytes:
        """Return the next chunk. Raises Unavailable for a failed transfer or wrong digest."""
        self._grant_credit()
        piece = await self._next()
        if not piece:
            self._verify()
            raise StopAsyncIteration
        chunk = await self._open(piece)
        self._uncredited = len(chunk)
        return chunk

    def _grant_credit(self) -> None:
        if self._uncredited:
            driver, length, self._uncredited = self._driver, self._uncredited, 0
            driver.send(driver.machine.consumed(length, driver.now()))

    async def _next(self) -> bytes | CompressedPiece:
        machine = self._driver.machine
        while not machine.failure_reason:
            if machine.arrived:
                return machine.arrived.popleft()
            if machine.complete:
                return b""
            await self._driver.wait_for_change()
        machine.arrived.clear()
        raise Unavailable(machine.failure_reason)

    async def _open(self, piece: bytes | CompressedPiece) -> bytes:
        """Return the bytes of a piece, which then count for the digest. Raises Unavailable."""
        try:
            if len(piece) <= _IN_LOOP_LIMIT:
                return self._expand_and_hash(piece)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, self._expand_and_hash, piece)
        except DamagedFrame as damaged:
            raise Unavailable(str(damaged)) from None

    def _expand_and_hash(self, piece: bytes | CompressedPiece) -> bytes:
        chunk = decompress(piece) if isinstance(piece, CompressedPiece) else piece
        self._digest.update(chunk)
        return chunk

    def _verify(self) -> None:
        if self._digest.hexdigest() != self._sha256:
            raise Unavailable("The data set does not have the announced digest")
        self.verified = True


class SessionItemSink(Generic[ItemT]):
    """A `MatchSink` or `InstanceSink` that sends items as fast as the proxy grants credit."""

    def __init__(self, driver: SessionDriver[BatchSender[ItemT]]) -> None:
        self._driver = driver

    @property
    def cancelled(self) -> bool:
        """Return whether no more items are needed."""
        machine = self._driver.machine
        return machine.cancelled or bool(machine.failure_reason)

    async def send(self, item: ItemT) -> None:
        """Send one item; wait while the proxy has granted no credit."""
        driver, machine = self._driver, self._driver.machine
        while not machine.can_add and not self.cancelled:
            await driver.wait_for_change()
        if self.cancelled:
            return
        if messages := machine.add(item, driver.now()):
            driver.send(messages)
            await driver.wait_writable()


class SessionByteSink:
    """A `ByteSink` that sends chunks as fast as the proxy grants credit."""

    def __init__(self, driver: SessionDriver[FetchSender], chunk: int) -> None:
        self._driver = driver
        self._chunk = chunk

    @property
    def cancelled(self) -> bool:
        """Return whether no more bytes are needed."""
        return self._driver.machine.cancelled

    async def send(self, content: bytes | memoryview) -> None:
        """Send the next bytes, in chunks; wait while the proxy has granted no credit."""
        for start in range(0, len(content), self._chunk):
            await self._send_chunk(content[start : start + self._chunk])

    async def _send_chunk(self, chunk: bytes | memoryview) -> None:
        driver, machine = self._driver, self._driver.machine
        while not machine.can_add and not self.cancelled:
            await driver.wait_for_change()
        if self.cancelled:
            return
        if messages := machine.add(chunk, driver.now()):
            driver.send(messages)
            await driver.wait_writable()

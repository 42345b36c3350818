"""One session at a replica, driven over a carrier: the serving machines' hands and clock.

A session belongs to the attempt that opened or joined it last: what an older one still sends is
not heard. `Chunks` and `Answers` are how an operation sees a session.
"""

import asyncio
import hashlib
from contextlib import suppress
from typing import Generic, TypeVar

from dimse_ingestion.dicom.failure import OutOfResources
from dimse_ingestion.transport.carrier import Carrier, CarrierDown
from dimse_ingestion.transport.protocol.codec import Message, Result, encoded
from dimse_ingestion.transport.protocol.find import FindSender
from dimse_ingestion.transport.protocol.messages import FindMatch
from dimse_ingestion.transport.protocol.state import NEVER, SessionState
from dimse_ingestion.transport.protocol.store_receiver import StoreReceiver

_HASHED_AT_ONCE = 64 * 1024  # bytes so few that a thread would cost more than hashing them

M_co = TypeVar("M_co", bound=SessionState, covariant=True)


class SessionDriver(Generic[M_co]):
    """A machine, the inbox its words go to, and a timer that wakes it."""

    def __init__(self, carrier: Carrier, machine: M_co, inbox: str) -> None:
        self.machine = machine
        self.news = asyncio.Event()
        """Set whenever something came or was said."""
        self._carrier = carrier
        self._inbox = inbox
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.say([])

    def now(self) -> float:
        """The event loop's time in seconds."""
        return self._loop.time()

    def receive(self, frame: Message, inbox: str) -> None:
        """Take a frame of the attempt answered at `inbox`."""
        if inbox == self._inbox:
            self.say(self.machine.receive(frame, self.now()))

    def doubled(self, inbox: str) -> bool:
        """Whether an open of the attempt at `inbox` is the one this session answers already."""
        if inbox == self._inbox:
            self.say(self.machine.accept(self.now()))
        return inbox == self._inbox

    def join(self, inbox: str) -> None:
        """Belong to another attempt of the same operation."""
        self._inbox = inbox
        self.say(self.machine.joined(self.now()))

    def say(self, frames: list[Message]) -> None:
        """Send frames to the attempt's inbox. What can't be sent now will be asked for."""
        for frame in frames:
            headers, body = encoded(frame)
            with suppress(CarrierDown):
                self._carrier.publish(
                    self._inbox, body, reply=self.machine.subject, headers=headers
                )
        self.news.set()
        self._wake_in_time()

    def finish(self, result: Result) -> None:
        """The operation has its result."""
        self.say(self.machine.finish(result, self.now()))

    async def something_new(self) -> None:
        """Wait until something came or was said."""
        self.news.clear()
        await self.news.wait()

    async def flushed(self) -> None:
        """Wait until what was said is on its way."""
        with suppress(CarrierDown):
            await self._carrier.flushed()

    def close(self) -> None:
        """Wake no more."""
        if self._timer:
            self._timer.cancel()

    def _wake_in_time(self) -> None:
        """A timer that rings too early is harmless, so it is only ever moved forward."""
        when = self.machine.wake_at
        if when == NEVER or (self._timer and self._timer.when() <= when):
            return
        self.close()
        self._timer = self._loop.call_at(when, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.say(self.machine.due(self.now()))


class VerifiedChunks:
    """The data set as the operation takes it: in order, hashed, each one giving new credit."""

    def __init__(self, hosted: SessionDriver[StoreReceiver], sha256: str) -> None:
        self.verified = False
        """Whether every byte was taken and the digest is the announced one."""
        self._hosted = hosted
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        self._in_hand = 0

    def __aiter__(self) -> "VerifiedChunks":
        return self

    async def __anext__(self) -> bytes:
        """The next chunk. Raises OutOfResources when there won't be one, or it is a wrong one."""
        self._give_credit()
        chunk = await self._next()
        if not chunk:
            self._verify()
            raise StopAsyncIteration
        await self._hash(chunk)
        self._in_hand = len(chunk)
        return chunk

    def _give_credit(self) -> None:
        if self._in_hand:
            hosted, length, self._in_hand = self._hosted, self._in_hand, 0
            hosted.say(hosted.machine.consumed(length, hosted.now()))

    async def _next(self) -> bytes:
        machine = self._hosted.machine
        while not machine.broken:
            if machine.arrived:
                return machine.arrived.popleft()
            if machine.complete:
                return b""
            await self._hosted.something_new()
        machine.arrived.clear()
        raise OutOfResources(machine.broken)

    async def _hash(self, chunk: bytes) -> None:
        if len(chunk) <= _HASHED_AT_ONCE:
            self._digest.update(chunk)
        else:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._digest.update, chunk)

    def _verify(self) -> None:
        if self._digest.hexdigest() != self._sha256:
            raise OutOfResources("The data set has not the announced digest")
        self.verified = True


class SessionMatchSink:
    """An `Answering`: matches go out as fast as the proxy takes them."""

    def __init__(self, hosted: SessionDriver[FindSender]) -> None:
        self._hosted = hosted

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants more."""
        machine = self._hosted.machine
        return machine.cancelled or bool(machine.broken)

    async def send(self, match: FindMatch) -> None:
        """Send one match; waits while the proxy has granted no credit."""
        hosted, machine = self._hosted, self._hosted.machine
        while not machine.room and not self.cancelled:
            await hosted.something_new()
        if self.cancelled:
            return
        if said := machine.add(match, hosted.now()):
            hosted.say(said)
            await hosted.flushed()

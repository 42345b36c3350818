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
from dimse_ingestion.transport.protocol.codec import Message, Result, encode
from dimse_ingestion.transport.protocol.find import FindSender
from dimse_ingestion.transport.protocol.messages import FindMatch
from dimse_ingestion.transport.protocol.state import NEVER, SessionState
from dimse_ingestion.transport.protocol.store_receiver import StoreReceiver

_HASH_INLINE_LIMIT = 64 * 1024  # bytes so few that a thread would cost more than hashing them

M_co = TypeVar("M_co", bound=SessionState, covariant=True)


class SessionDriver(Generic[M_co]):
    """A machine, the inbox its words go to, and a timer that wakes it."""

    def __init__(self, carrier: Carrier, machine: M_co, inbox: str) -> None:
        self.machine = machine
        self.wakeup = asyncio.Event()
        """Set whenever something came or was said."""
        self._carrier = carrier
        self._inbox = inbox
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.send([])

    def now(self) -> float:
        """The event loop's time in seconds."""
        return self._loop.time()

    def receive(self, message: Message, inbox: str) -> None:
        """Take a frame of the attempt answered at `inbox`."""
        if inbox == self._inbox:
            self.send(self.machine.receive(message, self.now()))

    def resend_accept_to(self, inbox: str) -> bool:
        """Whether an open of the attempt at `inbox` is the one this session answers already."""
        if inbox == self._inbox:
            self.send(self.machine.accept(self.now()))
        return inbox == self._inbox

    def join(self, inbox: str) -> None:
        """Belong to another attempt of the same operation."""
        self._inbox = inbox
        self.send(self.machine.join(self.now()))

    def send(self, messages: list[Message]) -> None:
        """Send frames to the attempt's inbox. What can't be sent now will be asked for."""
        for message in messages:
            headers, body = encode(message)
            with suppress(CarrierDown):
                self._carrier.publish(
                    self._inbox, body, reply=self.machine.subject, headers=headers
                )
        self.wakeup.set()
        self._schedule_wake()

    def finish(self, result: Result) -> None:
        """The operation has its result."""
        self.send(self.machine.finish(result, self.now()))

    async def wait_for_change(self) -> None:
        """Wait until something came or was said."""
        self.wakeup.clear()
        await self.wakeup.wait()

    async def wait_writable(self) -> None:
        """Wait until what was said is on its way."""
        with suppress(CarrierDown):
            await self._carrier.wait_writable()

    def close(self) -> None:
        """Wake no more."""
        if self._timer:
            self._timer.cancel()

    def _schedule_wake(self) -> None:
        """A timer that rings too early is harmless, so it is only ever moved forward."""
        when = self.machine.wake_at
        if when == NEVER or (self._timer and self._timer.when() <= when):
            return
        self.close()
        self._timer = self._loop.call_at(when, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.send(self.machine.on_timer(self.now()))


class VerifiedChunks:
    """The data set as the operation takes it: in order, hashed, each one giving new credit."""

    def __init__(self, driver: SessionDriver[StoreReceiver], sha256: str) -> None:
        self.verified = False
        """Whether every byte was taken and the digest is the announced one."""
        self._driver = driver
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        self._uncredited = 0

    def __aiter__(self) -> "VerifiedChunks":
        return self

    async def __anext__(self) -> bytes:
        """The next chunk. Raises OutOfResources when there won't be one, or it is a wrong one."""
        self._grant_credit()
        chunk = await self._next()
        if not chunk:
            self._verify()
            raise StopAsyncIteration
        await self._hash(chunk)
        self._uncredited = len(chunk)
        return chunk

    def _grant_credit(self) -> None:
        if self._uncredited:
            driver, length, self._uncredited = self._driver, self._uncredited, 0
            driver.send(driver.machine.consumed(length, driver.now()))

    async def _next(self) -> bytes:
        machine = self._driver.machine
        while not machine.failure_reason:
            if machine.arrived:
                return machine.arrived.popleft()
            if machine.complete:
                return b""
            await self._driver.wait_for_change()
        machine.arrived.clear()
        raise OutOfResources(machine.failure_reason)

    async def _hash(self, chunk: bytes) -> None:
        if len(chunk) <= _HASH_INLINE_LIMIT:
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

    def __init__(self, driver: SessionDriver[FindSender]) -> None:
        self._driver = driver

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants more."""
        machine = self._driver.machine
        return machine.cancelled or bool(machine.failure_reason)

    async def send(self, match: FindMatch) -> None:
        """Send one match; waits while the proxy has granted no credit."""
        driver, machine = self._driver, self._driver.machine
        while not machine.can_add and not self.cancelled:
            await driver.wait_for_change()
        if self.cancelled:
            return
        if messages := machine.add(match, driver.now()):
            driver.send(messages)
            await driver.wait_writable()

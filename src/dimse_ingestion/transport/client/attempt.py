"""One attempt of an operation, driven over a carrier: the asking machines' hands and clock.

It opens, lets the machine (`session`, `sender`, `finding`) decide, publishes what it says, and
wakes it in time. What happens after an attempt is `requester`'s, which message is for which
attempt is `inboxes`'.
"""

import asyncio
from collections.abc import Mapping

from dimse_ingestion.transport.carrier import Carrier, CarrierDown
from dimse_ingestion.transport.contract import Source
from dimse_ingestion.transport.protocol.codec import Data, Message, chunk_size, encoded
from dimse_ingestion.transport.protocol.state import NEVER, AttemptState, Outcome
from dimse_ingestion.transport.protocol.store_sender import StoreSender


class Attempt:
    """One open and what follows; answered at `inbox`."""

    def __init__(self, carrier: Carrier, inbox: str, machine: AttemptState) -> None:
        self.inbox = inbox
        self.machine = machine
        self._carrier = carrier
        self._clock = asyncio.get_running_loop().time
        self._news = asyncio.Event()

    async def run(self, service: str, opening: Message, headers: Mapping[str, str]) -> Outcome:
        """Open, and go on until there is an outcome. Cancelled, it tells the replica so."""
        self._publish(service, opening, headers)
        try:
            while self.machine.outcome is None:
                self._news.clear()
                self._send(self.machine.due(self._clock()))
                await self._move()
                if self.machine.outcome is None:
                    await self._news_or(self.machine.wake_at)
        finally:
            self.say(self.machine.abandon("The operation ended"))
        return self.machine.outcome

    def say(self, frames: list[Message]) -> None:
        """Send frames to the session, and look at the machine again."""
        self._send(frames)
        self._news.set()

    # what happens to it

    def receive(self, frame: Message, subject: str) -> bool:
        """Take a frame that came from the session at `subject`; false if that is not this one's."""
        if subject and self.machine.subject not in ("", subject):
            return False
        self.say(self.machine.receive(frame, self._clock(), subject))
        return True

    def nobody_listened(self) -> None:
        """The server found nobody to take what was sent."""
        self.machine.nobody_listened(self._clock())
        self._news.set()

    def changed(self, *, connected: bool) -> None:
        """The connection broke or is back."""
        if connected:
            self._rechunk()
            self.say(self.machine.restored(self._clock()))
        else:
            self.machine.interrupted(self._clock())
            self._news.set()

    def _send(self, frames: list[Message]) -> None:
        if not self.machine.subject:
            return  # a result that was kept comes from no session any more
        for frame in frames:
            self._publish(self.machine.subject, frame, {})

    # for subclasses

    async def _move(self) -> None:
        """Send what flows."""

    def _rechunk(self) -> None:
        """Another connection may have another maximum payload."""

    def _publish(self, subject: str, frame: Message, more: Mapping[str, str]) -> None:
        """Send one frame; a connection that is down is the machine's matter."""
        headers, body = encoded(frame)
        try:
            self._carrier.publish(subject, body, reply=self.inbox, headers={**headers, **more})
        except CarrierDown:
            self.machine.interrupted(self._clock())

    async def _news_or(self, when: float) -> None:
        try:
            async with asyncio.timeout_at(None if when == NEVER else when):
                await self._news.wait()
        except TimeoutError:
            return


class StoreAttempt(Attempt):
    """One attempt of a C-STORE: reads its source only when a chunk may go."""

    machine: StoreSender

    def __init__(self, carrier: Carrier, inbox: str, machine: StoreSender, source: Source) -> None:
        super().__init__(carrier, inbox, machine)
        self._source = source

    async def _move(self) -> None:
        while piece := self.machine.next_data():
            offset, length = piece
            content = self._source.read(offset, length)
            self._publish(self.machine.subject, Data(offset=offset, content=content), {})
            await self._flushed()
        self._send(self.machine.due(self._clock()))

    async def _flushed(self) -> None:
        try:
            await self._carrier.flushed()
        except CarrierDown:
            self.machine.interrupted(self._clock())

    def _rechunk(self) -> None:
        self.machine.rechunk(chunk_size(self._carrier.maximum_payload))

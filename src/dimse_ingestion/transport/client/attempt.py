"""The driver of one attempt: connects a state machine of `protocol` to a carrier and a clock.

It sends the open, passes messages and the time to the state machine, and publishes the messages
that it returns. `store_attempt` adds the data of a C-STORE. Retries are in `retry`; `inboxes`
routes received messages to attempts.
"""

import asyncio
from collections.abc import Mapping

from dimse_ingestion.transport.carrier import Carrier, CarrierDown
from dimse_ingestion.transport.protocol.codec import Message, encode
from dimse_ingestion.transport.protocol.state import NEVER, AttemptState, Outcome


class Attempt:
    """One attempt of an operation, from its open on; replies arrive at `inbox`."""

    def __init__(self, carrier: Carrier, inbox: str, machine: AttemptState) -> None:
        self.inbox = inbox
        self.machine = machine
        self._carrier = carrier
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._wakeup = asyncio.Event()
        self._flow_continues_at = NEVER
        """When `_send_flow` is to be called although nothing else happens."""

    async def run(self, service: str, opening: Message, headers: Mapping[str, str]) -> Outcome:
        """Send the open and run until there is an outcome; send ABORT when cancelled."""
        self._publish(service, opening, headers)
        try:
            while self.machine.outcome is None:
                self._wakeup.clear()
                self._send(self.machine.on_timer(self._clock()))
                await self._send_flow()
                if self.machine.outcome is None:
                    await self._wait_until(min(self.machine.wake_at, self._flow_continues_at))
        finally:
            self._end_flow()
            self.send(self.machine.abandon("The operation ended"))
        return self.machine.outcome

    def send(self, messages: list[Message]) -> None:
        """Send messages to the session, and wake `run` to check the state machine."""
        self._send(messages)
        self._wakeup.set()

    # events

    def receive(self, message: Message, subject: str) -> bool:
        """Process a message from the session at `subject`; return False for another session."""
        if subject and self.machine.subject not in ("", subject):
            return False
        self.send(self.machine.receive(message, self._clock(), subject))
        return True

    def on_no_responders(self) -> None:
        """Note the server's reply that a message had no subscriber."""
        self.machine.on_no_responders(self._clock())
        self._wakeup.set()

    def on_connection_change(self, *, connected: bool) -> None:
        """Note that the connection was lost or is back."""
        if connected:
            self._update_chunk_size()
            self.send(self.machine.on_reconnect(self._clock()))
        else:
            self.machine.on_disconnect(self._clock())
            self._wakeup.set()

    def _send(self, messages: list[Message]) -> None:
        if not self.machine.subject:
            return  # a cached result comes from no session, so there is nobody to answer
        for message in messages:
            self._publish(self.machine.subject, message, {})

    async def take_rest(self) -> None:
        """Take what arrived with the outcome."""
        await self._send_flow()

    # for subclasses

    async def _send_flow(self) -> None:
        """Send the data that may be sent now."""

    def _end_flow(self) -> None:
        """Note that no more data will be sent."""

    def _update_chunk_size(self) -> None:
        """Adapt to the maximum payload of a new connection."""

    def _publish(self, subject: str, message: Message, more: Mapping[str, str]) -> None:
        """Publish one message; report a lost connection to the state machine."""
        headers, body = encode(message)
        try:
            self._carrier.publish(subject, body, reply=self.inbox, headers={**headers, **more})
        except CarrierDown:
            self.machine.on_disconnect(self._clock())

    async def _wait_until(self, when: float) -> None:
        """Wait until something happens, or the time has come; an early end does no harm."""
        timer = None if when == NEVER else self._loop.call_at(when, self._wakeup.set)
        try:
            await self._wakeup.wait()
        finally:
            if timer is not None:
                timer.cancel()

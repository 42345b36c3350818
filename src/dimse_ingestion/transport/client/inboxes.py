"""The proxy's inboxes: one wildcard subscription that routes messages to attempts.

Each attempt has its own inbox, so that an answer to an older attempt cannot be mistaken for an
answer to this one. A session that still works for an attempt which has ended is sent an ABORT.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.transport.carrier import Carrier, CarrierDown, Delivery, Subscription
from dimse_ingestion.transport.client.attempt import Attempt
from dimse_ingestion.transport.protocol.codec import (
    Abort,
    Busy,
    Leaving,
    MalformedMessage,
    Message,
    Reject,
    Result,
    Unknown,
    decode,
    encode,
)
from dimse_ingestion.transport.protocol.subjects import Subjects, last_token, new_session

_LOG = logger(__name__)
_FINAL_MESSAGES = (Busy, Reject, Result, Leaving, Unknown, Abort)


class Inboxes:
    """The inboxes of one proxy on one carrier."""

    def __init__(
        self, carrier: Carrier, subjects: Subjects, proxy_id: str, *, has_siblings: bool = False
    ) -> None:
        self._carrier = carrier
        self._subjects = subjects
        self._proxy_id = proxy_id
        self._instance_id = new_session()  # another process may be started with the same proxy id
        self._has_siblings = has_siblings  # then each receives only its own messages
        self._attempts: dict[str, Attempt] = {}
        self._reconnected = asyncio.Event()
        self.answered_at = float("-inf")
        """When a replica last sent anything, in the event loop's time."""
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Subscribe to every inbox of this proxy, or of this one of its processes."""
        self._carrier.on_change(self._on_connection_change)
        process = self._instance_id if self._has_siblings else ""
        everything = self._subjects.inboxes(self._proxy_id, process)
        self._subscription = await self._carrier.subscribe(everything, self._take)

    async def close(self) -> None:
        """Unsubscribe."""
        if self._subscription:
            await self._subscription.drain()

    def new(self) -> str:
        """Return the subject of a new inbox."""
        name = f"{self._instance_id}-{new_session()}"
        process = self._instance_id if self._has_siblings else ""
        return self._subjects.inbox(self._proxy_id, name, process)

    @contextmanager
    def registered(self, attempt: Attempt) -> Iterator[None]:
        """Deliver messages at the attempt's inbox to it, for the length of the block."""
        name = last_token(attempt.inbox)
        self._attempts[name] = attempt
        try:
            yield
        finally:
            del self._attempts[name]

    async def pause(self, seconds: float) -> None:
        """Wait for `seconds`; end early when a lost connection returns."""
        if self._carrier.connected:
            await asyncio.sleep(seconds)
            return
        self._reconnected.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._reconnected.wait()

    def _on_connection_change(self, connected: bool) -> None:
        for attempt in list(self._attempts.values()):
            attempt.on_connection_change(connected=connected)
        if connected:
            self._reconnected.set()

    def _take(self, delivery: Delivery) -> None:
        name = last_token(delivery.subject)
        if not name.startswith(self._instance_id) or not self._is_valid_reply(delivery.reply):
            return
        attempt = self._attempts.get(name)
        if delivery.is_no_responders:
            if attempt:
                attempt.on_no_responders()
            return
        try:
            message = decode(delivery.headers, delivery.body)
        except MalformedMessage as error:
            _LOG.warning("A replica's message was dropped.", reason=str(error))
            return
        self.answered_at = asyncio.get_running_loop().time()
        if not (attempt and attempt.receive(message, delivery.reply)):
            self._abort_sender(message, delivery)

    def _is_valid_reply(self, reply: str) -> bool:
        return not reply or self._subjects.is_session(reply)

    def _abort_sender(self, message: Message, delivery: Delivery) -> None:
        if not delivery.reply or isinstance(message, _FINAL_MESSAGES):
            return
        headers, body = encode(Abort(reason="The attempt has ended"))
        with suppress(CarrierDown):
            self._carrier.publish(delivery.reply, body, reply=delivery.subject, headers=headers)

"""The ingestion service's end of the transport: serves `Operations` over any carrier.

It subscribes to the opens in the queue group of all replicas, and to a wildcard for the sessions
of this replica. Callbacks run one at a time, so they only decide and start tasks (`sessions`).
A drain leaves the queue group first: no new operation arrives, and open sessions continue.
"""

import asyncio
import time
from contextlib import suppress

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.tracing import TRACEPARENT
from dimse_ingestion.transport.carrier import Carrier, CarrierDown, Delivery, Subscription
from dimse_ingestion.transport.contract import Operations
from dimse_ingestion.transport.protocol.codec import (
    MalformedMessage,
    Message,
    Reject,
    decode,
    encode,
)
from dimse_ingestion.transport.protocol.subjects import QUEUE, SERVICES, Subjects
from dimse_ingestion.transport.protocol.timeouts import Timeouts
from dimse_ingestion.transport.server.flow_limits import FlowLimits
from dimse_ingestion.transport.server.openings import Opening
from dimse_ingestion.transport.server.sessions import Sessions

_LOG = logger(__name__)
_LOG_INTERVAL = 5.0  # seconds


class TransportServer:
    """One replica; `replica_id` must be new after each start."""

    def __init__(
        self,
        carrier: Carrier,
        subjects: Subjects,
        replica_id: str,
        operations: Operations,
        *,
        timeouts: Timeouts | None = None,
        limits: FlowLimits | None = None,
    ) -> None:
        self._carrier, self._subjects, self._replica_id = carrier, subjects, replica_id
        self._sessions = Sessions(
            carrier,
            subjects,
            replica_id,
            operations,
            timeouts or Timeouts(),
            limits or FlowLimits(),
        )
        self._service_subscriptions: list[Subscription] = []
        self._session_subscription: Subscription | None = None
        self._last_dropped = -_LOG_INTERVAL
        self._unlogged = 0

    @property
    def sessions(self) -> int:
        """Return the number of open sessions."""
        return len(self._sessions)

    async def start(self) -> None:
        """Subscribe to sessions, then to opens: the subject in an ACCEPT is then subscribed."""
        self._carrier.on_change(self._on_connection_change)
        own = self._subjects.replica(self._replica_id)
        self._session_subscription = await self._carrier.subscribe(own, self._on_session_message)
        for service in SERVICES:
            subject = self._subjects.service(service)
            self._service_subscriptions.append(
                await self._carrier.subscribe(subject, self._on_open, queue=QUEUE)
            )

    async def drain(self, deadline: float) -> None:
        """Accept no new operation and finish open ones; send LEAVING after `deadline` seconds."""
        for subscription in self._service_subscriptions:
            await subscription.drain()
        self._service_subscriptions.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await self._sessions.wait_until_idle()
        if self.sessions:
            _LOG.warning(
                "The drain deadline is over: open operations are sent to another replica.",
                sessions=self.sessions,
            )
        await self._sessions.leave()
        with suppress(CarrierDown):
            await self._carrier.wait_writable()

    async def close(self) -> None:
        """End the sessions that a drain left, and unsubscribe; the carrier stays open."""
        await self.drain(0)
        if self._session_subscription:
            await self._session_subscription.drain()
            self._session_subscription = None

    def _on_connection_change(self, connected: bool) -> None:
        if connected:
            self._sessions.on_reconnect()

    def _on_open(self, delivery: Delivery) -> None:
        if not self._subjects.is_inbox(delivery.reply):
            self._log_dropped("An open was dropped: its reply subject is not an inbox.")
            return
        try:
            message = decode(delivery.headers, delivery.body)
        except MalformedMessage as error:
            self._reject(delivery, str(error))
            return
        if isinstance(message, Opening):
            parent = delivery.headers.get(TRACEPARENT, "")
            self._sessions.open(message, delivery.reply, parent)

    def _on_session_message(self, delivery: Delivery) -> None:
        if delivery.is_no_responders:
            return  # the proxy is gone or reconnecting: the lease decides
        if delivery.reply and not self._subjects.is_inbox(delivery.reply):
            self._log_dropped(
                "A message for a session was dropped: its reply subject is not an inbox."
            )
            return
        try:
            message: Message = decode(delivery.headers, delivery.body)
        except MalformedMessage as error:
            self._log_dropped("A message for a session was dropped.", str(error))
            return
        self._sessions.receive(message, delivery)

    def _reject(self, delivery: Delivery, reason: str) -> None:
        self._log_dropped("An open was rejected.", reason)
        headers, body = encode(Reject(status=Status.PROCESSING_FAILURE, comment=reason))
        with suppress(CarrierDown):
            self._carrier.publish(delivery.reply, body, headers=headers)

    def _log_dropped(self, event: str, reason: str = "") -> None:
        """Log a dropped message, at most one in 5 s: whoever may publish could flood the log."""
        now = time.monotonic()
        if now - self._last_dropped < _LOG_INTERVAL:
            self._unlogged += 1
            return
        _LOG.warning(event, reason=reason, unlogged=self._unlogged)
        self._last_dropped, self._unlogged = now, 0

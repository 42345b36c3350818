"""The ingestion service's end of the transport: serves `Operations` over any carrier.

One queue group for what is opened anywhere, one wildcard for this replica's sessions. Callbacks
run one at a time, so they only decide and start tasks (`sessions`). A rolling update begins with
the queue group: what is open goes on while the connection stays.
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
    OpenEcho,
    OpenFind,
    OpenStore,
    Reject,
    decode,
    encode,
)
from dimse_ingestion.transport.protocol.subjects import QUEUE, SERVICES, Subjects
from dimse_ingestion.transport.protocol.timeouts import Timeouts
from dimse_ingestion.transport.server.flow_limits import FlowLimits
from dimse_ingestion.transport.server.sessions import Sessions

_LOG = logger(__name__)
_LOG_INTERVAL = 5.0  # seconds


class TransportServer:
    """One replica; `replica_id` must be another one after each start."""

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
        """Operations at work now."""
        return len(self._sessions)

    async def start(self) -> None:
        """Serve. Sessions first: an open is answered with a subject that is listened to."""
        self._carrier.on_change(self._on_connection_change)
        own = self._subjects.replica(self._replica_id)
        self._session_subscription = await self._carrier.subscribe(own, self._on_session_message)
        for service in SERVICES:
            subject = self._subjects.service(service)
            self._service_subscriptions.append(
                await self._carrier.subscribe(subject, self._on_open, queue=QUEUE)
            )

    async def drain(self, deadline: float) -> None:
        """Take on nothing new, finish what is open; after `deadline` seconds send it elsewhere."""
        for subscription in self._service_subscriptions:
            await subscription.drain()
        self._service_subscriptions.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await self._sessions.wait_until_idle()
        if self.sessions:
            _LOG.warning("Operations are sent to another replica.", sessions=self.sessions)
        await self._sessions.leave()
        with suppress(CarrierDown):
            await self._carrier.wait_writable()

    async def close(self) -> None:
        """End at once what is left of a drain; the carrier stays."""
        await self.drain(0)
        if self._session_subscription:
            await self._session_subscription.drain()
            self._session_subscription = None

    def _on_connection_change(self, connected: bool) -> None:
        if connected:
            self._sessions.on_reconnect()

    def _on_open(self, delivery: Delivery) -> None:
        if not self._subjects.is_inbox(delivery.reply):
            self._log_dropped("An open without an inbox to answer to was dropped.")
            return
        try:
            message = decode(delivery.headers, delivery.body)
        except MalformedMessage as error:
            self._reject(delivery, str(error))
            return
        if isinstance(message, OpenEcho | OpenStore | OpenFind):
            parent = delivery.headers.get(TRACEPARENT, "")
            self._sessions.open(message, delivery.reply, parent)

    def _on_session_message(self, delivery: Delivery) -> None:
        if delivery.is_no_responders:
            return  # the proxy is gone, or about to reconnect: the lease will tell
        if delivery.reply and not self._subjects.is_inbox(delivery.reply):
            self._log_dropped("A message for a session without an inbox was dropped.")
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
        """Log a message that is none of ours, at most one each few seconds: others may flood."""
        now = time.monotonic()
        if now - self._last_dropped < _LOG_INTERVAL:
            self._unlogged += 1
            return
        _LOG.warning(event, reason=reason, unlogged=self._unlogged)
        self._last_dropped, self._unlogged = now, 0

"""The audit trail of one service process: events in, messages to the queue and the repository.

Recording never waits and never fails: a message goes to memory at once, to the disk soon after, and
to the repository in the background. One that the disk can't take is lost, counted and logged.
"""

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

from dimse_ingestion.audit import messages, syslog, xml
from dimse_ingestion.audit.codes import Outcome, Role
from dimse_ingestion.audit.gathering import Alerts, Instances
from dimse_ingestion.audit.messages import Activity, Alert, AskedQuery, AuditMessage, Participant
from dimse_ingestion.audit.queues import AuditQueues, delivered
from dimse_ingestion.background_tasks import background_tasks
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.outbox.outbox import Outbox
from dimse_ingestion.outbox.records import Metadata
from dimse_ingestion.settings.audit import AuditSettings

_LOG = logger(__name__)
_MOST_IN_MEMORY = 10_000  # messages that wait for the disk
_ALERT_INTERVAL = 60.0
_TICK = 5.0  # seconds between looks for gathered messages that are due
_LAST_DELIVERY = 3.0  # seconds at the end for the last messages
_LOG_INTERVAL = 60.0  # seconds between log lines about lost messages


@dataclass(frozen=True, slots=True)
class AuditProcess:
    """The process that reports: its service, of how many processes it is one, its AE titles."""

    service: str
    processes: int = 1
    ae_titles: tuple[str, ...] = ()


class AuditTrail:
    """Takes what happened, within `open_audit_trail`. All methods belong to the event loop."""

    def __init__(self, settings: AuditSettings, process: AuditProcess) -> None:
        host = socket.gethostname()
        self._source = xml.AuditSource(settings.audit_source_id, settings.audit_site_id)
        self._origin = syslog.Origin(host, f"dimse-{process.service}", os.getpid())
        self.itself = Participant(
            user_id=f"{process.service}@{host}:{os.getpid()}",
            address=host,
            ae_titles=process.ae_titles,
            user_name=f"dimse-ingestion {process.service}",
        )
        """This process, as a participant."""
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._has_waiting = asyncio.Event()
        self._writing = asyncio.Lock()
        self._instances = Instances(self.record)
        self._alerts = Alerts(self.record, self.itself, _ALERT_INTERVAL)
        self._lost = 0
        self._logged_loss = float("-inf")

    def record(self, message: AuditMessage) -> None:
        """Queue a message."""
        content = xml.encode(message, self._source)
        encoded = syslog.encode(self._origin, message.time, message.outcome, content)
        if len(self._waiting) >= _MOST_IN_MEMORY:
            metrics.audit_lost.inc()
            self._log_loss("The disk is slow")
            return
        self._waiting.append((time.time(), encoded))
        self._has_waiting.set()

    def record_instance(
        self, scope: Hashable, activity: Activity, sop_class_uid: str, longest: float
    ) -> None:
        """Add one instance to the message of its activity, sent when `scope` ends.

        It is sent after `longest` seconds in any case.
        """
        self._instances.add(scope, activity, sop_class_uid, _now(), longest)

    def end_scope(self, scope: Hashable) -> None:
        """Queue the messages of a scope, such as an association, that has ended."""
        self._instances.end(scope)

    def record_query(
        self, asked: AskedQuery, caller: Participant, answering: Participant, outcome: Outcome
    ) -> None:
        """Queue that `caller` has sent a query to `answering`."""
        participants = (messages.source(caller), messages.destination(answering))
        self.record(messages.query(asked, participants, _now(), outcome))

    def record_alert(self, alert: Alert) -> None:
        """Queue a security alert, or count it if it repeats a recent one."""
        self._alerts.add(alert, _now())

    def record_activity(self, *, starts: bool) -> None:
        """Queue that this application starts or stops."""
        process = replace(self.itself, roles=(Role.APPLICATION,))
        self.record(messages.application_activity(process, _now(), starts=starts))

    def end(self) -> None:
        """Queue all that is gathered, and that the application stops."""
        self._instances.end_due(None)
        self._alerts.end_due(_now(), everything=True)
        self.record_activity(starts=False)

    async def gather(self) -> None:
        """Queue gathered messages when they are due, until cancelled."""
        while True:
            await asyncio.sleep(_TICK)
            self._instances.end_due(_now())
            self._alerts.end_due(_now())

    async def write(self, queue: Outbox) -> None:
        """Make messages durable in `queue`, until cancelled."""
        while True:
            self._has_waiting.clear()
            await self.write_waiting(queue)
            await self._has_waiting.wait()

    async def write_waiting(self, queue: Outbox) -> None:
        """Make all messages durable that wait now, several at once."""
        async with self._writing:  # returns when those under way are durable, too
            while self._waiting:
                some = [self._waiting.popleft() for _ in range(min(100, len(self._waiting)))]
                await asyncio.gather(*(self._write_one(queue, *each) for each in some))

    async def _write_one(self, queue: Outbox, received_at: float, content: bytes) -> None:
        metadata = Metadata(
            operation_id=uuid4().hex,
            received_at=received_at,
            size=len(content),
            sha256="",
            request=b"",
        )
        try:
            await queue.add(metadata, _Content(content))
        except Unavailable as failure:
            self._log_loss(failure.comment)

    def _log_loss(self, reason: str) -> None:
        self._lost += 1
        now = time.monotonic()
        if now - self._logged_loss >= _LOG_INTERVAL:
            self._logged_loss = now
            _LOG.error(
                "Audit messages are lost: the queue can't take them.",
                reason=reason,
                lost=self._lost,
            )


@dataclass(frozen=True, slots=True)
class _Content:
    content: bytes

    def read(self, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`."""
        return self.content[offset : offset + length]


@asynccontextmanager
async def open_audit_trail(
    settings: AuditSettings, process: AuditProcess
) -> AsyncIterator[AuditTrail | None]:
    """Keep an audit trail within the block; the value is None without a repository.

    What earlier processes have left in queues is sent, too. Raises ConfigurationMistake when the
    queue's folder can't be used.
    """
    if settings.audit_repository is None:
        yield None
        return
    trail = AuditTrail(settings, process)
    queues = AuditQueues(settings, process.service, process.processes)
    async with (
        queues.own() as queue,
        delivered(queue, settings) as delivery,
        background_tasks(
            trail.write(queue), trail.gather(), queues.send_left(), name="audit trail"
        ),
    ):
        _LOG.info("The audit trail is on.", repository=str(settings.audit_repository))
        trail.record_activity(starts=True)
        try:
            yield trail
        finally:
            trail.end()
            await trail.write_waiting(queue)
            await delivery.wait_until_sent(_LAST_DELIVERY)


def _now() -> datetime:
    return datetime.now(UTC)

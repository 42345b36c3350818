"""The forwarder: it sends what the outbox has to the service, the oldest first, several at once.

It never gives up: what the service refuses for good becomes a dead letter, what is damaged goes to
the quarantine, and everything else is tried again. Sending twice is harmless, as the object's key
follows from its content and the event's id from operation and key. When to send is decided in
`forwarding_pace`.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import log_context, logger
from dimse_ingestion.outbox.dead_letters import Reason
from dimse_ingestion.outbox.opened_entry import Damaged, OpenedEntry
from dimse_ingestion.outbox.outbox import Outbox
from dimse_ingestion.outbox.waiting import Entry
from dimse_ingestion.proxy.forwarding_pace import Outcome, Pace, PaceLimits, outcome_of
from dimse_ingestion.proxy.spooled_client import decode_request
from dimse_ingestion.transport.contract import TransportClient
from dimse_ingestion.transport.protocol.messages import StoreResult

_LOG = logger(__name__)
_SLOW_LINE = 256 * 1024
"""Bytes per second at which a data set still arrives before its deadline."""
_POLL = 1.0
"""Seconds after which the connection is looked at again, should no callback have come."""
_SHORTEST_PAUSE = 0.01
_ARRIVING = 0.05
"""Seconds after a data set was taken in which others are expected: one is forwarded at a time then,
so that modalities are answered fast, and the backlog is forwarded when they are done."""
_MOST_WHILE_ARRIVING = 0.25
"""The used part of the limit above which forwarding no longer gives way."""
_VERIFIED_AFTER = 1
"""Failures after which the digest of a long data set is compared before it is sent."""


@dataclass(frozen=True, slots=True)
class ForwarderConnection:
    """The way to the service: its client, its connection's problem, if any, and its rate limit."""

    requester: TransportClient
    problem: Callable[[], str]
    rate: Callable[[], float | None] = lambda: None
    """Returns the rate limit now in bytes per second, which all data sets share, or None."""


class Forwarder:
    """Forwards one outbox until cancelled."""

    def __init__(
        self,
        outbox: Outbox,
        connection: ForwarderConnection,
        deadline: float,
        limits: PaceLimits | None = None,
    ) -> None:
        self._outbox = outbox
        self._connection = connection
        self._deadline = deadline
        self._limits = limits or PaceLimits()
        self._pace = Pace(self._limits, random.random)
        self._running: set[asyncio.Task[None]] = set()
        self.last_failure = ""
        """The comment of the last failed attempt; empty after a delivery."""

    def on_connection_change(self, connected: bool) -> None:
        """Try again at once when the connection is back."""
        if connected:
            self._pace.on_reconnect()
            self._outbox.queue.release_delayed()
            self._outbox.added.set()

    async def run(self) -> None:
        """Forward until cancelled; attempts in progress are cancelled, too."""
        try:
            while True:
                self._outbox.added.clear()
                self._start_attempts()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._outbox.added.wait()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def _start_attempts(self) -> None:
        now = _now()
        if self._running and self._gives_way(now):
            return
        while not self._connection.problem() and self._pace.may_start(len(self._running), now):
            entry = self._outbox.queue.take(now)
            if entry is None:
                return
            task = asyncio.create_task(self._attempt(entry), name="forwarding")
            self._running.add(task)
            task.add_done_callback(self._ended)
            if self._gives_way(now):
                return

    def _gives_way(self, now: float) -> bool:
        """Return whether modalities are sending, and the disk has space to let them go first."""
        usage = self._outbox.usage
        has_space = usage.octets < _MOST_WHILE_ARRIVING * usage.limits.octets
        return has_space and now - self._outbox.last_added < _ARRIVING

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._outbox.added.set()

    def _pause(self) -> float | None:
        """Return the seconds until there may be something to do without an event."""
        if not len(self._outbox.queue):
            return None
        now = _now()
        poll = _ARRIVING if self._gives_way(now) else _POLL
        times = (self._pace.wake_at(now), self._outbox.queue.next_due(), now + poll)
        return max(_SHORTEST_PAUSE, min(each for each in times if each is not None) - now)

    async def _attempt(self, entry: Entry) -> None:
        started = _now()
        try:
            await self._forward(entry, started)
        except asyncio.CancelledError:
            self._outbox.queue.put_back(entry, 0.0)
            raise
        except Damaged as damaged:
            metrics.outbox_failures.labels("damaged").inc()
            await self._quarantine(entry, str(damaged))
        except Exception as error:  # noqa: BLE001 - the data set must be tried again
            if isinstance(error, OSError):
                _LOG.error("A data set of the outbox can't be read.", reason=error.strerror)
            else:
                _LOG.exception("Forwarding failed because of an error in this software.")
            self._fail(entry, Outcome.FAILED, started, type(error).__name__)

    async def _forward(self, entry: Entry, started: float) -> None:
        verify = entry.failures >= _VERIFIED_AFTER
        opened = await self._outbox.open_entry(entry, verify=verify)
        try:
            request = decode_request(opened.metadata)
            with log_context(operation_id=request.operation_id):
                requester, deadline = self._connection.requester, self._deadline_of(entry.size)
                result = await requester.store(request, opened, deadline=deadline)
                await self._finish(entry, opened, result, started)
        finally:
            opened.close()

    def _deadline_of(self, size: int) -> float:
        """Return the seconds in which a data set can arrive over a line that others share."""
        rate, share = self._connection.rate(), 1 / self._limits.parallel
        return self._deadline + size / min(_SLOW_LINE, (rate or math.inf) * share)

    async def _finish(
        self, entry: Entry, opened: OpenedEntry, result: StoreResult, started: float
    ) -> None:
        outcome = outcome_of(result)
        if outcome is Outcome.DELIVERED:
            self._delivered(entry, opened)
        elif outcome is Outcome.REFUSED:
            await self._refuse(entry, opened, result)
        else:
            self._fail(entry, outcome, started, f"{result.status:04X}H {result.comment}".strip())

    def _delivered(self, entry: Entry, opened: OpenedEntry) -> None:
        self._outbox.delivered(entry)
        waited = time.time() - opened.metadata.received_at
        _LOG.info("A data set is forwarded.", size=entry.size, waited=round(waited, 3))
        self._succeed()

    async def _refuse(self, entry: Entry, opened: OpenedEntry, result: StoreResult) -> None:
        if entry.done:  # somebody dropped it meanwhile
            self._succeed()
            return
        reason = Reason(
            status=f"{result.status:04X}", comment=result.comment, refused_at=time.time()
        )
        await self._outbox.refuse(entry, opened, reason)
        metrics.outbox_failures.labels("refused").inc()
        _LOG.error(
            "The service refuses a data set that was answered with success: it is a dead letter.",
            status=reason.status,
            reason=result.comment,
        )
        self._succeed()  # the way to the service is up

    def _succeed(self) -> None:
        self.last_failure = ""
        if self._pace.on_delivered(_now()):
            self._outbox.queue.release_delayed()

    def _fail(self, entry: Entry, outcome: Outcome, started: float, reason: str) -> None:
        now = _now()
        entry.failures += 1
        metrics.outbox_failures.labels(outcome.value).inc()
        if reason != self.last_failure or outcome is not Outcome.UNAVAILABLE:
            _LOG.warning("A data set is not forwarded yet.", outcome=outcome.value, reason=reason)
        self.last_failure = reason
        self._pace.on_failure(started, now)
        self._outbox.queue.put_back(entry, now + self._pace.pause_of_one(entry.failures))

    async def _quarantine(self, entry: Entry, reason: str) -> None:
        try:
            await self._outbox.quarantine(entry, reason)
        except OSError as error:
            _LOG.error("The quarantine can't be written.", reason=error.strerror)
            self._outbox.queue.put_back(entry, _now() + _POLL)


def _now() -> float:
    return asyncio.get_running_loop().time()

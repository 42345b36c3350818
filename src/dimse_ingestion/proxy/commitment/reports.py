"""The delivery of a report by N-EVENT-REPORT, with retries until `retry_for` is over.

A report is sent on the association of its request if that is still open, else on a new one to the
AE's configured address. Reports to one AE are sent one at a time, and an AE that is not reached is
tried again after 30 s, doubled up to 30 min, with whichever report is next.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from dimse_ingestion.failures import Failure, Refused
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.proxy.commitment import event_information
from dimse_ingestion.proxy.commitment.event_information import EventType
from dimse_ingestion.proxy.commitment.journal import Entry
from dimse_ingestion.proxy.commitment.transactions import Accepted, Decided
from dimse_ingestion.upper_layer.services import AssociationHandle

_LOG = logger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 1800.0


@dataclass(frozen=True, slots=True)
class Report:
    """A report: from the AE that was called to the one that called it."""

    accepted: Accepted
    decided: Decided

    @property
    def event_type(self) -> EventType:
        """The Event Type ID."""
        return event_information.event_type(self.decided)

    async def encode(self, transfer_syntax_uid: str) -> bytes:
        """Return the Event Information."""
        return await asyncio.to_thread(
            event_information.encode, self.accepted, self.decided, transfer_syntax_uid
        )


class ReportRefused(Refused):
    """The AE has answered the report with a failure."""


class ReportSender(Protocol):
    """Sends N-EVENT-REPORT requests and waits for their response.

    Both methods raise ReportRefused for a response with a failure, and another Failure without
    a response.
    """

    async def send_on(self, association: AssociationHandle, report: Report) -> None:
        """Send a report on an association that the AE has opened."""

    async def send(self, report: Report) -> None:
        """Send a report on a new association to the AE's configured address."""


class _Destination:
    """An AE that gets reports: one at a time, and a pause after each failure to reach it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self._failures = 0
        self._retry_at = float("-inf")

    async def wait(self, longest: float) -> None:
        """Wait until the AE may be tried again, at most `longest` seconds."""
        await asyncio.sleep(max(0.0, min(longest, self._retry_at - _now())))

    def reached(self) -> None:
        """Note that the AE has answered."""
        self._failures = 0

    def not_reached(self) -> None:
        """Note a failure, and start the next pause."""
        self._retry_at = _now() + _pause(self._failures)
        self._failures += 1


class Reporter:
    """Delivers the reports of a storage space; `clock` returns the Unix time."""

    def __init__(
        self,
        sender: ReportSender,
        retry_for: float,
        clock: Callable[[], float],
        space: str = "",
    ) -> None:
        self._sender = sender
        self._retry_for = retry_for
        self._clock = clock
        self._space = space
        self._destinations: dict[str, _Destination] = {}

    async def deliver_on(self, association: AssociationHandle, report: Report) -> bool:
        """Send a report on the association of its request; return whether it has arrived."""
        try:
            await self._sender.send_on(association, report)
        except Failure as failure:
            _LOG.info(
                "The report is sent on a new association.",
                **_log_fields(report.accepted),
                reason=failure.comment,
            )
            return False
        self._record_delivered(report)
        return True

    async def deliver(self, entry: Entry, load: Callable[[], Awaitable[Report]]) -> None:
        """Send a report until it has arrived or is given up; `load` reads it for each attempt."""
        destination = self._destinations.setdefault(entry.calling_ae_title, _Destination())
        refusals = 0
        while (left := self._left(entry)) > 0:
            async with destination.lock:
                await destination.wait(left)
                if self._left(entry) <= 0:
                    break
                outcome = await self._attempt(destination, await load())
            if outcome is _Outcome.DELIVERED:
                return
            if outcome is _Outcome.REFUSED:
                await asyncio.sleep(min(self._left(entry), _pause(refusals)))
                refusals += 1
        self._record_given_up(entry)

    async def _attempt(self, destination: _Destination, report: Report) -> "_Outcome":
        try:
            await self._sender.send(report)
        except Failure as failure:
            metrics.commitment_reports.labels("failed", self._space).inc()
            _LOG.warning(
                "A storage commitment report was not delivered; it is sent again.",
                **_log_fields(report.accepted),
                reason=failure.comment,
            )
            if isinstance(failure, ReportRefused):
                destination.reached()
                return _Outcome.REFUSED
            destination.not_reached()
            return _Outcome.NOT_REACHED
        destination.reached()
        self._record_delivered(report)
        return _Outcome.DELIVERED

    def _record_delivered(self, report: Report) -> None:
        metrics.commitment_reports.labels("delivered", self._space).inc()
        _LOG.info(
            "Storage commitment reported.",
            **_log_fields(report.accepted),
            references=len(report.accepted.references),
            failures=len(report.decided.failures),
        )

    def _record_given_up(self, entry: Entry) -> None:
        metrics.commitment_reports.labels("given_up", self._space).inc()
        _LOG.error(
            "A storage commitment report was given up: the AE has not taken it in time.",
            transaction_uid=entry.transaction_uid,
            calling_ae_title=entry.calling_ae_title,
            seconds=self._retry_for,
        )

    def _left(self, entry: Entry) -> float:
        """Return the seconds until a report is given up."""
        return (entry.decided_at or entry.received_at) + self._retry_for - self._clock()


class _Outcome(Enum):
    DELIVERED = auto()
    NOT_REACHED = auto()
    REFUSED = auto()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _pause(failures: int) -> float:
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 16))


def _log_fields(accepted: Accepted) -> dict[str, str]:
    return {
        "transaction_uid": accepted.transaction_uid,
        "calling_ae_title": accepted.calling_ae_title,
    }

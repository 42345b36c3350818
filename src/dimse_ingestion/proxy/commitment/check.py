"""The decision on a transaction: its references are checked until each has a result.

What is missing at first is looked for again when `grace` is over, because an instance may still be
on its way. What is in this proxy's spool is waited for, without a check; the other references are
decided meanwhile. A service, catalogue or bucket that fails decides nothing: the check is repeated.
When nothing could be found out for `give_up_after`, the references that are left fail with 0213.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dimse_ingestion.dicom.contexts import is_storage
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.proxy.commitment.transactions import Accepted, Decided
from dimse_ingestion.proxy.operation_ids import new_operation_id
from dimse_ingestion.transport.contract import TransportClient
from dimse_ingestion.transport.protocol.messages import (
    MOST_REFERENCES,
    CommitOpen,
    Origin,
    Reference,
)

_LOG = logger(__name__)
_READ_AT_ONCE = 10  # references of a check that reads the objects
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0
_LONGEST_SPOOL_PAUSE = 30.0
_UNDECIDED = (Status.NO_SUCH_SOP_INSTANCE,)


@dataclass(frozen=True, slots=True)
class Pending:
    """Instances that wait to be forwarded, by their position in the question."""

    positions: frozenset[int] = frozenset()
    is_complete: bool = True
    """False if any other instance may wait, too."""


class PendingInstances(Protocol):
    """The instances that this proxy has acknowledged and not forwarded yet."""

    async def pending(self, sop_instance_uids: Sequence[str]) -> Pending:
        """Return which of these instances wait to be forwarded.

        One may be returned that does not wait; its decision then takes longer.
        """


class NothingPending:
    """The `PendingInstances` of a proxy that acknowledges only what is stored."""

    async def pending(self, sop_instance_uids: Sequence[str]) -> Pending:  # noqa: ARG002 - the interface's
        """Return that nothing waits."""
        return Pending()


@dataclass(frozen=True, slots=True)
class CheckPolicy:
    """When and how references are checked; times in seconds."""

    grace: float = 300.0
    give_up_after: float = 7 * 24 * 3600.0
    reads_objects: bool = False
    is_accepted: Callable[[str], bool] = is_storage
    """Whether this AE stores instances of a SOP class."""


@dataclass(slots=True)
class Progress:
    """The state of a transaction's check; `reasons` by the position of the reference."""

    open: set[int]
    grace_from: float
    """From when a missing instance has its grace: the request, or a later check that failed,
    because what is on its way was held up then."""
    spooled_at: dict[int, float] = field(default_factory=dict)
    """When a reference was in the spool at last: from then it has its grace."""
    missing: set[int] = field(default_factory=set)
    """What was looked for since, and is looked for again after its grace."""
    reasons: dict[int, int] = field(default_factory=dict)
    failures: int = 0
    """Checks in a row that found out nothing."""
    spool_pauses: int = 0

    def grace_of(self, position: int) -> float:
        """Return from when a reference has its grace."""
        return max(self.grace_from, self.spooled_at.get(position, 0.0))

    def failed(self) -> dict[int, int]:
        """Return the reasons of the references that are not committed."""
        return {each: reason for each, reason in sorted(self.reasons.items()) if reason}


class Checker:
    """Checks transactions by the ingestion service; `clock` returns the Unix time."""

    def __init__(
        self,
        client: TransportClient,
        pending: PendingInstances,
        policy: CheckPolicy,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._pending = pending
        self._policy = policy
        self._clock = clock

    def start(self, accepted: Accepted) -> Progress:
        """Return the initial state of a transaction's check."""
        return Progress(set(range(len(accepted.references))), accepted.received_at)

    async def advance(self, accepted: Accepted, progress: Progress) -> Decided | float:
        """Check what is open; return the decision, or the seconds until the next check."""
        if accepted.is_duplicate:
            return self._all(accepted, Status.DUPLICATE_TRANSACTION_UID)
        # before the check: an instance is forwarded before it leaves the spool
        spooled = await self._spooled(accepted, progress)
        try:
            await self._check(accepted, progress, spooled)
        except Failure as failure:
            return self._after_failure(accepted, progress, failure)
        progress.failures = 0
        return self._result(accepted, progress, spooled)

    async def _spooled(self, accepted: Accepted, progress: Progress) -> Pending:
        """Return which references are in the spool, by their position in the request."""
        positions = sorted(progress.open)
        references = accepted.references
        found = await self._pending.pending([references[n].sop_instance_uid for n in positions])
        spooled = frozenset(positions[n] for n in found.positions)
        progress.spooled_at |= dict.fromkeys(spooled, self._clock())
        progress.missing -= spooled
        if not found.is_complete:
            progress.grace_from = self._clock()
            progress.missing.clear()
        return Pending(spooled, is_complete=found.is_complete)

    async def _check(self, accepted: Accepted, progress: Progress, spooled: Pending) -> None:
        """Check in batches what is not in the spool and has no grace, and record the decisions."""
        asked_at, grace = self._clock(), self._policy.grace
        is_over = {n for n in progress.open if asked_at >= progress.grace_of(n) + grace}
        due = progress.open - spooled.positions - (progress.missing - is_over)
        for batch in self._batches(sorted(due)):
            references = tuple(accepted.references[each] for each in batch)
            result = await self._client.commit(self._open(accepted, references))
            for position, reason in zip(batch, result.reasons, strict=True):
                is_final = spooled.is_complete and position in is_over
                if not is_final and reason in _UNDECIDED:
                    progress.missing.add(position)
                else:
                    reference = accepted.references[position]
                    progress.reasons[position] = self._reason(reference, reason)
                    progress.open.discard(position)

    def _reason(self, reference: Reference, reason: int) -> int:
        """Return 0122 instead of 0112 for a class that is not stored here."""
        if reason != Status.NO_SUCH_SOP_INSTANCE or self._policy.is_accepted(
            reference.sop_class_uid
        ):
            return reason
        return Status.SOP_CLASS_NOT_SUPPORTED

    def _batches(self, positions: list[int]) -> Iterator[list[int]]:
        most = _READ_AT_ONCE if self._policy.reads_objects else MOST_REFERENCES
        for start in range(0, len(positions), most):
            yield positions[start : start + most]

    def _open(self, accepted: Accepted, references: tuple[Reference, ...]) -> CommitOpen:
        return CommitOpen(
            operation_id=new_operation_id(),
            references=references,
            origin=Origin(
                calling_ae_title=accepted.calling_ae_title,
                called_ae_title=accepted.called_ae_title,
            ),
            reads_objects=self._policy.reads_objects,
        )

    def _after_failure(
        self, accepted: Accepted, progress: Progress, failure: Failure
    ) -> Decided | float:
        log = _LOG.debug if progress.failures else _LOG.warning
        log(
            "Storage commitment waits: its references could not be checked.",
            transaction_uid=accepted.transaction_uid,
            calling_ae_title=accepted.calling_ae_title,
            open=len(progress.open),
            reason=failure.comment,
        )
        if self._clock() >= accepted.received_at + self._policy.give_up_after:
            return self._given_up(progress)
        progress.grace_from = self._clock()
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(progress.failures, 16))
        progress.failures += 1
        return pause

    def _result(self, accepted: Accepted, progress: Progress, spooled: Pending) -> Decided | float:
        if not progress.open:
            return self._decided(progress.failed())
        now = self._clock()
        if now >= accepted.received_at + self._policy.give_up_after:
            return self._given_up(progress)
        graces = map(progress.grace_of, progress.open - spooled.positions)
        pauses = [max(0.0, each + self._policy.grace - now) for each in graces]
        if not spooled.is_complete:
            pauses.clear()
        if spooled.positions or not spooled.is_complete:
            pauses.append(min(_LONGEST_SPOOL_PAUSE, 2.0 ** min(progress.spool_pauses, 16)))
            progress.spool_pauses += 1
        return min(pauses)

    def _given_up(self, progress: Progress) -> Decided:
        for each in progress.open:
            progress.reasons[each] = Status.RESOURCE_LIMITATION
        return self._decided(progress.failed())

    def _all(self, accepted: Accepted, reason: Status) -> Decided:
        return self._decided(dict.fromkeys(range(len(accepted.references)), int(reason)))

    def _decided(self, failures: Mapping[int, int]) -> Decided:
        return Decided(decided_at=self._clock(), failures=dict(failures))


def count_reasons(accepted: Accepted, decided: Decided) -> Iterable[tuple[str, int]]:
    """Yield each Failure Reason of a decision in hexadecimal, with its number of references."""
    reasons = [f"{reason:04X}" for reason in decided.failures.values()]
    yield "0000", len(accepted.references) - len(reasons)
    for reason in sorted(set(reasons)):
        yield reason, reasons.count(reason)

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure, Refused, Unavailable
from dimse_ingestion.proxy.commitment.check import Checker, CheckPolicy, Pending, count_reasons
from dimse_ingestion.proxy.commitment.transactions import Accepted, Decided
from dimse_ingestion.transport.protocol.messages import CommitOpen, CommitResult
from tests.unit.proxy.commitment_examples import STARTED_AT, accepted, clock, references
from tests.unit.proxy.fakes import FakeRequester
from tests.unit.transport.virtual_time import run_in_virtual_time

HOUR = 3600.0


@dataclass
class Service(FakeRequester):
    """An ingestion service that stores instances at certain times."""

    stored_at: dict[str, float] = field(default_factory=dict)
    """SOP Instance UID → the time from which it is stored."""
    reasons: dict[str, int] = field(default_factory=dict)
    fails: Callable[[float], Failure | None] = lambda _: None
    checks: list[tuple[float, int]] = field(default_factory=list)
    """Time and number of references of each."""

    async def commit(self, open_: CommitOpen) -> CommitResult:
        now = asyncio.get_running_loop().time()
        self.opens.append(open_)
        self.checks.append((now, len(open_.references)))
        if failure := self.fails(now):
            raise failure
        uids = [each.sop_instance_uid for each in open_.references]
        return CommitResult(status=0, reasons=tuple(self._reason(uid, now) for uid in uids))

    def _reason(self, uid: str, now: float) -> int:
        if uid in self.reasons:
            return self.reasons[uid]
        return 0 if now >= self.stored_at.get(uid, 0.0) else Status.NO_SUCH_SOP_INSTANCE


class Spool:
    """Instances that are forwarded at certain times; until one of them any other may wait."""

    def __init__(self, until: dict[str, float], unknown_until: float = 0.0) -> None:
        self._until = until
        self._unknown_until = unknown_until

    async def pending(self, sop_instance_uids: Sequence[str]) -> Pending:
        now = asyncio.get_running_loop().time()
        waiting = (n for n, uid in enumerate(sop_instance_uids) if now < self._until.get(uid, 0.0))
        return Pending(frozenset(waiting), is_complete=now >= self._unknown_until)


def decide(
    service: Service,
    request: Accepted,
    policy: CheckPolicy | None = None,
    spool: Spool | None = None,
) -> tuple[dict[int, int], float]:
    """Return the failures of the decision, and the seconds until it was made."""

    async def it() -> tuple[dict[int, int], float]:
        checker = Checker(service, spool or Spool({}), policy or CheckPolicy(), clock)
        progress = checker.start(request)
        result = await checker.advance(request, progress)
        while not isinstance(result, Decided):
            await asyncio.sleep(result)
            result = await checker.advance(request, progress)
        return result.failures, result.decided_at - STARTED_AT

    return run_in_virtual_time(it(), within=30 * 24 * HOUR)


def test_what_is_stored_is_decided_at_once() -> None:
    failures, seconds = decide(Service(), accepted(3))
    assert failures == {}
    assert seconds < 1


def test_what_is_missing_is_looked_for_again_after_the_grace() -> None:
    service = Service(stored_at={"1.2.3.2": 200.0, "1.2.3.3": 1e9})
    failures, seconds = decide(service, accepted(3), CheckPolicy(grace=300))
    assert failures == {2: Status.NO_SUCH_SOP_INSTANCE}
    assert seconds == pytest.approx(300, abs=1)
    assert [count for _, count in service.checks] == [3, 2]


def test_after_a_restart_the_grace_is_not_waited_for_again() -> None:
    service = Service(stored_at={"1.2.3.1": 1e9})
    _, seconds = decide(service, accepted(1, received_at=STARTED_AT - 1000), CheckPolicy(grace=300))
    assert seconds < 1


def test_a_conflict_and_a_damaged_object_are_decided_at_once() -> None:
    service = Service(reasons={"1.2.3.1": 0x0119, "1.2.3.3": 0x0110})
    failures, seconds = decide(service, accepted(3))
    assert failures == {0: 0x0119, 2: 0x0110}
    assert seconds < 1


def test_a_class_that_is_not_stored_here_has_its_own_reason() -> None:
    service = Service(stored_at={"1.2.3.1": 1e9, "1.2.3.2": 1e9})
    print_class = "1.2.840.10008.5.1.1.1"
    request = accepted(references=(*references(1), *references(2, print_class)[1:]))
    failures, _ = decide(service, request)
    assert failures == {0: Status.NO_SUCH_SOP_INSTANCE, 1: Status.SOP_CLASS_NOT_SUPPORTED}


def test_a_stored_instance_of_a_class_that_is_no_longer_accepted_is_committed() -> None:
    policy = CheckPolicy(is_accepted=lambda _: False)
    assert decide(Service(), accepted(2), policy)[0] == {}


@pytest.mark.parametrize("failure", [Unavailable("Down."), Refused("Denied.")])
def test_a_service_that_fails_for_an_hour_decides_nothing(failure: Failure) -> None:
    service = Service(fails=lambda now: failure if now < HOUR else None)
    failures, seconds = decide(service, accepted(3))
    assert failures == {}
    assert HOUR <= seconds < HOUR + 301


def test_what_is_missing_has_its_grace_again_when_the_service_is_back() -> None:
    service = Service(
        fails=lambda now: Unavailable("Down.") if now < HOUR else None,
        stored_at={"1.2.3.2": 1e9},
    )
    failures, seconds = decide(service, accepted(3), CheckPolicy(grace=300))
    assert failures == {1: Status.NO_SUCH_SOP_INSTANCE}
    assert HOUR < seconds < HOUR + 301


def test_a_service_that_fails_in_the_second_batch_is_asked_for_the_rest_only() -> None:
    service = Service()
    service.fails = lambda _: Unavailable("Down.") if len(service.checks) == 2 else None
    assert decide(service, accepted(250))[0] == {}
    assert [count for _, count in service.checks] == [100, 100, 100, 50]


def test_checks_are_repeated_less_and_less_often() -> None:
    service = Service(fails=lambda now: Unavailable("Down.") if now < HOUR else None)
    decide(service, accepted(1))
    times = [time for time, _ in service.checks]
    pauses = [round(after - before) for before, after in pairwise(times)]
    assert pauses[:7] == [5, 10, 20, 40, 80, 160, 300]
    assert set(pauses[7:]) == {300}


def test_what_can_not_be_checked_in_time_fails_for_lack_of_resources() -> None:
    service = Service(fails=lambda _: Unavailable("Down."))
    failures, seconds = decide(service, accepted(2), CheckPolicy(give_up_after=2 * HOUR))
    assert failures == dict.fromkeys((0, 1), Status.RESOURCE_LIMITATION)
    assert 2 * HOUR <= seconds < 2 * HOUR + 301


def test_what_is_in_the_spool_is_waited_for() -> None:
    service = Service(stored_at={"1.2.3.2": 2 * HOUR})
    spool = Spool({"1.2.3.2": 2 * HOUR})
    failures, seconds = decide(service, accepted(3), CheckPolicy(grace=300), spool)
    assert failures == {}
    assert 2 * HOUR <= seconds < 2 * HOUR + 31
    assert [count for _, count in service.checks] == [2, 1]


def test_what_is_in_the_spool_holds_up_no_other_reference() -> None:
    """Missing ones have their result after the grace; the report is for all of them."""
    service = Service(stored_at={"1.2.3.1": HOUR, "1.2.3.3": 1e9})
    spool = Spool({"1.2.3.1": HOUR})
    failures, seconds = decide(service, accepted(3), CheckPolicy(grace=300), spool)
    assert failures == {2: Status.NO_SUCH_SOP_INSTANCE}
    assert HOUR <= seconds < HOUR + 31
    assert [count for _, count in service.checks] == [2, 1, 1]
    assert service.checks[1][0] == pytest.approx(300, abs=31)


def test_an_instance_that_comes_into_the_spool_after_the_request_is_waited_for() -> None:
    service = Service(stored_at={"1.2.3.1": HOUR})

    class LateSpool(Spool):
        async def pending(self, sop_instance_uids: Sequence[str]) -> Pending:
            is_there = asyncio.get_running_loop().time() > 100
            return await super().pending(sop_instance_uids) if is_there else Pending()

    late = LateSpool({"1.2.3.1": HOUR})
    assert decide(service, accepted(1), CheckPolicy(grace=300), late)[0] == {}


def test_nothing_is_missing_while_it_is_not_known_what_waits() -> None:
    service = Service(stored_at={"1.2.3.1": HOUR, "1.2.3.2": 1e9})
    spool = Spool({}, unknown_until=HOUR)
    failures, seconds = decide(service, accepted(3), CheckPolicy(grace=300), spool)
    assert failures == {1: Status.NO_SUCH_SOP_INSTANCE}
    assert HOUR < seconds < HOUR + 331


@pytest.mark.parametrize("grace", [0, 300])
def test_without_a_grace_it_is_waited_for_too(grace: float) -> None:
    service = Service(stored_at={"1.2.3.1": HOUR})
    spool = Spool({}, unknown_until=HOUR)
    assert decide(service, accepted(1), CheckPolicy(grace=grace), spool)[0] == {}


def test_what_leaves_the_spool_soon_is_decided_soon() -> None:
    service = Service(stored_at={"1.2.3.1": 3.0})
    failures, seconds = decide(service, accepted(1), spool=Spool({"1.2.3.1": 3.0}))
    assert failures == {}
    assert seconds < 5


def test_what_is_stored_is_committed_though_the_spool_may_have_it() -> None:
    failures, seconds = decide(Service(), accepted(2), spool=Spool({}, unknown_until=1e9))
    assert (failures, round(seconds)) == ({}, 0)


def test_what_left_the_spool_has_the_grace_to_reach_the_catalogue() -> None:
    service = Service(stored_at={"1.2.3.1": HOUR + 100})
    spool = Spool({"1.2.3.1": HOUR})
    assert decide(service, accepted(1), CheckPolicy(grace=300), spool)[0] == {}


def test_what_left_the_spool_without_being_stored_fails() -> None:
    service = Service(stored_at={"1.2.3.1": 1e9})
    spool = Spool({"1.2.3.1": HOUR})
    failures, seconds = decide(service, accepted(1), CheckPolicy(grace=300), spool)
    assert failures == {0: Status.NO_SUCH_SOP_INSTANCE}
    assert seconds < HOUR + 400


def test_a_spool_that_is_never_emptied_ends_the_wait_too() -> None:
    policy = CheckPolicy(give_up_after=2 * HOUR)
    service = Service(stored_at={"1.2.3.2": 1e9})
    failures, _ = decide(service, accepted(2), policy, Spool({"1.2.3.2": 1e9}))
    assert failures == {1: Status.RESOURCE_LIMITATION}


def test_a_duplicate_transaction_uid_fails_for_every_reference_without_a_check() -> None:
    service = Service()
    failures, _ = decide(service, accepted(2, is_duplicate=True))
    assert failures == dict.fromkeys((0, 1), Status.DUPLICATE_TRANSACTION_UID)
    assert service.checks == []


def test_reading_objects_takes_smaller_batches() -> None:
    service = Service()
    decide(service, accepted(25), CheckPolicy(reads_objects=True))
    assert [count for _, count in service.checks] == [10, 10, 5]
    assert all(each.reads_objects for each in service.opens)  # type: ignore[union-attr] # all are of commit


def test_the_origin_names_the_ae_that_asked() -> None:
    service = Service()
    decide(service, accepted(1))
    origin = service.opens[0].origin
    assert (origin.calling_ae_title, origin.called_ae_title) == ("CT1", "DICOM-INGEST")


def test_reasons_are_counted() -> None:
    decided = Decided(decided_at=1.0, failures={0: 0x0112, 2: 0x0112, 3: 0x0110})
    assert dict(count_reasons(accepted(5), decided)) == {"0000": 2, "0110": 1, "0112": 2}

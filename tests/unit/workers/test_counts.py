from pathlib import Path

from dimse_ingestion.proxy.acceptance import Admission
from dimse_ingestion.spooling.spool import Limits, Spool
from dimse_ingestion.upper_layer.services import Acceptance
from dimse_ingestion.workers.counts import Kind, LocalCount, SharedCounts
from tests.unit.proxy.fakes import association_request, proxy_settings


def test_a_count_is_the_sum_over_all_workers_and_each_kind_is_its_own(tmp_path: Path) -> None:
    first = SharedCounts(tmp_path / "counts", 2).count(1, Kind.ASSOCIATIONS)
    of_second = SharedCounts(tmp_path / "counts", 2)  # as another process maps the same file
    second = of_second.count(2, Kind.ASSOCIATIONS)
    first.add(3)
    second.add(4)
    second.add(-1)
    assert (first.own, second.own) == (3, 3)
    assert first.total == second.total == 6
    assert of_second.count(2, Kind.SPOOL_DISK).total == 0


def test_the_counts_of_a_worker_that_has_ended_are_cleared(tmp_path: Path) -> None:
    counts = SharedCounts(tmp_path / "counts", 3)
    for worker in (1, 2, 3):
        for kind in Kind:
            counts.count(worker, kind).add(10)
    counts.clear(2)
    assert [counts.count(1, kind).total for kind in Kind] == [20] * len(Kind)
    assert counts.count(2, Kind.SPOOL_MEMORY).own == 0


def test_the_count_of_a_single_process_is_its_own() -> None:
    count = LocalCount()
    count.add(2)
    assert count.total == count.own == 2


def test_the_limit_of_associations_holds_over_all_workers(tmp_path: Path) -> None:
    counts = SharedCounts(tmp_path / "counts", 2)
    settings = proxy_settings(maximum_associations=3)
    admissions = [
        Admission(settings, lambda: "", counts.count(worker, Kind.ASSOCIATIONS))
        for worker in (1, 2)
    ]
    requests = [association_request(association_id=str(number)) for number in range(4)]
    decisions = [admissions[n % 2].decide(request) for n, request in enumerate(requests)]
    assert [isinstance(each, Acceptance) for each in decisions] == [True, True, True, False]
    admissions[0].association_ended(requests[0], "released")
    assert isinstance(admissions[1].decide(requests[3]), Acceptance)


def test_the_limits_of_the_spool_hold_over_all_workers(tmp_path: Path) -> None:
    counts = SharedCounts(tmp_path / "counts", 2)
    first, second = (
        Spool(
            tmp_path,
            Limits(memory_in_all=100, disk=100),
            counts.count(worker, Kind.SPOOL_MEMORY),
            counts.count(worker, Kind.SPOOL_DISK),
        )
        for worker in (1, 2)
    )
    first.count(memory=60, disk=95)
    assert second.is_memory_scarce(50, held=0)
    assert not second.is_memory_scarce(40, held=0)
    assert "95 of 100 bytes" in second.problem
    first.close()
    second.close()

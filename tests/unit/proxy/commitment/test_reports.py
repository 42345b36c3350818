import asyncio
from itertools import pairwise

import pytest
from prometheus_client import REGISTRY

from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.proxy.commitment.journal import Entry
from dimse_ingestion.proxy.commitment.reports import Report, Reporter, ReportRefused
from dimse_ingestion.proxy.commitment.transactions import Decided
from tests.unit.proxy.commitment_examples import STARTED_AT, FakeSender, accepted, clock
from tests.unit.proxy.fakes import Association
from tests.unit.transport.virtual_time import run_in_virtual_time

HOUR, WEEK = 3600.0, 7 * 24 * 3600.0
DOWN = Unavailable("The AE is not reached.")


def entry(number: int = 1, calling_ae_title: str = "CT1") -> Entry:
    return Entry(
        id=f"t{number}",
        transaction_uid=f"1.2.{number}",
        calling_ae_title=calling_ae_title,
        called_ae_title="DICOM-INGEST",
        received_at=STARTED_AT,
        references=3,
        digest=b"",
        length=100,
        decided_at=STARTED_AT,
    )


async def report() -> Report:
    return Report(accepted(), Decided(decided_at=STARTED_AT, failures={}))


def count(outcome: str) -> float:
    name = "dimse_commitment_reports_total"
    return REGISTRY.get_sample_value(name, {"outcome": outcome, "space": ""}) or 0.0


def delivered_after(failures: list[Failure], retry_for: float = WEEK) -> FakeSender:
    sender = FakeSender(failures)

    async def it() -> None:
        await Reporter(sender, retry_for, clock).deliver(entry(), report)

    run_in_virtual_time(it(), within=30 * 24 * HOUR)
    return sender


def test_a_report_is_sent_once_if_it_arrives() -> None:
    before = count("delivered")
    sender = delivered_after([])
    assert len(sender.sent) == 1
    assert count("delivered") == before + 1


def test_an_ae_that_is_down_for_an_hour_gets_its_report() -> None:
    sender = delivered_after([DOWN] * 7)
    assert len(sender.sent) == 1
    pauses = [round(after - before) for before, after in pairwise(sender.attempts)]
    assert pauses == [30, 60, 120, 240, 480, 960, 1800]
    assert sum(pauses) > HOUR


def test_pauses_grow_no_further_than_half_an_hour() -> None:
    sender = delivered_after([DOWN] * 20)
    pauses = [round(after - before) for before, after in pairwise(sender.attempts)]
    assert pauses[6:] == [1800] * 14


def test_a_report_is_given_up_after_a_week_and_counted() -> None:
    before = count("given_up")
    sender = delivered_after([DOWN] * 1000)
    assert sender.sent == []
    assert WEEK - 1800 <= sender.attempts[-1] < WEEK
    assert count("given_up") == before + 1


def test_a_report_that_the_ae_refuses_is_sent_again_too() -> None:
    sender = delivered_after([ReportRefused("0110")] * 3)
    pauses = [round(after - before) for before, after in pairwise(sender.attempts)]
    assert pauses == [30, 60, 120]
    assert len(sender.sent) == 1


def test_a_refused_report_holds_up_no_other_of_its_ae() -> None:
    sender = FakeSender([ReportRefused("0110")])

    async def it() -> None:
        reporter = Reporter(sender, WEEK, clock)
        first = asyncio.create_task(reporter.deliver(entry(1), report))
        second = asyncio.create_task(reporter.deliver(entry(2), report))
        await second
        assert asyncio.get_running_loop().time() < 1
        await first

    run_in_virtual_time(it())


def test_an_ae_that_is_down_is_tried_at_the_same_rate_for_many_reports() -> None:
    sender = FakeSender([DOWN] * 5)

    async def it() -> None:
        reporter = Reporter(sender, WEEK, clock)
        await asyncio.gather(*(reporter.deliver(entry(each), report) for each in range(100)))

    run_in_virtual_time(it(), within=WEEK)
    pauses = [round(after - before) for before, after in pairwise(sender.attempts)]
    assert pauses[:5] == [30, 60, 120, 240, 480]
    assert sum(pauses[5:]) == 0  # once it is reached, all are sent
    assert len(sender.sent) == 100


def test_an_ae_that_is_down_holds_up_no_other_ae() -> None:
    class OneDown(FakeSender):
        async def send(self, report: Report) -> None:
            if report.accepted.calling_ae_title == "DOWN":
                raise DOWN
            await super().send(report)

    sender = OneDown()

    async def it() -> None:
        async def of_down() -> Report:
            return Report(
                accepted(calling_ae_title="DOWN"), Decided(decided_at=STARTED_AT, failures={})
            )

        reporter = Reporter(sender, WEEK, clock)
        waiting = asyncio.create_task(reporter.deliver(entry(1, "DOWN"), of_down))
        await asyncio.sleep(1)
        await reporter.deliver(entry(2), report)
        assert asyncio.get_running_loop().time() < 2
        waiting.cancel()

    run_in_virtual_time(it())


@pytest.mark.parametrize("same_association", [True, False])
async def test_the_association_of_the_request_is_used_if_it_takes_the_report(
    *, same_association: bool
) -> None:
    sender = FakeSender(same_association=same_association)
    reporter = Reporter(sender, WEEK, clock)
    assert await reporter.deliver_on(Association(), await report()) is same_association
    assert len(sender.sent_on) == same_association

import asyncio

import pytest

from dimse_ingestion.failures import AccessDenied, Unavailable
from dimse_ingestion.transport.protocol.messages import MOST_REFERENCES, CommitResult
from dimse_ingestion.transport.protocol.subjects import Subjects
from tests.unit.transport.client_server import (
    KIB,
    ROOT,
    FakeOperations,
    client_server_pair,
    commit_open,
)
from tests.unit.transport.virtual_time import run_in_virtual_time


def test_the_reasons_arrive_in_the_order_of_the_references() -> None:
    class Conflict(FakeOperations):
        async def commit(self, open_: object) -> CommitResult:
            return CommitResult(status=0, reasons=(0, 0x0112, 0x0119))

    async def it() -> None:
        async with client_server_pair(Conflict()) as both:
            assert (await both.requester.commit(commit_open())).reasons == (0, 0x0112, 0x0119)

    run_in_virtual_time(it())


def test_the_most_references_of_the_longest_uids_fit_a_small_payload() -> None:
    async def it() -> None:
        replica = FakeOperations()
        longest = commit_open(count=MOST_REFERENCES)
        uids = tuple(
            type(each)(f"1.2.{number:060}", f"1.3.{number:060}")
            for number, each in enumerate(longest.references)
        )
        open_ = type(longest)(operation_id="long", references=uids, origin=longest.origin)
        async with client_server_pair(replica, maximum_payload=64 * KIB) as both:
            await both.requester.commit(open_)
        assert replica.commit_opens == [open_]

    run_in_virtual_time(it())


def test_more_references_than_the_most_are_rejected() -> None:
    async def it() -> None:
        replica = FakeOperations()
        async with client_server_pair(replica, maximum_payload=64 * KIB) as both:
            with pytest.raises(Unavailable, match="malformed"):
                await both.requester.commit(commit_open(count=MOST_REFERENCES + 1))
        assert replica.commit_opens == []

    run_in_virtual_time(it())


def test_a_service_of_an_older_release_is_unavailable_not_a_failure_of_references() -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations()) as both:
            carrier = both.replicas[0]
            subject = Subjects(ROOT).service("commit")
            older = [each for each in carrier.subscriptions if each.subject != subject]
            carrier.subscriptions[:] = older
            with pytest.raises(Unavailable, match="No replica is subscribed"):
                await both.requester.commit(commit_open())
            assert (await both.store(b"image")).status == 0

    run_in_virtual_time(it())


@pytest.mark.parametrize("failure", [Unavailable("Down."), AccessDenied("No."), KeyError("bug")])
def test_a_failed_check_has_no_reason_for_any_reference(failure: Exception) -> None:
    async def it() -> None:
        async with client_server_pair(FakeOperations(failures=[failure])) as both:
            with pytest.raises(Unavailable):
                await both.requester.commit(commit_open())

    run_in_virtual_time(it())


def test_a_result_without_a_reason_for_each_reference_is_not_believed() -> None:
    class Short(FakeOperations):
        async def commit(self, open_: object) -> CommitResult:
            return CommitResult(status=0, reasons=(0,))

    async def it() -> None:
        async with client_server_pair(Short()) as both:
            with pytest.raises(Unavailable, match="no result"):
                await both.requester.commit(commit_open())

    run_in_virtual_time(it())


def test_a_check_that_reads_objects_may_take_longer_than_a_store() -> None:
    async def it() -> None:
        replica = FakeOperations(finish_seconds=300)
        async with client_server_pair(replica) as both:
            await both.requester.commit(commit_open())
            assert asyncio.get_running_loop().time() > 300
        assert len(replica.commit_opens) == 1

    run_in_virtual_time(it())


def test_another_replica_answers_when_the_first_one_is_gone() -> None:
    async def it() -> None:
        first, second = FakeOperations("r1", finish_seconds=1e6), FakeOperations("r2")
        async with client_server_pair(first) as both:
            check = asyncio.create_task(both.requester.commit(commit_open()))
            await asyncio.sleep(1)
            await both.add_replica(second, "r2")
            await both.responders[0].drain(0)
            assert (await check).reasons == (0, 0, 0)

    run_in_virtual_time(it())

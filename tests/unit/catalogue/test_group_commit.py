"""Events are committed in batches, and each request gets the outcome of its own event."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from threading import Event

import pytest

from dimse_ingestion.catalogue.group_commit import Commit, GroupCommit
from dimse_ingestion.catalogue.record import Outcome
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.failures import Failure, Unavailable
from tests.instances import event


class Commits:
    """Commits that wait for `go_on`, and record their sizes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.started = Event()
        self.go_on = Event()
        self.failing: Exception | None = None

    def __call__(self, events: Sequence[ImageStoredEvent]) -> list[Outcome]:
        self.sizes.append(len(events))
        self.started.set()
        assert self.go_on.wait(10)
        if self.failing:
            raise self.failing
        return [ValueError("no") if each.id.startswith("bad") else "new" for each in events]


@asynccontextmanager
async def group_commit(commit: Commit, most: int = 10) -> AsyncIterator[GroupCommit]:
    group = GroupCommit(commit, most)
    running = asyncio.create_task(group.run())
    yield group
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def submit(group: GroupCommit, name: str) -> Outcome:
    [outcome] = await group.submit([event(name)])
    if isinstance(outcome, Failure):
        raise outcome
    return outcome


def submit_all(group: GroupCommit, *names: str) -> "list[asyncio.Task[Outcome]]":
    return [asyncio.create_task(submit(group, name)) for name in names]


async def started(commits: Commits) -> None:
    assert await asyncio.to_thread(commits.started.wait, 10)


async def test_events_that_arrive_during_a_commit_form_the_next_ones() -> None:
    commits = Commits()
    async with group_commit(commits) as group:
        first = submit_all(group, "a")
        await started(commits)
        rest = submit_all(group, *(f"b{number}" for number in range(14)))
        await asyncio.sleep(0)
        assert not any(each.done() for each in (*first, *rest))
        commits.go_on.set()
        assert await asyncio.gather(*first, *rest) == ["new"] * 15
    assert commits.sizes == [1, 10, 4]


async def test_a_refused_event_does_not_fail_its_batch() -> None:
    commits = Commits()
    commits.go_on.set()
    async with group_commit(commits) as group:
        good, bad = await asyncio.gather(*submit_all(group, "a", "bad"))
    assert good == "new"
    assert isinstance(bad, ValueError)


@pytest.mark.parametrize(
    "problem", [Unavailable("The disk is full."), RuntimeError("a mistake of ours")]
)
async def test_a_failed_commit_fails_all_its_events_and_the_next_one_works(
    problem: Exception,
) -> None:
    commits = Commits()
    commits.go_on.set()
    commits.failing = problem
    async with group_commit(commits) as group:
        failed = await asyncio.gather(*submit_all(group, "a", "b"), return_exceptions=True)
        assert all(isinstance(each, Unavailable) and each.transient for each in failed)
        assert group.problem
        commits.failing = None
        assert await asyncio.gather(*submit_all(group, "c")) == ["new"]
        assert group.problem == ""


async def test_events_that_wait_at_shutdown_get_an_outcome() -> None:
    commits = Commits()
    async with group_commit(commits) as group:
        waiting = submit_all(group, "a")
        await started(commits)
        waiting += submit_all(group, "b")
        await asyncio.sleep(0)
        commits.go_on.set()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert outcome == "new" or (isinstance(outcome, Unavailable) and outcome.transient)


async def test_an_event_whose_request_is_cancelled_is_not_committed() -> None:
    commits = Commits()
    async with group_commit(commits) as group:
        submit_all(group, "a")
        await started(commits)
        [cancelled] = submit_all(group, "b")
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        remaining = submit_all(group, "c")
        commits.go_on.set()
        await asyncio.gather(*remaining)
    assert commits.sizes == [1, 1]


async def test_the_events_of_a_request_are_committed_together_with_an_outcome_each() -> None:
    commits = Commits()
    commits.go_on.set()
    async with group_commit(commits) as group:
        assert await group.submit([]) == []
        good, bad, also_good = await group.submit([event("a"), event("bad"), event("b")])
        assert (good, also_good) == ("new", "new")
        assert isinstance(bad, ValueError)
        commits.failing = Unavailable("The disk is full.")
        failed = await group.submit([event("a"), event("b")])
    assert [type(each) for each in failed] == [Unavailable] * 2
    assert commits.sizes == [3, 2]


async def test_a_request_may_have_more_events_than_a_commit() -> None:
    commits = Commits()
    commits.go_on.set()
    async with group_commit(commits, most=2) as group:
        outcomes = await group.submit([event(each) for each in ("a", "b", "bad", "c", "d")])
    assert [isinstance(each, ValueError) for each in outcomes] == [False, False, True, False, False]
    assert commits.sizes == [2, 2, 1]


async def test_after_the_end_events_fail_at_once() -> None:
    async with group_commit(Commits()) as group:
        await asyncio.sleep(0)  # it has begun
    [outcome] = await group.submit([event("a")])
    assert isinstance(outcome, Unavailable)

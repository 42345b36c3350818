"""Events are committed together, and each waiter hears of its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from threading import Event

import pytest

from dimse_ingestion.catalogue.group_commit import Commit, GroupCommit
from dimse_ingestion.catalogue.record import Outcome
from dimse_ingestion.dicom.failure import DimseFailure, OutOfResources
from dimse_ingestion.events.contract import ImageStoredEvent
from tests.instances import event


class Commits:
    """Commits that wait to be let go on, and remember their sizes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.begun = Event()
        self.go_on = Event()
        self.failing: Exception | None = None

    def __call__(self, events: Sequence[ImageStoredEvent]) -> list[Outcome]:
        self.sizes.append(len(events))
        self.begun.set()
        assert self.go_on.wait(10)
        if self.failing:
            raise self.failing
        return [ValueError("no") if each.id.startswith("bad") else "new" for each in events]


@asynccontextmanager
async def committing(commit: Commit, most: int = 10) -> AsyncIterator[GroupCommit]:
    made = GroupCommit(commit, most)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def tell(made: GroupCommit, *names: str) -> "list[asyncio.Task[Outcome]]":
    return [asyncio.create_task(made.submit(event(name))) for name in names]


async def begun(commits: Commits) -> None:
    assert await asyncio.to_thread(commits.begun.wait, 10)


async def test_what_comes_during_a_commit_is_the_next_ones() -> None:
    commits = Commits()
    async with committing(commits) as made:
        first = tell(made, "a")
        await begun(commits)
        rest = tell(made, *(f"b{number}" for number in range(14)))
        await asyncio.sleep(0)
        assert not any(each.done() for each in (*first, *rest))
        commits.go_on.set()
        assert await asyncio.gather(*first, *rest) == ["new"] * 15
    assert commits.sizes == [1, 10, 4]


async def test_a_refused_event_is_its_own_waiters_alone() -> None:
    commits = Commits()
    commits.go_on.set()
    async with committing(commits) as made:
        good, bad = await asyncio.gather(*tell(made, "a", "bad"))
    assert good == "new"
    assert isinstance(bad, ValueError)


@pytest.mark.parametrize(
    "problem", [OutOfResources("The disk is full."), RuntimeError("a mistake of ours")]
)
async def test_a_commit_that_fails_is_told_to_all_and_the_next_one_works(
    problem: Exception,
) -> None:
    commits = Commits()
    commits.go_on.set()
    commits.failing = problem
    async with committing(commits) as made:
        failed = await asyncio.gather(*tell(made, "a", "b"), return_exceptions=True)
        assert all(isinstance(each, DimseFailure) and each.transient for each in failed)
        assert made.problem
        commits.failing = None
        assert await asyncio.gather(*tell(made, "c")) == ["new"]
        assert made.problem == ""


async def test_who_waits_at_the_end_is_told() -> None:
    commits = Commits()
    async with committing(commits) as made:
        waiting = tell(made, "a")
        await begun(commits)
        waiting += tell(made, "b")
        await asyncio.sleep(0)
        commits.go_on.set()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert outcome == "new" or (isinstance(outcome, DimseFailure) and outcome.transient)


async def test_an_event_nobody_waits_for_any_more_is_not_committed() -> None:
    commits = Commits()
    async with committing(commits) as made:
        tell(made, "a")
        await begun(commits)
        [left] = tell(made, "b")
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        kept = tell(made, "c")
        commits.go_on.set()
        await asyncio.gather(*kept)
    assert commits.sizes == [1, 1]

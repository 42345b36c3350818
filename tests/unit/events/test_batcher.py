"""Events are gathered while a post is under way, and each caller gets its own result."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from dimse_ingestion.events.batcher import MOST_BYTES, Batcher, EncodedEvent, Result
from dimse_ingestion.failures import Unavailable


class Posts:
    """Posts that wait for `go_on`, and record the bodies of each."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        self.failing: Exception | None = None
        self.results: dict[bytes, Result] = {}

    async def __call__(self, events: Sequence[EncodedEvent]) -> list[Result]:
        self.batches.append([each.body for each in events])
        self.started.set()
        await self.go_on.wait()
        if self.failing:
            raise self.failing
        return [self.results.get(each.body, 202) for each in events]


@pytest.fixture
async def posts() -> Posts:
    return Posts()


@pytest.fixture
async def batcher(posts: Posts) -> AsyncIterator[Batcher]:
    batcher = Batcher(posts, long_post=60)
    yield batcher
    await batcher.close()


def submit(batcher: Batcher, *bodies: bytes) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(batcher.submit(EncodedEvent(each, {}))) for each in bodies]


async def submit_during_a_post(
    batcher: Batcher, posts: Posts, *bodies: bytes
) -> list[asyncio.Task[int]]:
    """Submit an event, and the others when its post is under way."""
    first = submit(batcher, b"first")
    async with asyncio.timeout(10):
        await posts.started.wait()
    others = submit(batcher, *bodies)
    await asyncio.sleep(0)
    return [*first, *others]


async def test_a_lone_event_is_posted_at_once(batcher: Batcher, posts: Posts) -> None:
    posts.go_on.set()
    for body in (b"a", b"b"):
        assert await batcher.submit(EncodedEvent(body, {})) == 202
    assert posts.batches == [[b"a"], [b"b"]]


async def test_events_that_arrive_during_a_post_form_the_next_one_in_their_order(
    batcher: Batcher, posts: Posts
) -> None:
    tasks = await submit_during_a_post(batcher, posts, b"a", b"b", b"c")
    assert posts.batches == [[b"first"]]
    posts.go_on.set()
    assert await asyncio.gather(*tasks) == [202] * 4
    assert posts.batches == [[b"first"], [b"a", b"b", b"c"]]


async def test_a_post_that_takes_long_holds_up_no_other(posts: Posts) -> None:
    batcher = Batcher(posts, long_post=0.01)
    tasks = await submit_during_a_post(batcher, posts, b"a", b"b")
    async with asyncio.timeout(10):
        while len(posts.batches) < 2:
            posts.started.clear()
            await posts.started.wait()
    assert posts.batches == [[b"first"], [b"a", b"b"]]
    posts.go_on.set()
    assert await asyncio.gather(*tasks) == [202] * 3
    assert await batcher.submit(EncodedEvent(b"c", {})) == 202
    assert posts.batches[2:] == [[b"c"]]
    await batcher.close()


async def test_a_batch_has_at_most_a_hundred_events(batcher: Batcher, posts: Posts) -> None:
    tasks = await submit_during_a_post(batcher, posts, *(b"%d" % n for n in range(150)))
    posts.go_on.set()
    await asyncio.gather(*tasks)
    assert [len(each) for each in posts.batches] == [1, 100, 50]
    assert posts.batches[1] + posts.batches[2] == [b"%d" % n for n in range(150)]


async def test_a_batch_has_at_most_a_mebibyte_unless_one_event_is_longer(
    batcher: Batcher, posts: Posts
) -> None:
    half, whole = bytes(MOST_BYTES // 2 - 1), bytes(MOST_BYTES + 1)
    tasks = await submit_during_a_post(batcher, posts, half, half, b"", whole, b"")
    posts.go_on.set()
    await asyncio.gather(*tasks)
    lengths = [[len(body) for body in batch] for batch in posts.batches]
    assert lengths == [[5], [len(half)] * 2, [0], [len(whole)], [0]]


async def test_each_caller_gets_the_result_of_its_own_event(batcher: Batcher, posts: Posts) -> None:
    posts.results = {b"refused": 422, b"failed": 503, b"broken": ConnectionResetError()}
    tasks = await submit_during_a_post(batcher, posts, b"a", b"refused", b"failed", b"broken", b"b")
    posts.go_on.set()
    *results, broken, last = await asyncio.gather(*tasks, return_exceptions=True)
    assert results == [202, 202, 422, 503]
    assert isinstance(broken, ConnectionResetError)
    assert last == 202


async def test_a_post_that_fails_fails_its_events_and_the_next_one_is_sent(
    batcher: Batcher, posts: Posts
) -> None:
    posts.failing = ConnectionResetError()
    posts.go_on.set()
    failed = await asyncio.gather(*submit(batcher, b"a", b"b"), return_exceptions=True)
    assert [type(each) for each in failed] == [ConnectionResetError] * 2
    posts.failing = None
    assert await asyncio.gather(*submit(batcher, b"c")) == [202]


async def test_a_cancelled_caller_takes_back_only_its_own_event(
    batcher: Batcher, posts: Posts
) -> None:
    first, before, cancelled, after = await submit_during_a_post(batcher, posts, b"a", b"b", b"c")
    cancelled.cancel()
    await asyncio.wait([cancelled])
    posts.go_on.set()
    assert [await each for each in (first, before, after)] == [202] * 3
    assert posts.batches == [[b"first"], [b"a", b"c"]]


async def test_a_caller_that_is_cancelled_during_the_post_does_not_end_it(
    batcher: Batcher, posts: Posts
) -> None:
    tasks = submit(batcher, b"a", b"b")
    await posts.started.wait()
    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    posts.go_on.set()
    assert await tasks[1] == 202
    assert posts.batches == [[b"a", b"b"]]


async def test_nothing_is_posted_when_every_caller_was_cancelled(
    batcher: Batcher, posts: Posts
) -> None:
    first, second = await submit_during_a_post(batcher, posts, b"a")
    second.cancel()
    await asyncio.wait([second])
    posts.go_on.set()
    await first
    assert await batcher.submit(EncodedEvent(b"later", {})) == 202
    assert posts.batches == [[b"first"], [b"later"]]


async def test_events_without_an_answer_fail_when_it_is_closed(
    batcher: Batcher, posts: Posts
) -> None:
    tasks = await submit_during_a_post(batcher, posts, b"a")
    await batcher.close()
    for failure in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(failure, Unavailable)
        assert failure.transient

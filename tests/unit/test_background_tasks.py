"""Tasks beside a block of code."""

import asyncio
from typing import Any

import pytest

from dimse_ingestion.background_tasks import background_tasks, result_unless


async def test_tasks_run_until_the_block_ends() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with background_tasks(work(), name="work"):
        await began.wait()
        assert not ended.is_set()
    assert ended.is_set()


async def test_the_block_s_exception_ends_the_tasks_too() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fail_beside_it() -> None:
        async with background_tasks(work(), name="work"):
            await asyncio.sleep(0)
            raise ValueError("block")

    with pytest.raises(ValueError, match="block"):
        await fail_beside_it()
    assert ended.is_set()


async def test_a_task_that_fails_is_reported_at_once_and_ends_nothing_else() -> None:
    loop = asyncio.get_running_loop()
    reported: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    previous = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: reported.put_nowait(context))

    async def fail() -> None:
        raise OSError("gone")

    try:
        async with background_tasks(fail(), name="watch"):
            context = await reported.get()
    finally:
        loop.set_exception_handler(previous)
    assert context["message"] == "The task 'watch' failed."
    assert isinstance(context["exception"], OSError)


async def _returned(value: int) -> int:
    return value


async def _failed() -> int:
    raise OSError("gone")


async def test_work_that_ends_before_the_event_has_its_result_or_failure() -> None:
    assert await result_unless(asyncio.Event(), _returned(3)) == 3
    with pytest.raises(OSError, match="gone"):
        await result_unless(asyncio.Event(), _failed())


@pytest.mark.parametrize("end", ["event", "caller"])
async def test_work_is_cancelled_when_the_event_comes_and_with_its_caller(end: str) -> None:
    event, began, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> int:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 3

    waiting = asyncio.create_task(result_unless(event, work()))
    await began.wait()
    if end == "event":
        event.set()
        assert await waiting is None
    else:
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert ended.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_work_does_not_begin_after_its_event() -> None:
    started: list[bool] = []

    async def work() -> bool:
        started.append(True)
        return True

    event = asyncio.Event()
    event.set()
    assert await result_unless(event, work()) is None
    assert not started

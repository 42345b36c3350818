"""Tasks that run beside a block of code and end with it, and work that an event ends.

A task that fails before its block ends nothing else. The event loop's exception handler logs it at
once, because nobody awaits the task.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def background_tasks(*work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run coroutines as tasks until the block ends; then cancel them, and wait for their end."""
    tasks = [asyncio.create_task(each, name=name) for each in work]
    for task in tasks:
        task.add_done_callback(_report_failure)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def result_unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of a coroutine, or None when the event comes first, which cancels it.

    The coroutine does not begin when the event has come already.
    """
    if event.is_set():
        work.close()
        return None
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


def _report_failure(task: asyncio.Task[None]) -> None:
    if task.cancelled() or (error := task.exception()) is None:
        return
    context = {"message": f"The task {task.get_name()!r} failed.", "exception": error, "task": task}
    task.get_loop().call_exception_handler(context)

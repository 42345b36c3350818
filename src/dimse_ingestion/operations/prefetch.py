"""Work begun before its turn: results in order, a bounded number at once, none left behind."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

_Result = TypeVar("_Result")


async def ahead(
    jobs: Iterable[Callable[[], Awaitable[_Result]]], at_once: int
) -> AsyncGenerator[_Result, None]:
    """The results of `jobs` in their order; closing the generator cancels what was begun."""
    waiting: deque[asyncio.Future[_Result]] = deque()
    try:
        for job in jobs:
            waiting.append(asyncio.ensure_future(job()))
            if len(waiting) >= at_once:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

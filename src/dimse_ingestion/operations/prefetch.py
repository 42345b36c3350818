"""Work begun before its turn: results in order, a bounded number at once, none left behind."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

_Result = TypeVar("_Result")


async def prefetch(
    jobs: Iterable[Callable[[], Awaitable[_Result]]], concurrency: int
) -> AsyncGenerator[_Result, None]:
    """The results of `jobs` in their order; closing the generator cancels what was begun."""
    pending: deque[asyncio.Future[_Result]] = deque()
    try:
        for job in jobs:
            pending.append(asyncio.ensure_future(job()))
            if len(pending) >= concurrency:
                yield await pending.popleft()
        while pending:
            yield await pending.popleft()
    finally:
        for each in pending:
            each.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

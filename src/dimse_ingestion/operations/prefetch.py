"""Concurrent jobs whose results are used in order: a bounded number, all cancelled at the end."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

_Result = TypeVar("_Result")


async def prefetch(
    jobs: Iterable[Callable[[], Awaitable[_Result]]], concurrency: int
) -> AsyncGenerator[_Result, None]:
    """Yield the results of `jobs` in order; closing the generator cancels the jobs that run."""
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

"""The HTTP response with the answer to a query: whole if it is short and comes soon, else streamed.

A streamed response costs a task that watches for the client's leaving, and several writes; most
queries have one page and are answered before that matters.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import NamedTuple

from starlette.responses import Response, StreamingResponse

_SOON = 0.05  # seconds; a longer query ends when its client leaves


class Lines(NamedTuple):
    """Lines of an answer; `is_last` with its last line."""

    content: bytes
    is_last: bool = False


async def query_response(answer: AsyncGenerator[Lines, None], media_type: str) -> Response:
    """Return the response with these lines."""
    first = asyncio.ensure_future(anext(answer))
    try:
        await asyncio.wait({first}, timeout=_SOON)
        if first.done() and first.result().is_last:
            await answer.aclose()
            return Response(first.result().content, media_type=media_type)
    except BaseException:
        await _abandon(first, answer)
        raise
    return StreamingResponse(_stream(first, answer), media_type=media_type)


async def _stream(
    first: "asyncio.Task[Lines]", answer: AsyncGenerator[Lines, None]
) -> AsyncIterator[bytes]:
    try:
        yield (await first).content
        async with aclosing(answer) as rest:
            async for lines in rest:
                yield lines.content
    finally:
        await _abandon(first, answer)


async def _abandon(first: "asyncio.Task[Lines]", answer: AsyncGenerator[Lines, None]) -> None:
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await answer.aclose()

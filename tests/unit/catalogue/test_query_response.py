"""A short answer that comes soon is whole; others are streamed and end when their client leaves."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.responses import StreamingResponse

from dimse_ingestion.catalogue import query_response as tested
from dimse_ingestion.catalogue.query_response import Lines, query_response

TYPE = "application/x-ndjson"


async def body(response: StreamingResponse) -> bytes:
    pieces = [each async for each in response.body_iterator]
    return b"".join(each for each in pieces if isinstance(each, bytes))


async def test_an_answer_of_one_page_has_a_length() -> None:
    async def answer() -> AsyncGenerator[Lines, None]:
        yield Lines(b"all\n", is_last=True)

    response = await query_response(answer(), TYPE)
    assert response.headers["content-length"] == "4"
    assert response.body == b"all\n"


async def test_a_longer_answer_is_streamed() -> None:
    async def answer() -> AsyncGenerator[Lines, None]:
        yield Lines(b"first\n")
        yield Lines(b"last\n", is_last=True)

    response = await query_response(answer(), TYPE)
    assert isinstance(response, StreamingResponse)
    assert await body(response) == b"first\nlast\n"


async def test_a_slow_answer_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "_SOON", 0.001)
    released = asyncio.Event()

    async def answer() -> AsyncGenerator[Lines, None]:
        await released.wait()
        yield Lines(b"all\n", is_last=True)

    response = await query_response(answer(), TYPE)
    assert isinstance(response, StreamingResponse)
    released.set()
    assert await body(response) == b"all\n"


async def test_an_answer_that_nobody_waits_for_any_more_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = asyncio.Event()
    started = asyncio.Event()

    async def answer() -> AsyncGenerator[Lines, None]:
        try:
            started.set()
            await asyncio.Event().wait()
            yield Lines(b"")
        finally:
            ended.set()

    waiting = asyncio.create_task(query_response(answer(), TYPE))
    await started.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert ended.is_set()

    ended.clear()
    monkeypatch.setattr(tested, "_SOON", 0.001)
    response = await query_response(answer(), TYPE)
    assert isinstance(response, StreamingResponse)
    streaming = asyncio.create_task(body(response))
    await asyncio.sleep(0)
    streaming.cancel()
    await asyncio.gather(streaming, return_exceptions=True)
    assert ended.is_set()

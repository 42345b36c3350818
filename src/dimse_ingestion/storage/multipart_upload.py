"""An upload in parts that ends as its source ends: whole, or aborted with nothing left behind.

obstore takes an asynchronous iterator and aborts the upload when that raises, but not when its
caller is cancelled. So the source is read in the caller's task and handed over, and every way it
can end badly becomes an exception in the iterator that obstore sees. A part still under way at the
abort would outlive it in some stores; with one part at a time, none is.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

Send = Callable[[AsyncIterator[bytes]], Coroutine[Any, Any, None]]
"""Uploads what an iterator gives, one part at a time, and aborts when that raises."""

_AHEAD = 10  # chunks; of the transport's largest, a part of 5 MiB
_LONGEST_ABORT = 10.0
_ending: set[asyncio.Task[None]] = set()  # asyncio does not keep a task that nobody waits for


class _Aborted(Exception):
    """Makes obstore abort the upload."""


class _Feed:
    """Chunks handed from one task to another, a part of them while another part is sent."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | _Aborted | None] = asyncio.Queue(maxsize=_AHEAD)
        self._aborting = False

    def __aiter__(self) -> "_Feed":
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._queue.get()
        if chunk is None:
            raise StopAsyncIteration
        if isinstance(chunk, _Aborted):
            return self._none_or_abort(chunk)
        return chunk

    def _none_or_abort(self, aborted: _Aborted) -> bytes:
        """First no bytes: obstore takes them only once the part under way has ended."""
        if self._aborting:
            raise aborted
        self._aborting = True
        self._queue.put_nowait(aborted)
        return b""

    async def give(self, chunk: bytes | None) -> None:
        """Wait for room and hand over a chunk, or None as the end."""
        await self._queue.put(chunk)

    def abort(self) -> None:
        """Have the reader fail as soon as nothing is under way."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(_Aborted())


async def upload_parts(send: Send, chunks: AsyncIterator[bytes]) -> None:
    """Have `send` upload what `chunks` gives.

    Raises what `chunks` raises, unchanged, or what `send` does.
    """
    feed = _Feed()
    upload = asyncio.create_task(send(feed))
    try:
        async for chunk in chunks:
            await _given(feed, chunk, upload)
        await _given(feed, None, upload)
        await asyncio.shield(upload)
    except BaseException:
        await _aborted(feed, upload)
        raise


async def _given(feed: _Feed, chunk: bytes | None, upload: asyncio.Task[None]) -> None:
    """Hand a chunk over, unless the upload fails first: then raise why."""
    giving = asyncio.create_task(feed.give(chunk))
    try:
        either: set[asyncio.Task[None]] = {giving, upload}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        giving.cancel()
    if upload.done():
        upload.result()


async def _aborted(feed: _Feed, upload: asyncio.Task[None]) -> None:
    """Wait until the store has let go of the parts; it goes on alone if that takes long."""
    _ending.add(upload)
    upload.add_done_callback(_ended)
    if not upload.done():
        feed.abort()
        await asyncio.wait({upload}, timeout=_LONGEST_ABORT)


def _ended(upload: asyncio.Task[None]) -> None:
    _ending.discard(upload)
    if not upload.cancelled():
        upload.exception()  # read, so that asyncio does not complain that nobody did

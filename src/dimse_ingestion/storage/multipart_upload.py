"""Multipart upload that is completed, or aborted with nothing left behind, as its source ends.

obstore takes an asynchronous iterator and aborts the upload when that raises, but not when its
caller is cancelled. So the source is read in the caller's task and its chunks go through a queue;
every failure and cancellation becomes an exception in the iterator that obstore reads. In some
stores a part that is being sent during the abort would survive it; one part at a time avoids that.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

Send = Callable[[AsyncIterator[bytes]], Coroutine[Any, Any, None]]
"""Upload the chunks of an iterator, one part at a time, and abort when the iterator raises."""

_QUEUED_CHUNKS = 10  # of the transport's largest, a part of 5 MiB
_ABORT_TIMEOUT = 10.0  # seconds
_aborting: set[asyncio.Task[None]] = set()  # asyncio holds no reference to tasks of its own


class _Aborted(Exception):
    """Raised by the iterator to make obstore abort the upload."""


class _ChunkQueue:
    """Chunks passed from one task to another, while the part before them is sent."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | _Aborted | None] = asyncio.Queue(maxsize=_QUEUED_CHUNKS)
        self._aborting = False

    def __aiter__(self) -> "_ChunkQueue":
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._queue.get()
        if chunk is None:
            raise StopAsyncIteration
        if isinstance(chunk, _Aborted):
            return self._abort_after_part(chunk)
        return chunk

    def _abort_after_part(self, aborted: _Aborted) -> bytes:
        """Return no bytes the first time, and raise the second time.

        obstore requests the second chunk only after the part under way has ended, so the abort
        comes when no part is being sent.
        """
        if self._aborting:
            raise aborted
        self._aborting = True
        self._queue.put_nowait(aborted)
        return b""

    async def put(self, chunk: bytes | None) -> None:
        """Add a chunk, or None as the end, once there is space in the queue."""
        await self._queue.put(chunk)

    def abort(self) -> None:
        """Make the reader fail as soon as no part is being sent."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(_Aborted())


async def upload_parts(send: Send, chunks: AsyncIterator[bytes]) -> None:
    """Upload `chunks` with `send`.

    Raises the exceptions of `chunks`, unchanged, and those of `send`.
    """
    queue = _ChunkQueue()
    upload = asyncio.create_task(send(queue))
    try:
        async for chunk in chunks:
            await _put_chunk(queue, chunk, upload)
        await _put_chunk(queue, None, upload)
        await asyncio.shield(upload)
    except BaseException:
        await _abort(queue, upload)
        raise


async def _put_chunk(queue: _ChunkQueue, chunk: bytes | None, upload: asyncio.Task[None]) -> None:
    """Add a chunk to the queue; raise the upload's exception if it fails first."""
    put = asyncio.create_task(queue.put(chunk))
    try:
        # a failed upload reads no more chunks: the queue alone would be waited for without end
        either: set[asyncio.Task[None]] = {put, upload}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        put.cancel()
    if upload.done():
        upload.result()


async def _abort(queue: _ChunkQueue, upload: asyncio.Task[None]) -> None:
    """Abort the upload and wait until the store has deleted its parts.

    An abort that takes long continues in the background.
    """
    _aborting.add(upload)
    upload.add_done_callback(_forget)
    if not upload.done():
        queue.abort()
        await asyncio.wait({upload}, timeout=_ABORT_TIMEOUT)


def _forget(upload: asyncio.Task[None]) -> None:
    _aborting.discard(upload)
    if not upload.cancelled():
        upload.exception()  # read, or asyncio logs that it was never retrieved

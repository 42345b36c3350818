"""The thread that appends records to segments, one fdatasync for all that wait at once.

A record is acknowledged when its future has a result, which is after the sync. After an error the
segment gets no more records, because what a failed sync has written is unknown; the next ones go to
a new segment. Zeros are written ahead of short records: a sync that changes no file's length costs
no commit of the file system's journal.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from dimse_ingestion.durable.files import write_at
from dimse_ingestion.outbox import segments
from dimse_ingestion.outbox.records import encode_record
from dimse_ingestion.outbox.segments import Segment

SEGMENT_LENGTH = 64 * 2**20
_MOST_IN_A_BATCH = 8 * 2**20
_AHEAD = bytes(2**20)
_SHORT = 128 * 1024  # bytes of a batch: above, a journal's commit costs little beside the data


@dataclass(frozen=True, slots=True)
class Written:
    """Where a record is, and how long its segment is now."""

    segment: Segment
    offset: int
    length: int
    segment_length: int


@dataclass(slots=True)
class _Submission:
    future: asyncio.Future[Written]
    metadata: bytes
    data: bytes


@dataclass(slots=True)
class _Open:
    segment: Segment
    descriptor: int
    position: int = 0
    zeroed: int = 0
    """Bytes up to here are records or zeros."""


class SegmentWriter:
    """Appends records.

    In the event loop, `written` is called for each record before its future has its result, and
    `sealed` for each segment that gets no more records, after `written` for all of these.
    """

    def __init__(
        self,
        folder: Path,
        next_number: int,
        written: Callable[[Written], None],
        sealed: Callable[[Segment], None],
        segment_length: int = SEGMENT_LENGTH,
    ) -> None:
        self._folder = folder
        self._next_number = next_number
        self._written = written
        self._sealed = sealed
        self._segment_length = segment_length
        self._open: _Open | None = None
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Submission | None] = SimpleQueue()
        self._closing = False
        self._thread = Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def submit(self, metadata: bytes, data: bytes) -> asyncio.Future[Written]:
        """Append a record; the future's result means that it is durable. It may raise OSError."""
        future: asyncio.Future[Written] = self._loop.create_future()
        self._queue.put(_Submission(future, metadata, data))
        return future

    def seal(self) -> None:
        """Start a new segment with the next record."""
        self._queue.put(None)

    async def close(self) -> None:
        """Write what was submitted, and end the thread."""
        self._closing = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # in the thread

    def _run(self) -> None:
        while True:
            batch, seal = self._next_batch()
            if batch:
                self._write(batch)
            if seal:
                self._seal()
                if self._closing and self._queue.empty():
                    return

    def _next_batch(self) -> tuple[list[_Submission], bool]:
        """Wait for a submission; return it with those that wait too, and whether to seal then."""
        batch: list[_Submission] = []
        length = 0
        submission = self._queue.get()
        while submission is not None:
            batch.append(submission)
            length += len(submission.data)
            if length > _MOST_IN_A_BATCH:
                return batch, False
            try:
                submission = self._queue.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _write(self, batch: list[_Submission]) -> None:
        try:
            written = self._append(batch)
        except Exception as error:  # noqa: BLE001 - the thread must go on for what comes next
            self._seal()
            self._loop.call_soon_threadsafe(_fail, batch, error)
        else:
            self._loop.call_soon_threadsafe(self._finish, batch, written)

    def _append(self, batch: list[_Submission]) -> list[Written]:
        current = self._opened()
        salt = current.segment.salt
        records = [encode_record(each.metadata, each.data, salt) for each in batch]
        content = b"".join(records)
        end = current.position + len(content)
        try:
            write_at(current.descriptor, content, current.position)
            if end > current.zeroed:
                current.zeroed = end
                if len(content) < _SHORT:
                    with suppress(OSError):
                        write_at(current.descriptor, _AHEAD, end)
                        current.zeroed += len(_AHEAD)
            os.fdatasync(current.descriptor)
        except Exception:
            with suppress(OSError):
                os.ftruncate(current.descriptor, current.position)
            raise
        if not os.fstat(current.descriptor).st_nlink:
            raise OSError(errno.ENOENT, "the segment was deleted", str(current.segment.path))
        written, offset = [], current.position
        for record in records:
            written.append(Written(current.segment, offset, len(record), current.zeroed))
            offset += len(record)
        current.position = end
        return written

    def _opened(self) -> _Open:
        if self._open is not None and self._open.position >= self._segment_length:
            self._seal()
        if self._open is None:
            segment, descriptor = segments.create(self._folder, self._next_number)
            self._next_number += 1
            self._open = _Open(segment, descriptor)
        return self._open

    def _seal(self) -> None:
        if (current := self._open) is None:
            return
        self._open = None
        with suppress(OSError):
            os.ftruncate(current.descriptor, current.position)
        os.close(current.descriptor)
        self._loop.call_soon_threadsafe(self._sealed, current.segment)

    def _finish(self, batch: list[_Submission], written: list[Written]) -> None:
        for submission, each in zip(batch, written, strict=True):
            self._written(each)
            if not submission.future.done():
                submission.future.set_result(each)


def _fail(batch: list[_Submission], error: Exception) -> None:
    for submission in batch:
        if not submission.future.done():
            submission.future.set_exception(error)

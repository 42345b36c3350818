"""The outbox as services use it: add a data set durably, take the oldest, say how that ended.

All methods belong to the event loop; the disk is used in threads. A data set that was added leaves
the outbox only by `delivered`, `refuse` (to the dead letters), `quarantine` (damaged), or because
somebody drops it.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from dimse_ingestion.durable.files import remove_durably
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.outbox import dead_letters, disk, files
from dimse_ingestion.outbox.dead_letters import Reason
from dimse_ingestion.outbox.disk import Limits, Usage
from dimse_ingestion.outbox.folders import Folders, lock
from dimse_ingestion.outbox.housekeeping import Housekeeping
from dimse_ingestion.outbox.kind import DATA_SETS, OutboxKind
from dimse_ingestion.outbox.opened_entry import Damaged, OpenedEntry, open_entry
from dimse_ingestion.outbox.records import Metadata, encode_metadata
from dimse_ingestion.outbox.recovery import Progress, recover
from dimse_ingestion.outbox.segment_writer import SEGMENT_LENGTH, SegmentWriter, Written
from dimse_ingestion.outbox.segments import MarkLog, Segment
from dimse_ingestion.outbox.waiting import Entry, WaitingQueue
from dimse_ingestion.workers.counts import Count, LocalCount

_LOG = logger(__name__)
_INTO_A_SEGMENT = 1024 * 1024
_THREADS = 4
_ADDED_AT_ONCE = 5000
"""Recovered entries that are queued before the event loop does something else."""
_T = TypeVar("_T")


class Outbox:
    """One outbox folder, from `open` to `close`; `count` is of the bytes of all workers."""

    def __init__(
        self,
        directory: Path,
        limits: Limits | None = None,
        count: Count | None = None,
        space: str = "",
        segment_length: int = SEGMENT_LENGTH,
        kind: OutboxKind = DATA_SETS,
    ) -> None:
        self.folders = Folders(directory)
        self.kind = kind
        self.usage = Usage(directory, limits or Limits(), count or LocalCount(), kind.limit_setting)
        self.queue = WaitingQueue()
        self.added = asyncio.Event()
        """Set whenever an entry may be taken; whoever waits for it clears it."""
        self.last_added = float("-inf")
        """The event loop's time at which a data set was added last."""
        self._space = space
        self._segment_length = segment_length
        self._marks = MarkLog()
        self._segment: Segment | None = None
        self._stack = ExitStack()
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="outbox")
        self._writer: SegmentWriter | None = None
        self._progress = Progress()
        self._recovery_error = ""
        self.housekeeping = Housekeeping(self)

    async def open(self) -> None:
        """Take the lock and recover what is there: `lock` and `recover` in one."""
        await self.lock()
        await self.recover()

    async def lock(self) -> None:
        """Take the lock and create the folders: quick, whatever waits there.

        Raises OutboxInUse, NewerFormat, and OSError for a folder that can't be used.
        """
        await self.in_thread(lambda: self._stack.enter_context(lock(self.folders.root)))
        await self.in_thread(self.folders.refuse_newer)
        await self.in_thread(self.folders.create)

    async def recover(self) -> None:
        """Read what the process before has left, and take data sets from then on.

        It takes minutes for a large outbox. Raises OSError, and then it may be called again.
        """
        try:
            recovered = await self.in_thread(
                lambda: recover(self.folders, self._progress, self.kind)
            )
        except OSError as error:
            self._recovery_error = error.strerror or str(error)
            raise
        for number, entry in enumerate(recovered.entries, start=1):
            self.queue.add(entry)
            if number % _ADDED_AT_ONCE == 0:
                self.housekeeping.count_waiting()
                await asyncio.sleep(0)
        self.housekeeping.count_waiting()
        for segment in recovered.segments:
            self._delete_if_done(segment)
        self._writer = SegmentWriter(
            self.folders.segments,
            recovered.next_number,
            self._written,
            self._sealed,
            self._segment_length,
        )
        try:
            await self.housekeeping.run_once()
        except OSError as error:
            self.usage.mark_broken(error)
        self.housekeeping.start()
        self.added.set()

    async def close(self) -> None:
        """Write what was added, stop all threads and release the lock."""
        self._progress.is_cancelled = True
        await self.housekeeping.stop()
        if self._writer is not None:
            await self._writer.close()
        await asyncio.to_thread(self._executor.shutdown)  # a recovery may read a segment to its end
        self._marks.close()
        self._stack.close()

    @property
    def problem(self) -> str:
        """Return why nothing can be added, as a sentence; empty when there is space."""
        return self.recovery or self.usage.problem

    @property
    def recovery(self) -> str:
        """Return how far the recovery is, as a sentence; empty when it is over."""
        if self._writer is not None:
            return ""
        if self._recovery_error:
            directory = self.folders.root
            return f"The spool {directory} can't be read ({self._recovery_error}): see its disk."
        progress = self._progress
        return (
            "The spool of an earlier run is being read: recovering "
            f"{progress.files} of {progress.total} files."
        )

    @property
    def oldest_seconds(self) -> float:
        """The time in seconds for which the oldest entry has waited."""
        oldest = self.queue.oldest
        return max(0.0, time.time() - oldest.received_at) if oldest else 0.0

    async def add(self, metadata: Metadata, source: files.Source) -> None:
        """Add a data set; it is durable on return. Raises Unavailable when the disk can't."""
        writer = self._writer
        if writer is None or self.problem:
            self.kind.metrics.refused(self._space).inc()
            raise Unavailable(self.problem)
        try:
            entry = await (
                self._add_record(writer, metadata, source)
                if metadata.size <= _INTO_A_SEGMENT
                else self._add_file(metadata, source)
            )
        except OSError as error:
            self.kind.metrics.refused(self._space).inc()
            self.usage.mark_broken(error)
            _LOG.error(f"The outbox can't take a {self.kind.noun}.", reason=error.strerror)
            raise Unavailable("The spool's disk is full or broken, send again later") from None
        self.queue.add(entry)
        self.housekeeping.count_waiting()
        self.last_added = asyncio.get_running_loop().time()
        self.kind.metrics.added.inc()
        self.added.set()

    async def open_entry(self, entry: Entry, *, verify: bool = False) -> OpenedEntry:
        """Return the data set of an entry. Raises Damaged, OSError.

        A record is always verified; the digest of a file only with `verify`, as it reads all of it.
        """
        return await self.in_thread(lambda: open_entry(entry, verify=verify))

    def delivered(self, entry: Entry) -> None:
        """Remove a data set that the service has."""
        self.kind.metrics.delivered.inc()
        if self.kind.metrics.delivered_bytes is not None:
            self.kind.metrics.delivered_bytes.inc(entry.size)
        self._finish(entry)

    async def refuse(self, entry: Entry, opened: OpenedEntry, reason: Reason) -> None:
        """Move a data set to the dead letters, unless it was dropped meanwhile.

        Raises OSError, and Damaged for a file whose bytes have changed, which may be why it was
        refused; then it still waits.
        """
        if opened.file is not None and not await self.in_thread(opened.file.is_intact):
            raise Damaged("its bytes on the disk have changed")
        if entry.done:
            return
        operation_id = opened.metadata.operation_id
        place = entry.place
        if isinstance(place, Path):
            await self.in_thread(
                lambda: dead_letters.add_file(self.folders, place, operation_id, reason)
            )
        else:
            await self.in_thread(
                lambda: dead_letters.add(self.folders, opened.metadata, opened, reason)
            )
        self._finish(entry)
        self.housekeeping.request()

    async def quarantine(self, entry: Entry, reason: str) -> None:
        """Move a damaged data set to the quarantine. Raises OSError, and then it still waits."""
        await self.in_thread(lambda: disk.quarantine(entry, self.folders, reason))
        self._finish(entry)
        self.housekeeping.request()

    async def drop(self, entry: Entry) -> None:
        """Delete a data set that nobody wants any more, durably. Raises OSError."""
        place = entry.place
        if isinstance(place, Segment):
            self._marks.append(place, entry.offset, durable=True)
            self._finish(entry)
        else:
            self._finish(entry)  # before its file is gone: nobody tries to forward it
            await self.in_thread(lambda: remove_durably(place))

    def seal(self) -> None:
        """Start another segment, so that the present one can be deleted."""
        if self._writer is not None and self._segment is not None and self._segment.is_open:
            self._writer.seal()

    async def in_thread(self, work: "disk.Work[_T]") -> _T:
        """Run a function that blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def _add_record(
        self, writer: SegmentWriter, metadata: Metadata, source: files.Source
    ) -> Entry:
        data = source.read(0, metadata.size)
        written = await writer.submit(encode_metadata(metadata), data)
        return Entry.of(metadata, written.segment, written.length, written.offset)

    async def _add_file(self, metadata: Metadata, source: files.Source) -> Entry:
        path = await self.in_thread(lambda: files.write_file(self.folders.files, metadata, source))
        length = files.file_length(path)
        self.usage.count(length)
        return Entry.of(metadata, path, length)

    def _finish(self, entry: Entry) -> None:
        """Remove an entry; a disk that takes no mark costs one more transfer, nothing else."""
        if entry.done:
            return
        self.queue.finish(entry)
        self.housekeeping.count_waiting()
        place = entry.place
        if isinstance(place, Path):
            self.usage.count(-entry.length)
            self._executor.submit(lambda: place.unlink(missing_ok=True))
            return
        place.waiting -= 1
        try:
            self._marks.append(place, entry.offset)
        except OSError as error:
            self.usage.mark_broken(error)
        self._delete_if_done(place)

    def _written(self, written: Written) -> None:
        segment = self._segment = written.segment
        segment.waiting += 1
        self.usage.count(written.segment_length - segment.counted)
        segment.counted = written.segment_length

    def _sealed(self, segment: Segment) -> None:
        segment.is_open = False
        self._delete_if_done(segment)

    def _delete_if_done(self, segment: Segment) -> None:
        if segment.waiting or segment.is_open:
            return
        self.usage.count(-segment.counted)
        segment.counted = 0
        self._marks.close_of(segment)
        self._executor.submit(segment.delete)

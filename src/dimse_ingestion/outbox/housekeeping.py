"""The work of an outbox each second: requests of the command line, disk, idle segments, metrics.

What waits is counted at each change instead: once the outbox is recovered, an operator who sees 0
may rely on it.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dimse_ingestion.durable.files import move
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.outbox import dead_letters, disk, files
from dimse_ingestion.outbox.recovery import file_entry
from dimse_ingestion.outbox.segments import DamagedRecord
from dimse_ingestion.outbox.waiting import Entry

if TYPE_CHECKING:
    from dimse_ingestion.outbox.outbox import Outbox

_LOG = logger(__name__)
_INTERVAL = 1.0
_MEASURE = 30
"""Intervals after which the files are counted again: the command line deletes some."""
_IDLE = 5
"""Intervals without a data set after which the last segment is deleted."""


class Housekeeping:
    """A task that does this work for one outbox."""

    def __init__(self, outbox: "Outbox") -> None:
        self._outbox = outbox
        self._metrics = outbox.kind.metrics
        self._task: asyncio.Task[None] | None = None
        self._requested = asyncio.Event()
        self._lock = asyncio.Lock()
        self._idle = 0
        self._until_measured = 0
        self._counted: dict[metrics.Gauge, float] = {}
        self._is_stopped = False

    def start(self) -> None:
        """Work each second from now on."""
        self._task = asyncio.create_task(self._run(), name="outbox housekeeping")

    async def stop(self) -> None:
        """Stop working, and take this outbox out of the metrics: it may be opened again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._is_stopped = True
        for gauge in self._counted:
            self._add_up(gauge, 0)
        self._metrics.oldest.pop(self, None)
        self._metrics.oldest_seconds.set(max(self._metrics.oldest.values(), default=0.0))

    def count_waiting(self) -> None:
        """Set the metrics of what waits, because an entry was added or removed."""
        if self._is_stopped:
            return
        self._add_up(self._metrics.waiting, len(self._outbox.queue))
        self._add_up(self._metrics.waiting_bytes, self._outbox.queue.octets)

    def request(self) -> None:
        """Work soon, because files were moved."""
        self._until_measured = 0
        self._requested.set()

    async def run_once(self) -> None:
        """Do all of the work, after what is being done now. Raises OSError."""
        async with self._lock:
            await self._work()

    async def _work(self) -> None:
        outbox = self._outbox
        await outbox.in_thread(lambda: outbox.usage.check(outbox.folders.segments))
        await self._take_retried()
        await self._drop_requested()
        if not self._until_measured:
            self._until_measured = _MEASURE
            measured = await outbox.in_thread(lambda: disk.measure(outbox.folders))
            outbox.usage.count(measured - outbox.usage.octets)
            dead, quarantined = await outbox.in_thread(self._count_files)
            self._add_up(self._metrics.dead_letters, dead)
            self._add_up(self._metrics.quarantined, quarantined)
        self._until_measured -= 1
        self._seal_when_idle()
        self._set_metrics()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL):
                    await self._requested.wait()
            self._requested.clear()
            try:
                await self.run_once()
            except OSError as error:
                self._outbox.usage.mark_broken(error)

    async def _take_retried(self) -> None:
        outbox = self._outbox
        for entry in await outbox.in_thread(self._moved_back):
            outbox.queue.add(entry)
            self.count_waiting()
            outbox.added.set()
            _LOG.info("A dead letter is forwarded again.", operation_id=_operation_id(entry))

    def _moved_back(self) -> list[Entry]:
        """Move retried dead letters to the files; one that waits there already is the same."""
        folders = self._outbox.folders
        entries = []
        for path in sorted(folders.retry.glob("*")):
            if (folders.files / path.name).exists():
                path.unlink()
            elif entry := file_entry(move(path, folders.files), folders):
                entries.append(entry)
        return entries

    async def _drop_requested(self) -> None:
        outbox = self._outbox
        requests = await outbox.in_thread(lambda: dead_letters.requested_drops(outbox.folders))
        if not requests:
            return
        for operation_id, entry in (await self._find(set(requests))).items():
            await outbox.drop(entry)
            _LOG.warning("A data set is dropped on request.", operation_id=operation_id)
        await outbox.in_thread(lambda: _remove(list(requests.values())))

    async def _find(self, operation_ids: set[str]) -> dict[str, Entry]:
        """Return the waiting entries of operations; reads the metadata of all entries."""
        entries = self._outbox.queue.entries()
        return await self._outbox.in_thread(lambda: _find(entries, operation_ids))

    def _seal_when_idle(self) -> None:
        """Delete the segment in use when nothing waits: it may hold data of patients for long."""
        self._idle = 0 if len(self._outbox.queue) else self._idle + 1
        if self._idle == _IDLE:
            self._outbox.seal()

    def _count_files(self) -> tuple[int, int]:
        folders = self._outbox.folders
        return len(folders.dead()), len(folders.quarantined())

    def _set_metrics(self) -> None:
        outbox, kind = self._outbox, self._metrics
        self.count_waiting()
        self._add_up(kind.used_bytes, outbox.usage.octets)
        limit = max(1, outbox.usage.limits.octets)
        self._add_up(kind.used_ratio, outbox.usage.octets / limit)
        kind.oldest[self] = outbox.oldest_seconds
        kind.oldest_seconds.set(max(kind.oldest.values()))
        if kind.free_bytes is not None:
            kind.free_bytes.set(outbox.usage.free)

    def _add_up(self, gauge: metrics.Gauge | None, value: float) -> None:
        """Set this outbox's part of a gauge, which is the sum over several outboxes."""
        if gauge is None:
            return
        gauge.inc(value - self._counted.get(gauge, 0))
        self._counted[gauge] = value


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _find(entries: list[Entry], operation_ids: set[str]) -> dict[str, Entry]:
    by_id = {_operation_id(entry): entry for entry in entries}
    return {operation_id: by_id[operation_id] for operation_id in operation_ids & by_id.keys()}


def _operation_id(entry: Entry) -> str:
    if isinstance(entry.place, Path):
        return entry.place.name.removesuffix(files.SUFFIX)
    try:
        return entry.place.read_record(entry.offset, entry.length)[0].operation_id
    except (DamagedRecord, OSError):
        return ""  # the forwarder will find the damage

"""The command `reindex`: rebuilds the catalogue from the bucket, by sending all events again.

With `--missing`, only for objects without an entry: what a crash left between bucket and
catalogue, and no sender got an answer for. The bucket is listed and compared, and few objects are
read.

Repeating or interrupting it is harmless: ids are functions of the keys, and the catalogue knows an
object by its name. Nothing is written to the bucket.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import NAMESPACE_URL, uuid5

from rich.console import Console

from dimse_ingestion.dicom.elements import SOP_CLASS_UID, by_tag
from dimse_ingestion.events.contract import EventSink
from dimse_ingestion.failures import AccessDenied, Failure, LimitExceeded, Unavailable
from dimse_ingestion.observability import logging
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operations.composition import Backends, open_backends
from dimse_ingestion.operations.event_builder import (
    Instance,
    Location,
    StorageSpace,
    check_elements,
    stored_event,
)
from dimse_ingestion.operations.object_reader import ObjectMetadata, read_metadata
from dimse_ingestion.settings import IngestionSettings
from dimse_ingestion.storage import keys
from dimse_ingestion.storage.contract import Bucket, StoredObject

_LOG = logger(__name__)
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds; together as long as a catalogue takes to restart
_EVERY = 1000
_PAGE = 1000  # names compared at once
_Result = TypeVar("_Result")


@dataclass
class Tally:
    """Counts of instances sent to the catalogue, and of objects that were not."""

    sent: int = 0
    skipped: int = 0
    left_out: int = 0
    known: int = 0

    def __str__(self) -> str:
        known = f"{self.known} known already, " if self.known else ""
        return (
            f"{self.sent} instances sent, {known}{self.skipped} other objects skipped, "
            f"{self.left_out} left out"
        )


async def run(settings: IngestionSettings, *, parallel: int = 8, missing: bool = False) -> int:
    """Rebuild, print progress and result; return 1 when an object was left out.

    With `missing` only objects without an entry are read.
    """
    logging.configure("reindex", settings.log_level)
    console = Console(markup=False, highlight=False, soft_wrap=True)
    space = StorageSpace(
        settings.provider_name,
        settings.event_source,
        settings.wado_internal_endpoint,
        settings.wado_external_endpoint,
    )
    async with open_backends(settings) as backends:
        reindexing = Reindexing(
            backends.bucket,
            backends.sink,
            space,
            missing=_missing_by(backends) if missing else None,
            progress=lambda tally: console.print(str(tally)),
            left_out=lambda key, reason: console.print(f"left out: {key}: {reason}"),
        )
        try:
            await reindexing.run(parallel)
        except Failure as failure:
            console.print(f"Stopped: {failure.comment} Run it again when that is corrected.")
            return 1
        finally:
            console.print(str(reindexing.tally))
    return 1 if reindexing.tally.left_out else 0


def _missing_by(backends: Backends) -> "Missing":
    """Return a function that compares names with the catalogue."""

    async def missing(names: Sequence[str]) -> list[str]:
        return await backends.queries.missing(backends.bucket.name, names)

    return missing


Missing = Callable[[Sequence[str]], Awaitable[list[str]]]
"""Returns those of some object names that have no entry."""


class Reindexing:
    """Sends `sink` an event for every instance in `bucket`, or for those that `missing` returns.

    `progress` is called each thousand objects, `left_out` for each object without an event, with
    its key and a sentence.
    """

    def __init__(
        self,
        bucket: Bucket,
        sink: EventSink,
        space: StorageSpace,
        *,
        missing: Missing | None = None,
        progress: Callable[[Tally], None] = lambda _: None,
        left_out: Callable[[str, str], None] = lambda _key, _why: None,
    ) -> None:
        self.tally = Tally()
        self._bucket = bucket
        self._sink = sink
        self._space = space
        self._missing = missing
        self._progress = progress
        self._left_out = left_out

    async def run(self, parallel: int) -> None:
        """Process all objects, `parallel` at once.

        Raises Failure when bucket or sink stay down, or the bucket refuses.
        """
        waiting: asyncio.Queue[StoredObject | None] = asyncio.Queue(maxsize=2 * parallel)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(parallel):
                    group.create_task(self._work(waiting))
                async for each in self._pending():
                    await waiting.put(each)
                for _ in range(parallel):
                    await waiting.put(None)
        except ExceptionGroup as several:
            failures, mistakes = several.split(Failure)
            raise mistakes or _first(several) from failures

    async def _pending(self) -> AsyncIterator[StoredObject]:
        """Yield the instances to send: all, or page by page those without an entry."""
        if self._missing is None:
            async for each in self._instances():
                yield each
            return
        page: list[StoredObject] = []
        async for each in self._instances():
            page.append(each)
            if len(page) == _PAGE:
                for missing in await self._without_entry(page):
                    yield missing
                page = []
        for missing in await self._without_entry(page) if page else ():
            yield missing

    async def _without_entry(self, page: list[StoredObject]) -> list[StoredObject]:
        names = [each.key for each in page]
        missing = set(await self._with_retries("objects", lambda: self._compare(names)))
        self.tally.known += len(page) - len(missing)
        self._progress(self.tally)
        return [each for each in page if each.key in missing]

    async def _compare(self, names: list[str]) -> list[str]:
        return await self._missing(names) if self._missing else names

    async def _instances(self) -> AsyncIterator[StoredObject]:
        async for each in self._bucket.list(keys.INSTANCES):
            if keys.parse_key(each.key) is None:
                self.tally.skipped += 1
            else:
                yield each

    async def _work(self, waiting: "asyncio.Queue[StoredObject | None]") -> None:
        while (each := await waiting.get()) is not None:
            await self._process(each)
            if (self.tally.sent + self.tally.left_out) % _EVERY == 0:
                self._progress(self.tally)

    async def _process(self, each: StoredObject) -> None:
        try:
            await self._with_retries(each.key, lambda: self._send_event(each))
        except KeyError:
            self._leave_out(each.key, "it no longer exists")
        except (Unavailable, AccessDenied, LimitExceeded):
            raise  # not this object's fault: the next would fail as well
        except Failure as failure:
            self._leave_out(each.key, failure.comment)
        else:
            self.tally.sent += 1

    def _leave_out(self, key: str, reason: str) -> None:
        self.tally.left_out += 1
        self._left_out(key, reason)

    async def _with_retries(self, key: str, attempt: Callable[[], Awaitable[_Result]]) -> _Result:
        """Return the result of `attempt`, with retries for transient failures."""
        for pause in _PAUSES:
            try:
                return await attempt()
            except Failure as failure:
                if not failure.transient:
                    raise
                _LOG.warning("Reading an object is retried.", object=key, reason=failure.comment)
                await asyncio.sleep(pause)
        return await attempt()

    async def _send_event(self, each: StoredObject) -> None:
        read = await read_metadata(self._bucket, each)
        instance = _instance(each, read)
        check_elements(instance, read.elements)
        location = Location(self._bucket.name, each.key, read.header_size)
        operation = str(uuid5(NAMESPACE_URL, f"reindex/{each.key}"))
        await self._sink.accept(
            stored_event(operation, self._space, instance, location, read.elements, each.stored_at)
        )


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    first = several.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _instance(each: StoredObject, read: ObjectMetadata) -> Instance:
    """Return the instance as key and object describe it; `check_elements` compares both."""
    key = keys.parse_key(each.key)
    sop_class = by_tag(read.elements).get(SOP_CLASS_UID)
    return Instance(
        sop_class_uid=sop_class.value.strip() if sop_class else "",
        sop_instance_uid=key.sop_instance_uid if key else "",
        transfer_syntax_uid=read.transfer_syntax_uid,
        size=each.size - read.header_size,
        sha256=key.sha256 if key else "",
    )

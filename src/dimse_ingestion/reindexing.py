"""The catalogue rebuilt from the bucket alone: each object read again, its event sent again.

Harmless to repeat and to break off: the ids are functions of the keys, and the catalogue knows an
object by its name. Nothing is written to the bucket.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

from rich.console import Console

from dimse_ingestion.dicom.elements import by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.events.contract import EventSink
from dimse_ingestion.observability import logging
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operations.describing import (
    Instance,
    Location,
    StorageSpace,
    check_elements,
    stored_event,
)
from dimse_ingestion.operations.recalling import Recalled, recalled
from dimse_ingestion.operations.wires import opened_wires
from dimse_ingestion.settings import IngestionSettings
from dimse_ingestion.storage import keys
from dimse_ingestion.storage.contract import Bucket, StoredObject

_LOG = logger(__name__)
_SOP_CLASS_UID = 0x00080016
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds; together as long as a catalogue takes to restart
_EVERY = 1000
_NO_OBJECTS_FAULT = frozenset({Status.OUT_OF_RESOURCES, Status.NOT_AUTHORIZED})


@dataclass
class Tally:
    """How many instances the catalogue was told of, and how many objects not, and why."""

    told: int = 0
    passed_over: int = 0
    left_out: int = 0

    def __str__(self) -> str:
        return (
            f"{self.told} instances told, {self.passed_over} other objects passed over, "
            f"{self.left_out} left out"
        )


async def run(settings: IngestionSettings, *, parallel: int = 8) -> int:
    """Rebuild, and say how it went; exit status 1 when an object was left out."""
    logging.configure("reindex", settings.log_level)
    console = Console(markup=False, highlight=False, soft_wrap=True)
    space = StorageSpace(
        settings.provider_name,
        settings.event_source,
        settings.wado_internal_endpoint,
        settings.wado_external_endpoint,
    )
    async with opened_wires(settings) as wires:
        reindexing = Reindexing(
            wires.bucket,
            wires.sink,
            space,
            progress=lambda tally: console.print(str(tally)),
            left_out=lambda key, why: console.print(f"left out: {key}: {why}"),
        )
        try:
            await reindexing.run(parallel)
        except DimseFailure as failure:
            console.print(f"Broken off: {failure.comment} Run it again when that is mended.")
            return 1
        finally:
            console.print(str(reindexing.tally))
    return 1 if reindexing.tally.left_out else 0


class Reindexing:
    """Tells `sink` of every instance in `bucket`.

    `progress` is called each thousand objects, `left_out` for each object that can't be told of,
    with its key and a sentence.
    """

    def __init__(
        self,
        bucket: Bucket,
        sink: EventSink,
        space: StorageSpace,
        *,
        progress: Callable[[Tally], None] = lambda _: None,
        left_out: Callable[[str, str], None] = lambda _key, _why: None,
    ) -> None:
        self.tally = Tally()
        self._bucket = bucket
        self._sink = sink
        self._space = space
        self._progress = progress
        self._left_out = left_out

    async def run(self, parallel: int) -> None:
        """Go through all objects, `parallel` at once.

        Raises DimseFailure when bucket or sink stay down, or the bucket refuses.
        """
        waiting: asyncio.Queue[StoredObject | None] = asyncio.Queue(maxsize=2 * parallel)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(parallel):
                    group.create_task(self._work(waiting))
                async for each in self._instances():
                    await waiting.put(each)
                for _ in range(parallel):
                    await waiting.put(None)
        except ExceptionGroup as several:
            failures, mistakes = several.split(DimseFailure)
            raise mistakes or _first(several) from failures

    async def _instances(self) -> AsyncIterator[StoredObject]:
        async for each in self._bucket.list(keys.INSTANCES):
            if keys.parsed(each.key) is None:
                self.tally.passed_over += 1
            else:
                yield each

    async def _work(self, waiting: "asyncio.Queue[StoredObject | None]") -> None:
        while (each := await waiting.get()) is not None:
            await self._one(each)
            if (self.tally.told + self.tally.left_out) % _EVERY == 0:
                self._progress(self.tally)

    async def _one(self, each: StoredObject) -> None:
        try:
            await self._tell_patiently(each)
        except KeyError:
            self._leave_out(each.key, "it has vanished")
        except DimseFailure as failure:
            if failure.status in _NO_OBJECTS_FAULT:
                raise
            self._leave_out(each.key, failure.comment)
        else:
            self.tally.told += 1

    def _leave_out(self, key: str, why: str) -> None:
        self.tally.left_out += 1
        self._left_out(key, why)

    async def _tell_patiently(self, each: StoredObject) -> None:
        """Tell of one object, over troubles that pass."""
        for pause in _PAUSES:
            try:
                return await self._tell(each)
            except DimseFailure as failure:
                if not failure.transient:
                    raise
                _LOG.warning("An object is tried again.", object=each.key, why=failure.comment)
                await asyncio.sleep(pause)
        return await self._tell(each)

    async def _tell(self, each: StoredObject) -> None:
        read = await recalled(self._bucket, each)
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


def _instance(each: StoredObject, read: Recalled) -> Instance:
    """What key and object say of themselves; `check_elements` sees whether they agree."""
    key = keys.parsed(each.key)
    sop_class = by_tag(read.elements).get(_SOP_CLASS_UID)
    return Instance(
        sop_class_uid=sop_class.value.strip() if sop_class else "",
        sop_instance_uid=key.sop_instance_uid if key else "",
        transfer_syntax_uid=read.transfer_syntax_uid,
        size=each.size - read.header_size,
        sha256=key.sha256 if key else "",
    )

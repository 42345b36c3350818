"""The catalogue rebuilt from the bucket alone: each object read again, its event sent again.

Harmless to repeat and to break off: the ids are functions of the keys, and the catalogue knows an
object by its name. Nothing is written to the bucket.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from uuid import NAMESPACE_URL, uuid5

from rich.console import Console

from dimse_ingestion.dicom.elements import by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.events.contract import EventSink
from dimse_ingestion.ingestion.wires import opened_wires
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
from dimse_ingestion.settings import IngestionSettings
from dimse_ingestion.storage import keys
from dimse_ingestion.storage.contract import Bucket, StoredObject

_LOG = logger(__name__)
_SOP_CLASS_UID = 0x00080016
_TRIES = 5
_FIRST_PAUSE = 0.5
_EVERY = 1000


@dataclass
class Tally:
    """How far it is; `failed` has a sentence for each object that was left out."""

    told: int = 0
    passed_over: int = 0
    failed: dict[str, str] = field(default_factory=dict)


async def run(settings: IngestionSettings, *, parallel: int = 8) -> int:
    """Rebuild, and say how it went; exit status 1 when an object was left out."""
    logging.configure("reindex", settings.log_level)
    console = Console()
    space = StorageSpace(
        settings.provider_name,
        settings.event_source,
        settings.wado_internal_endpoint,
        settings.wado_external_endpoint,
    )
    async with opened_wires(settings) as wires:
        reindexing = Reindexing(wires.bucket, wires.sink, space)
        try:
            tally = await reindexing.run(parallel, lambda seen: console.print(_line(seen)))
        except DimseFailure as failure:
            console.print(f"Broken off: {failure.comment} Run it again: it goes on where it can.")
            return 1
    console.print(_line(tally))
    for key, why in tally.failed.items():
        console.print(f"left out: {key}: {why}")
    return 1 if tally.failed else 0


def _line(tally: Tally) -> str:
    return (
        f"{tally.told} instances told, {tally.passed_over} other objects passed over, "
        f"{len(tally.failed)} left out"
    )


class Reindexing:
    """Tells `sink` of every instance in `bucket`."""

    def __init__(self, bucket: Bucket, sink: EventSink, space: StorageSpace) -> None:
        self._bucket = bucket
        self._sink = sink
        self._space = space
        self._tally = Tally()

    async def run(self, parallel: int, progress: Callable[[Tally], None]) -> Tally:
        """All objects, `parallel` at once; `progress` is called each thousand.

        Raises DimseFailure when the bucket can't be listed or the sink stays down.
        """
        waiting: asyncio.Queue[StoredObject | None] = asyncio.Queue(maxsize=2 * parallel)
        async with asyncio.TaskGroup() as group:
            for _ in range(parallel):
                group.create_task(self._work(waiting, progress))
            async for each in self._instances():
                await waiting.put(each)
            for _ in range(parallel):
                await waiting.put(None)
        return self._tally

    async def _instances(self) -> AsyncIterator[StoredObject]:
        async for each in self._bucket.list(keys.INSTANCES):
            if keys.parsed(each.key) is None:
                self._tally.passed_over += 1
            else:
                yield each

    async def _work(
        self, waiting: "asyncio.Queue[StoredObject | None]", progress: Callable[[Tally], None]
    ) -> None:
        while (each := await waiting.get()) is not None:
            await self._one(each)
            done = self._tally.told + len(self._tally.failed)
            if done % _EVERY == 0:
                progress(self._tally)

    async def _one(self, each: StoredObject) -> None:
        for pause in (_FIRST_PAUSE * 2**n for n in range(_TRIES)):
            try:
                await self._tell(each)
            except KeyError:
                self._tally.failed[each.key] = "it vanished"
            except DimseFailure as failure:
                if failure.transient:
                    _LOG.warning("An object is tried again.", object=each.key, why=failure.comment)
                    await asyncio.sleep(pause)
                    continue
                self._tally.failed[each.key] = failure.comment
            else:
                self._tally.told += 1
            return
        await self._tell(each)
        self._tally.told += 1

    async def _tell(self, each: StoredObject) -> None:
        key = keys.parsed(each.key)
        if key is None:
            return
        read = await recalled(self._bucket, each.key)
        instance = _instance(key, each, read)
        check_elements(instance, read.elements)
        location = Location(self._bucket.name, each.key, read.header_size)
        operation = str(uuid5(NAMESPACE_URL, f"reindex/{each.key}"))
        await self._sink.accept(
            stored_event(operation, self._space, instance, location, read.elements)
        )


def _instance(key: keys.InstanceKey, each: StoredObject, read: Recalled) -> Instance:
    sop_class = by_tag(read.elements).get(_SOP_CLASS_UID)
    return Instance(
        sop_class_uid=sop_class.value.strip() if sop_class else "",
        sop_instance_uid=key.sop_instance_uid,
        transfer_syntax_uid=read.transfer_syntax_uid,
        size=each.size - read.header_size,
        sha256=key.sha256,
    )

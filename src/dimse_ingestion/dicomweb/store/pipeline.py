"""The instances of one STOW-RS request, stored while the request is still being read.

A part is spooled as it comes and stored beside those that follow it, a bounded number at once: an
object store answers each slowly and many quickly. Each instance succeeds or fails for itself, and
what was whole is stored whatever becomes of the rest of the request.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol
from uuid import uuid4

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicomweb.http.header_values import media_type
from dimse_ingestion.dicomweb.http.media_types import DICOM, OCTET_STREAM
from dimse_ingestion.dicomweb.store.part10_upload import InstanceIdentity, Part10Upload
from dimse_ingestion.dicomweb.store.response import ELEMENTS_OMITTED, UID_CONFLICT, Outcome
from dimse_ingestion.dicomweb.store.uid_conflicts import UidConflicts
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operations.event_builder import Instance
from dimse_ingestion.operations.store import Stored, Storer
from dimse_ingestion.spooling.spool import Spool

_LOG = logger(__name__)
_AT_ONCE = 32  # so that commits and queries of the catalogue are shared by many instances
_LARGE_AT_ONCE = 8
_LARGE = 512 * 1024  # bytes: memory is taken by large ones


class UploadedInstance(Protocol):
    """An instance that is there in whole (see `receiving`, `composed`)."""

    named: InstanceIdentity
    left_out: bool

    @property
    def size(self) -> int:
        """Bytes that have come of it; of metadata, those of its bulk data."""

    async def sealed(self) -> Instance:
        """As it is announced; raises DimseFailure when it can't be stored."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Its data set, once sealed."""

    def close(self) -> None:
        """Let go of what it holds."""


class StorePipeline:
    """One request's parts; `study` is the one they must be in, empty for any.

    Use as an asynchronous context manager: at its end nothing of the request is held any more.
    """

    def __init__(self, spool: Spool, storing: Storer, likening: UidConflicts, study: str) -> None:
        self._spool = spool
        self._storing = storing
        self._likening = likening
        self._brought: dict[str, str] = {}  # SOP Instance UID → digest
        self._study = study
        self._tasks: list[asyncio.Future[Outcome]] = []
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._room_for_large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._receiving: Part10Upload | None = None
        self._operation_id = ""
        self._at_end: list[Callable[[], None]] = []

    async def __aenter__(self) -> "StorePipeline":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._receiving is not None:
            self._receiving.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for let_go in self._at_end:
            let_go()

    def at_end(self, let_go: Callable[[], None]) -> None:
        """Have something let go of when nothing is being stored any more."""
        self._at_end.append(let_go)

    @property
    def count(self) -> int:
        """Instances that are whole."""
        return len(self._tasks)

    def begin(self, headers: Mapping[str, str]) -> None:
        """A part begins; one that by its headers is no Part-10 file is refused."""
        kind, _ = media_type(headers.get("content-type", DICOM))
        if kind not in (DICOM, OCTET_STREAM):
            sentence = f"A part has the media type {kind or 'unknown'}: send {DICOM}."
            self.refuse(DimseFailure(Status.CANNOT_UNDERSTAND, sentence))
            return
        self._operation_id = str(uuid4())
        self._receiving = Part10Upload(self._spool.open(self._operation_id))

    async def write(self, content: bytes) -> None:
        """Some of its bytes."""
        if self._receiving is not None:
            await self._receiving.write(content)

    async def end(self) -> None:
        """The part is whole: store it, as soon as there is room beside the others."""
        receiving, self._receiving = self._receiving, None
        if receiving is None:
            return
        await self.add(receiving, self._operation_id)

    async def finish(self) -> None:
        """No part follows."""

    async def add(self, arrived: UploadedInstance, operation_id: str = "") -> None:
        """Store what is whole, as soon as there is room beside the others."""
        rooms = [self._room, self._room_for_large][: 1 + (arrived.size > _LARGE)]
        await _acquire(rooms)
        storing = self._stored(operation_id or str(uuid4()), arrived)
        task = asyncio.create_task(storing, name="store a part")
        task.add_done_callback(lambda _: _release(rooms))
        self._tasks.append(task)

    def refuse(self, failure: DimseFailure) -> None:
        """A part that can't be an instance."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        outcome.set_result(Outcome(InstanceIdentity(), failure=failure))
        self._tasks.append(outcome)

    async def outcomes(self) -> list[Outcome]:
        """What became of each, in the order of the parts."""
        return list(await asyncio.gather(*self._tasks))

    async def _stored(self, operation_id: str, arrived: UploadedInstance) -> Outcome:
        try:
            instance = await arrived.sealed()
            self._check_study(arrived.named)
            with metrics.dicomweb_store_seconds.time():
                stored, otherwise = await self._likened(operation_id, instance, arrived)
        except DimseFailure as failure:
            _told_failure(failure, arrived.named)
            return Outcome(arrived.named, failure=failure)
        except Exception:  # noqa: BLE001 - one instance must not take the others' answers with it
            _LOG.exception("A mistake of ours kept an instance from being stored.")
            ours = DimseFailure(Status.PROCESSING_FAILURE, "internal error")
            return Outcome(arrived.named, failure=ours)
        finally:
            arrived.close()
        _told(instance, stored.key, operation_id, again=stored.duplicate)
        warnings = [ELEMENTS_OMITTED] * arrived.left_out + [UID_CONFLICT] * otherwise
        return Outcome(arrived.named, warnings=tuple(warnings))

    async def _likened(
        self, operation_id: str, instance: Instance, arrived: UploadedInstance
    ) -> tuple[Stored, bool]:
        """The instance stored, and whether it was known with other content before."""
        known = asyncio.create_task(self._is_known_otherwise(instance), name="liken a part")
        try:
            chunks = _ending_after(known, arrived.chunks())
            return await self._storing.store(operation_id, instance, chunks), await known
        finally:
            known.cancel()

    async def _is_known_otherwise(self, instance: Instance) -> bool:
        brought = self._brought.setdefault(instance.sop_instance_uid, instance.sha256)
        return brought != instance.sha256 or await self._likening.is_conflicting(instance)

    def _check_study(self, named: InstanceIdentity) -> None:
        if self._study and named.study_instance_uid != self._study:
            raise DimseFailure(
                Status.DOES_NOT_MATCH_SOP_CLASS,
                "Study Instance UID (0020,000D) is not that of the address it was sent to.",
            )


async def _acquire(rooms: Sequence[asyncio.Semaphore]) -> None:
    """Acquire all or, when cancelled, none."""
    acquired: list[asyncio.Semaphore] = []
    try:
        for room in rooms:
            await room.acquire()
            acquired.append(room)
    except asyncio.CancelledError:
        _release(acquired)
        raise


def _release(rooms: Sequence[asyncio.Semaphore]) -> None:
    for room in rooms:
        room.release()


async def _ending_after(
    known: asyncio.Future[bool], chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The chunks; their end waits, so that the catalogue is not told before it has been asked."""
    async for chunk in chunks:
        yield chunk
    await known


def _told(instance: Instance, key: str, operation_id: str, *, again: bool) -> None:
    metrics.dicomweb_stored.labels("again" if again else "new").inc()
    _LOG.info(
        "Instance stored.", object=key, size=instance.size, again=again, operation_id=operation_id
    )


def _told_failure(failure: DimseFailure, named: InstanceIdentity) -> None:
    status = f"{failure.status:04X}"
    metrics.dicomweb_store_failures.labels(status).inc()
    _LOG.warning(
        "An instance was not stored.",
        status=status,
        why=failure.comment,
        sop_instance_uid=named.sop_instance_uid,
    )

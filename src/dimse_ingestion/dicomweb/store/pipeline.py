"""The pipeline that stores the instances of one STOW-RS request while the body is being read.

A part is spooled as it arrives. When it is complete it is stored concurrently with the parts after
it, because an object store has a high latency for each object. The number of concurrent stores is
bounded. Each instance succeeds or fails on its own; one that was complete is stored even if the
rest of the request fails.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol
from uuid import uuid4

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.response_status import store_status
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicomweb.http.header_values import media_type
from dimse_ingestion.dicomweb.http.media_types import DICOM, OCTET_STREAM
from dimse_ingestion.dicomweb.store.part10_upload import InstanceIdentity, Part10Upload
from dimse_ingestion.dicomweb.store.response import ELEMENTS_OMITTED, UID_CONFLICT, Outcome
from dimse_ingestion.dicomweb.store.uid_conflicts import UidConflicts
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operations.event_builder import Instance
from dimse_ingestion.operations.store import Stored, Storer
from dimse_ingestion.spooling.spool import Spool

_LOG = logger(__name__)
_AT_ONCE = 32  # many, so that they share commits and queries of the catalogue
_LARGE_AT_ONCE = 8
_LARGE = 512 * 1024  # bytes; a large instance uses much memory while it is stored


class UploadedInstance(Protocol):
    """A complete instance: `Part10Upload` or `ComposedInstance`."""

    identity: InstanceIdentity
    has_omissions: bool

    @property
    def size(self) -> int:
        """Return the bytes that have arrived; for metadata, the bytes of its bulk data."""

    async def seal(self) -> Instance:
        """Return its description; raises Failure when it can't be stored."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the data set; call `seal` first."""

    def close(self) -> None:
        """Release its memory and files."""


class StorePipeline:
    """Stores the parts of one request; `study` is the study they must be in, empty for any.

    Use as an asynchronous context manager: on exit all stores have ended and all resources of the
    request are released.
    """

    def __init__(self, spool: Spool, storer: Storer, conflicts: UidConflicts, study: str) -> None:
        self._spool = spool
        self._storer = storer
        self._conflicts = conflicts
        self._digests: dict[str, str] = {}  # SOP Instance UID → digest
        self._study = study
        self._tasks: list[asyncio.Future[Outcome]] = []
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._large_slots = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._upload: Part10Upload | None = None
        self._operation_id = ""
        self._on_exit: list[Callable[[], None]] = []

    async def __aenter__(self) -> "StorePipeline":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._upload is not None:
            self._upload.close()
        await asyncio.gather(*self._unfinished(), return_exceptions=True)
        for release in self._on_exit:
            release()

    def on_exit(self, release: Callable[[], None]) -> None:
        """Call `release` on exit, when all stores have ended."""
        self._on_exit.append(release)

    @property
    def count(self) -> int:
        """Return the number of instances so far, stored, refused or in progress."""
        return len(self._tasks)

    def begin(self, headers: Mapping[str, str]) -> None:
        """Begin a part; refuse it when its media type is not that of a Part-10 file."""
        kind, _ = media_type(headers.get("content-type", DICOM))
        if kind not in (DICOM, OCTET_STREAM):
            sentence = f"A part has the media type {kind or 'unknown'}: send {DICOM}."
            self.refuse(DimseFailure(Status.CANNOT_UNDERSTAND, sentence))
            return
        self._operation_id = str(uuid4())
        self._upload = Part10Upload(self._spool.open(self._operation_id))

    async def write(self, content: bytes) -> None:
        """Take the next bytes of the part."""
        if self._upload is not None:
            await self._upload.write(content)

    async def end(self) -> None:
        """End the part and start to store it; wait while too many stores are in progress."""
        upload, self._upload = self._upload, None
        if upload is None:
            return
        await self.add(upload, self._operation_id)

    async def finish(self) -> None:
        """Do nothing: each part is stored when it ends."""

    async def add(self, upload: UploadedInstance, operation_id: str = "") -> None:
        """Start to store a complete instance; wait while too many stores are in progress."""
        semaphores = [self._slots, self._large_slots][: 1 + (upload.size > _LARGE)]
        await _acquire(semaphores)
        coroutine = self._store(operation_id or str(uuid4()), upload)
        task = asyncio.create_task(coroutine, name="store a part")
        task.add_done_callback(lambda _: _release(semaphores))
        self._tasks.append(task)

    def refuse(self, failure: Failure) -> None:
        """Add the outcome of a part that holds no instance."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        outcome.set_result(Outcome(InstanceIdentity(), failure=failure))
        self._tasks.append(outcome)

    async def outcomes(self) -> list[Outcome]:
        """Wait for all stores and return their outcomes, in the order of the parts."""
        await asyncio.gather(*self._unfinished())
        return [each.result() for each in self._tasks]

    def _unfinished(self) -> list[asyncio.Future[Outcome]]:
        """Return the stores in progress: waiting for thousands at once would block the loop."""
        return [each for each in self._tasks if not each.done()]

    async def _store(self, operation_id: str, upload: UploadedInstance) -> Outcome:
        try:
            instance = await upload.seal()
            self._check_study(upload.identity)
            with metrics.dicomweb_store_seconds.time():
                stored, has_conflict = await self._store_and_check(operation_id, instance, upload)
        except Failure as failure:
            _record_failure(failure, upload.identity)
            return Outcome(upload.identity, failure=failure)
        except Exception:  # noqa: BLE001 - one instance must not fail the others
            _LOG.exception("An internal error prevented an instance from being stored.")
            internal = DimseFailure(Status.PROCESSING_FAILURE, "internal error")
            return Outcome(upload.identity, failure=internal)
        finally:
            upload.close()
        _record_stored(instance, stored.key, operation_id, duplicate=stored.duplicate)
        warnings = [ELEMENTS_OMITTED] * upload.has_omissions + [UID_CONFLICT] * has_conflict
        return Outcome(upload.identity, warnings=tuple(warnings), is_new=not stored.duplicate)

    async def _store_and_check(
        self, operation_id: str, instance: Instance, upload: UploadedInstance
    ) -> tuple[Stored, bool]:
        """Store the instance; return also whether its UID was known with other content before."""
        conflict = asyncio.create_task(self._is_conflicting(instance), name="check a UID")
        try:
            chunks = _hold_end_for(conflict, upload.chunks())
            return await self._storer.store(operation_id, instance, chunks), await conflict
        finally:
            conflict.cancel()

    async def _is_conflicting(self, instance: Instance) -> bool:
        digest = self._digests.setdefault(instance.sop_instance_uid, instance.sha256)
        return digest != instance.sha256 or await self._conflicts.is_conflicting(instance)

    def _check_study(self, identity: InstanceIdentity) -> None:
        if self._study and identity.study_instance_uid != self._study:
            raise DimseFailure(
                Status.DOES_NOT_MATCH_SOP_CLASS,
                "Study Instance UID (0020,000D) is not that of the address it was sent to.",
            )


async def _acquire(semaphores: Sequence[asyncio.Semaphore]) -> None:
    """Acquire all; release those acquired when it is cancelled meanwhile."""
    acquired: list[asyncio.Semaphore] = []
    try:
        for semaphore in semaphores:
            await semaphore.acquire()
            acquired.append(semaphore)
    except asyncio.CancelledError:
        _release(acquired)
        raise


def _release(semaphores: Sequence[asyncio.Semaphore]) -> None:
    for semaphore in semaphores:
        semaphore.release()


async def _hold_end_for(
    conflict: asyncio.Future[bool], chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """Yield the chunks, and end only when the check for a conflict is done.

    Otherwise the catalogue could record the new object before the query for the old ones.
    """
    async for chunk in chunks:
        yield chunk
    await conflict


def _record_stored(instance: Instance, key: str, operation_id: str, *, duplicate: bool) -> None:
    metrics.dicomweb_stored.labels("again" if duplicate else "new").inc()
    _LOG.info(
        "Instance stored.",
        object=key,
        size=instance.size,
        duplicate=duplicate,
        operation_id=operation_id,
    )


def _record_failure(failure: Failure, identity: InstanceIdentity) -> None:
    status = f"{store_status(failure):04X}"
    metrics.dicomweb_store_failures.labels(status).inc()
    _LOG.warning(
        "An instance was not stored.",
        status=status,
        reason=failure.comment,
        sop_instance_uid=identity.sop_instance_uid,
    )

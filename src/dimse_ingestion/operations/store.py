"""C-STORE (PS3.4 annex B): writes an instance to the bucket, then sends its event.

Chunks are uploaded while the scanner reads them; the object becomes visible only when the data set
is complete and is the announced instance. Storing twice is harmless: the key is a function of the
content, and the event's id of operation and key. Nothing here depends on DIMSE or HTTP.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from dimse_ingestion.dicom import part10
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.scanner import Scanner
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.events.contract import EventSink
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operations.event_builder import (
    Instance,
    Location,
    StorageSpace,
    check_elements,
    check_uids,
    stored_event,
)
from dimse_ingestion.operations.event_cache import AcceptedEvents
from dimse_ingestion.operations.object_reader import ObjectMetadata, read_metadata
from dimse_ingestion.operations.scan_pacing import ScanPacing, ScanShare
from dimse_ingestion.storage.contract import Bucket, StoredObject
from dimse_ingestion.storage.keys import instance_key

_LOG = logger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance in bucket and catalogue; `duplicate` when its object existed before."""

    key: str
    event_id: str
    duplicate: bool


class Storer:
    """Stores instances of one storage space."""

    def __init__(
        self,
        bucket: Bucket,
        sink: EventSink,
        space: StorageSpace,
        pacing: ScanPacing | None = None,
    ) -> None:
        self._bucket = bucket
        self._sink = sink
        self._space = space
        self._pacing = pacing or ScanPacing()
        self._accepted_events = AcceptedEvents()

    async def already(self, operation_id: str, instance: Instance) -> Stored | None:
        """Return the instance if its object exists, sending its event again if need be, else None.

        Raises Failure as the bucket and the sink do, DimseFailure A900 for invalid UIDs.
        """
        existing = await self._bucket.head(_object_key(instance))
        if existing is None:
            return None
        return await self._existing(operation_id, instance, existing)

    async def _existing(
        self, operation_id: str, instance: Instance, existing: StoredObject
    ) -> Stored | None:
        """Return the instance of an existing object, or None if the object is damaged."""
        key = existing.key
        if accepted_events := self._accepted_events.event_id(key, instance.sop_class_uid):
            return Stored(key, accepted_events, duplicate=True)
        with self._pacing.share() as share:
            metadata = await self._read_existing(instance, existing, share)
            if metadata is None:
                return None
            check_elements(instance, metadata.elements)
            elements = metadata.elements
            accepted = await self._send_event(
                operation_id, instance, key, metadata.header_size, elements
            )
        return Stored(key, accepted, duplicate=True)

    async def store(
        self, operation_id: str, instance: Instance, chunks: AsyncIterator[bytes]
    ) -> Stored:
        """Store the data set of `chunks`; no chunk is read when the object exists already.

        An exception from `chunks` is raised again, and no object becomes visible. Raises Failure
        as bucket and sink do, and DimseFailure C000 or A900 for a data set that is refused.
        """
        if stored := await self.already(operation_id, instance):
            return stored
        return await self.store_new(operation_id, instance, chunks)

    async def store_small(
        self, operation_id: str, instance: Instance, chunks: AsyncIterator[bytes]
    ) -> Stored:
        """Store the data set of `chunks` like `store`, but read it, into memory, in any case.

        So whether the object exists is found by the put itself.
        """
        content = [chunk async for chunk in chunks]
        key, header = _object_key(instance), _header(instance)
        with self._pacing.share() as share:
            upload = _Upload(instance, header, _each(content), share)
            existing = await self._bucket.put_new(key, upload.object(), upload.size)
            if existing is None:
                return await self._stored(operation_id, key, upload)
        if stored := await self._existing(operation_id, instance, existing):
            return stored
        return await self.store_new(operation_id, instance, _each(content))

    async def store_new(
        self, operation_id: str, instance: Instance, chunks: AsyncIterator[bytes]
    ) -> Stored:
        """Store the data set of `chunks` like `store`, after `already` has returned None.

        The bucket is not asked again: if another replica has stored the instance meanwhile, the
        same content is put under the same key, and the catalogue knows the object by its name.
        """
        key = _object_key(instance)
        with self._pacing.share() as share:
            upload = _Upload(instance, _header(instance), chunks, share)
            await self._bucket.put(key, upload.object(), upload.size)
            return await self._stored(operation_id, key, upload)

    async def _stored(self, operation_id: str, key: str, upload: "_Upload") -> Stored:
        """Send the event of an object that is stored now."""
        accepted = await self._send_event(
            operation_id, upload.instance, key, len(upload.header), upload.elements
        )
        return Stored(key, accepted, duplicate=False)

    async def _read_existing(
        self, instance: Instance, existing: StoredObject, share: ScanShare
    ) -> ObjectMetadata | None:
        """Return the object's metadata, or None for a damaged object, which is then overwritten."""
        try:
            metadata = await read_metadata(self._bucket, existing, share)
        except KeyError:
            return None
        except DimseFailure as failure:
            if failure.status != Status.CANNOT_UNDERSTAND:
                raise
            _LOG.warning(
                "A damaged object is overwritten.", object=existing.key, reason=str(failure)
            )
            return None
        if metadata.header_size + instance.size != existing.size:
            _LOG.warning("An object of another size is overwritten.", object=existing.key)
            return None
        return metadata

    async def _send_event(
        self,
        operation_id: str,
        instance: Instance,
        key: str,
        header_size: int,
        elements: list[Element],
    ) -> str:
        location = Location(self._bucket.name, key, header_size)
        event = stored_event(operation_id, self._space, instance, location, elements)
        await self._sink.accept(event)
        self._accepted_events.add(key, instance.sop_class_uid, event.id)
        return event.id


class _Upload:
    """An object during its upload, and the elements that were read from it."""

    def __init__(
        self, instance: Instance, header: bytes, chunks: AsyncIterator[bytes], share: ScanShare
    ) -> None:
        self.instance = instance
        self.header = header
        self.elements: list[Element] = []
        self._share = share
        self._chunks = chunks

    @property
    def size(self) -> int:
        """The object's bytes."""
        return len(self.header) + self.instance.size

    async def object(self) -> AsyncIterator[bytes]:
        """Yield header and data set.

        The last chunk is held back until all checks have passed, so that the upload of a bad data
        set never completes. The size is checked here alone: buckets rely on it.
        """
        scanner = Scanner(self.instance.transfer_syntax_uid)
        waiting = self.header
        received = 0
        async for chunk in self._chunks:
            await self._share.feed(scanner, chunk)
            received += len(chunk)
            if received > self.instance.size:
                break
            yield waiting
            waiting = chunk
        if received != self.instance.size:
            raise DimseFailure(
                Status.PROCESSING_FAILURE,
                "The data set has another size than announced: send it again.",
            )
        self.elements = scanner.finish()
        check_elements(self.instance, self.elements)
        yield waiting


def _object_key(instance: Instance) -> str:
    check_uids(instance)
    try:
        return instance_key(
            instance.sha256, instance.transfer_syntax_uid, instance.sop_instance_uid
        )
    except ValueError as wrong:
        raise DimseFailure(Status.DOES_NOT_MATCH_SOP_CLASS, str(wrong)) from wrong


def _header(instance: Instance) -> bytes:
    return part10.header(
        instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid
    )


async def _each(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk

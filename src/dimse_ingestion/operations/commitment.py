"""The check of storage commitment (PS3.4 annex J): which referenced instances are safely stored.

An instance is, if the catalogue knows it under its class and its object in the bucket has the
recorded size, or on request the recorded digest. A backend that fails is no answer about any
instance: the check then fails as a whole, and its caller repeats it later. Transactions, waiting
and reports are the proxy's.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import SOP_CLASS_UID, SOP_INSTANCE_UID, by_tag, element
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.operations.prefetch import prefetch
from dimse_ingestion.queries.contract import Located, Query, QueryClient
from dimse_ingestion.storage.contract import Bucket

_CONCURRENT_HEADS = 16
_CONCURRENT_READS = 2


@dataclass(frozen=True, slots=True)
class InstanceReference:
    """An instance as a storage commitment request references it."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the catalogue knows of an instance, without its elements."""

    sop_class_uid: str
    object_name: str
    header_size: int
    size: int
    sha256: str


class CommitmentCheck:
    """Checks references of one storage space."""

    def __init__(self, bucket: Bucket, queries: QueryClient) -> None:
        self._bucket = bucket
        self._queries = queries
        self._reads = asyncio.Semaphore(_CONCURRENT_READS)

    async def reasons(
        self, references: Sequence[InstanceReference], *, reads_objects: bool = False
    ) -> list[Status]:
        """Return a Failure Reason for each reference in order (PS3.3 C.14.1.1), 0000 if it is safe.

        0112 when it is not in the catalogue or its object is gone, 0119 when it is known under
        another class, 0110 when its object is damaged. Raises Failure as the backends do.
        """
        entries = await self._entries(references)

        async def check(reference: InstanceReference) -> Status:
            known = entries.get(reference.sop_instance_uid, [])
            return await self._reason(reference, known, reads_objects=reads_objects)

        jobs = [lambda each=each: check(each) for each in references]
        async with aclosing(prefetch(jobs, _CONCURRENT_HEADS)) as checks:
            reasons = [each async for each in checks]
        if Status.NO_SUCH_SOP_INSTANCE in reasons:
            await self._bucket.check()  # the answer to a HEAD is the same for a missing bucket
        return reasons

    async def _entries(self, references: Sequence[InstanceReference]) -> dict[str, list[_Entry]]:
        wanted = {each.sop_instance_uid for each in references}
        names = sorted(each for each in wanted if uids.is_valid(each))
        entries: dict[str, list[_Entry]] = {}
        if not names:
            return entries
        query = Query(scope="IMAGE", keys=[element(SOP_INSTANCE_UID, "UI", "\\".join(names))])
        async with aclosing(self._queries.objects(query)) as instances:
            async for located in instances:
                sop_instance_uid, entry = _entry(located)
                entries.setdefault(sop_instance_uid, []).append(entry)
        return entries

    async def _reason(
        self, reference: InstanceReference, known: Sequence[_Entry], *, reads_objects: bool
    ) -> Status:
        """Return the best reason of the entries: one instance may be known in several studies."""
        if not known:
            return Status.NO_SUCH_SOP_INSTANCE
        of_class = [each for each in known if each.sop_class_uid == reference.sop_class_uid]
        if not of_class:
            return Status.CLASS_INSTANCE_CONFLICT
        reason = Status.NO_SUCH_SOP_INSTANCE
        for entry in of_class:
            reason = await self._object_reason(entry, reads_objects=reads_objects)
            if reason is Status.SUCCESS:
                break
        return reason

    async def _object_reason(self, entry: _Entry, *, reads_objects: bool) -> Status:
        stored = await self._bucket.head(entry.object_name)
        if stored is None:
            return Status.NO_SUCH_SOP_INSTANCE
        if stored.size != entry.header_size + entry.size:
            return Status.PROCESSING_FAILURE
        if not reads_objects:
            return Status.SUCCESS
        async with self._reads:
            return await self._digest_reason(entry)

    async def _digest_reason(self, entry: _Entry) -> Status:
        digest = hashlib.sha256()
        to_skip = entry.header_size
        try:
            async for piece in self._bucket.stream(entry.object_name):
                skipped = min(to_skip, len(piece))
                to_skip -= skipped
                await asyncio.to_thread(digest.update, memoryview(piece)[skipped:])
        except KeyError:
            return Status.NO_SUCH_SOP_INSTANCE
        is_intact = digest.hexdigest() == entry.sha256
        return Status.SUCCESS if is_intact else Status.PROCESSING_FAILURE


def _entry(located: Located) -> tuple[str, _Entry]:
    elements = by_tag(located.elements)
    sop_class, sop_instance = (
        uids.strip_padding(elements[tag].value) if tag in elements else ""
        for tag in (SOP_CLASS_UID, SOP_INSTANCE_UID)
    )
    entry = _Entry(
        sop_class, located.object_name, located.header_size, located.size, located.sha256
    )
    return sop_instance, entry

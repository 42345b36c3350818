"""Instances stored as by C-STORE, in a memory bucket that records its reads."""

import hashlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from uuid import uuid4

from pydicom import dcmread

from dimse_ingestion.events.memory import MemorySink
from dimse_ingestion.operations.event_builder import Instance, StorageSpace
from dimse_ingestion.operations.store import Storer
from dimse_ingestion.queries.contract import Located
from dimse_ingestion.queries.memory import MemoryQueryClient
from dimse_ingestion.storage.memory import MemoryBucket
from tests.storable import data_set_of


class CountingBucket(MemoryBucket):
    """Records each read as key, offset and length."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[str, int, int]] = []

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        self.reads.append((key, offset, length))
        return await super().get_range(key, offset, length)


class Archive:
    """A bucket and a catalogue with the same instances."""

    def __init__(self) -> None:
        self.bucket = CountingBucket()
        self.queries = MemoryQueryClient()
        self._sink = MemorySink()
        self._storer = Storer(self.bucket, self._sink, StorageSpace("radiology", "test"))

    async def add(
        self, data_set: bytes, transfer_syntax_uid: str, *, uid: str, sop: str
    ) -> Located:
        """Store a data set and add it to the catalogue."""
        digest = hashlib.sha256(data_set).hexdigest()
        instance = Instance(sop, uid, transfer_syntax_uid, len(data_set), digest)
        await self._storer.store(str(uuid4()), instance, _pieces(data_set))
        located = located_of(self._sink)
        self.queries.add(located)
        self.bucket.reads.clear()
        return located

    async def add_file(self, path: Path) -> Located:
        """Store a Part-10 file."""
        head = dcmread(path, stop_before_pixels=True, force=True)
        syntax = head.file_meta.TransferSyntaxUID
        return await self.add(
            data_set_of(path), syntax, uid=head.SOPInstanceUID, sop=head.SOPClassUID
        )

    async def add_files(self, paths: Iterable[Path]) -> list[Located]:
        """Store several."""
        return [await self.add_file(path) for path in paths]


def located_of(sink: MemorySink) -> Located:
    """Return the catalogue's record of the last event."""
    data = sink.accepted[-1].data
    return Located(
        elements=data.image.elements,
        transfer_syntax_uid=data.image.transfer_syntax_uid,
        bucket_name=data.store.bucket_name,
        object_name=data.store.object_name,
        size=data.store.size,
        header_size=data.store.header_size,
        sha256=data.store.sha256,
    )


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1 << 20):
        yield data[start : start + (1 << 20)]

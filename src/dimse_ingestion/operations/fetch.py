"""The data set of one stored object, without its Part 10 header, from any byte on.

Used for the sub-operations of C-MOVE and C-GET, whose proxy names the object. The key comes from
outside, so only a key that `storage.keys` would build is read, and only from this space's bucket.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

from dimse_ingestion.dicom import part10
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.native_conversion import NativeConverter
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.storage.contract import Bucket
from dimse_ingestion.storage.keys import InstanceKey, parse_key

_READ_SIZE = 2**20
"""Bytes of one read; an object that is hardly longer is read at once."""
_HEAD = 144
"""Bytes that say where the data set begins."""


class DataSetReader:
    """Reads the data sets of one bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def data_set(
        self, key: InstanceKey, size: int, offset: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """Yield the `size` bytes of a data set from `offset` on, as they are stored.

        Raises DimseFailure 0110 when the object is missing, shorter or no DICOM file, and Failure
        as the bucket.
        """
        name = str(key)
        head = await self._read(
            name, 0, _HEAD if offset else part10.LONGEST + min(size, _READ_SIZE)
        )
        header_size = _data_set_offset(head)
        position, end = header_size + offset, header_size + size
        if first := b"" if offset else head[header_size:end]:
            position += len(first)
            yield first
        async for piece in self._range(name, position, end):
            yield piece

    async def _range(self, name: str, position: int, end: int) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from `position` to `end`, one piece read ahead."""
        next_read: asyncio.Task[bytes] | None = None
        try:
            while position < end:
                read = next_read or self._read_task(name, position, end)
                piece = await read
                if not piece:
                    raise _damaged("The object is shorter than the catalogue says")
                position += len(piece)
                next_read = self._read_task(name, position, end) if position < end else None
                yield piece
        finally:
            if next_read is not None:
                next_read.cancel()
                await asyncio.gather(next_read, return_exceptions=True)

    def _read_task(self, name: str, position: int, end: int) -> asyncio.Task[bytes]:
        length = min(_READ_SIZE, end - position)
        return asyncio.create_task(self._read(name, position, length))

    async def _read(self, name: str, offset: int, length: int) -> bytes:
        try:
            return await self._bucket.get_range(name, offset, length)
        except KeyError:
            raise _damaged("The object is not in the bucket any more") from None

    async def converted(
        self, key: InstanceKey, size: int, transfer_syntax_uid: str
    ) -> AsyncGenerator[bytes, None]:
        """Yield a whole data set in another native transfer syntax.

        Raises DimseFailure: C122 for a transfer syntax to or from which none is converted, 0110
        when the stored bytes are not those of the key's digest, C000 when they can't be converted;
        and as `data_set`.
        """
        try:
            converter = NativeConverter(key.transfer_syntax_uid, transfer_syntax_uid)
        except ValueError:
            raise DimseFailure(
                Status.TRANSFER_SYNTAX_NOT_SUPPORTED,
                f"Propose {key.transfer_syntax_uid}: it is not converted to {transfer_syntax_uid}",
            ) from None
        stored = hashlib.sha256()
        async with aclosing(self.data_set(key, size)) as pieces:
            async for piece in pieces:
                stored.update(piece)
                # a piece may have thousands of elements: the event loop runs other tasks meanwhile
                if output := await asyncio.to_thread(converter.feed, piece):
                    yield output
        if stored.hexdigest() != key.sha256:
            raise _damaged("The object does not have its digest: it is damaged")
        if output := converter.finish():
            yield output


def checked_key(key: str, sha256: str) -> InstanceKey:
    """Return the parts of a key that a proxy sent; raises DimseFailure 0110 for any other key.

    The digest in the key must be the announced one, and each part must be valid, so that no key
    leaves the folder of instances.
    """
    parts = parse_key(key)
    if parts is not None and parts.sha256 == sha256 and _is_buildable(parts):
        return parts
    raise DimseFailure(Status.PROCESSING_FAILURE, "The key is not one of an instance")


def _is_buildable(parts: InstanceKey) -> bool:
    try:
        str(parts)
    except ValueError:
        return False
    return True


def _data_set_offset(head: bytes) -> int:
    try:
        return part10.data_set_offset(head)
    except DimseFailure:
        raise _damaged("The object is not a DICOM file") from None


def _damaged(sentence: str) -> DimseFailure:
    return DimseFailure(Status.PROCESSING_FAILURE, sentence)

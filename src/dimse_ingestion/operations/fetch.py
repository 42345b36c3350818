"""The data set of one stored object, without its Part 10 header, from any byte on.

Used for the sub-operations of C-MOVE and C-GET, whose proxy names the object. The key comes from
outside, so only a key that `storage.keys` would build is read, and only from this space's bucket.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from dimse_ingestion.dicom import part10
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.native_conversion import READABLE, WRITABLE
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicom.uids import DEFLATED
from dimse_ingestion.failures import LimitExceeded
from dimse_ingestion.operations.decompression import MAXIMUM_DECOMPRESSED, Decompressor
from dimse_ingestion.operations.re_encoding import (
    check_inflated,
    may_inflate_beyond,
    re_encoded,
)
from dimse_ingestion.pixels.decoder_pool import DECODABLE
from dimse_ingestion.pixels.failures import DecodersMissing, Undecodable
from dimse_ingestion.queries.contract import Located
from dimse_ingestion.storage.contract import Bucket
from dimse_ingestion.storage.keys import InstanceKey, parse_key

_READ_SIZE = 2**20
"""Bytes of one read; an object that is hardly longer is read at once."""
_HEAD = 144
"""Bytes that say where the data set begins."""


class DataSetReader:
    """Reads the data sets of one bucket; without `decompressor`, no pixels are decompressed.

    A deflated one of more than `maximum_converted` bytes is not re-encoded.
    """

    def __init__(
        self,
        bucket: Bucket,
        decompressor: Decompressor | None = None,
        *,
        maximum_converted: int = MAXIMUM_DECOMPRESSED,
    ) -> None:
        self._bucket = bucket
        self._decompressor = decompressor
        self._maximum_converted = maximum_converted

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

    async def whole(self, key: InstanceKey, size: int) -> memoryview:
        """Return the `size` bytes of a short data set, as they are stored, by one read.

        The view saves a copy. Raises as `data_set`, and before any byte is returned.
        """
        head = await self._read(str(key), 0, part10.LONGEST + size)
        header_size = _data_set_offset(head)
        content = memoryview(head)[header_size : header_size + size]
        if len(content) < size:
            raise _damaged("The object is shorter than the catalogue says")
        return content

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

    def converted(
        self, key: InstanceKey, size: int, transfer_syntax_uid: str
    ) -> AsyncGenerator[bytes, None]:
        """Return the pieces of a whole data set in another native transfer syntax.

        Compressed pixels are decompressed. Raises DimseFailure: C122 for a transfer syntax to or
        from which none is converted, 0110 when the stored bytes are not those of the key's digest,
        C000 when they can't be converted, A700 when they are too large; Failure as `Decompressor`
        does; and as `data_set`.
        """
        stored = key.transfer_syntax_uid
        if transfer_syntax_uid not in WRITABLE:
            raise _not_converted(key, f"nothing is converted to {transfer_syntax_uid}")
        if stored in READABLE:
            return self._re_encoded(key, size, transfer_syntax_uid)
        if stored not in DECODABLE:
            raise _not_converted(key, "its pixels can't be decoded")
        if self._decompressor is None:
            raise _not_converted(key, "this ingestion service has no decoders")
        return self._decompressed(self._decompressor, key, size, transfer_syntax_uid)

    async def _re_encoded(
        self, key: InstanceKey, size: int, transfer_syntax_uid: str
    ) -> AsyncGenerator[bytes, None]:
        stored, most = key.transfer_syntax_uid, self._maximum_converted
        if stored in DEFLATED and may_inflate_beyond(size, most):
            with _decoding_failures(key):
                await check_inflated(self._verified(key, size), most)
        pieces = re_encoded(self._verified(key, size), stored, transfer_syntax_uid)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def _decompressed(
        self, decompressor: Decompressor, key: InstanceKey, size: int, transfer_syntax_uid: str
    ) -> AsyncGenerator[bytes, None]:
        located, verified = _located(key, size), self._verified(key, size)
        pieces = decompressor.converted(located, verified, transfer_syntax_uid)
        with _decoding_failures(key):
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece

    async def _verified(self, key: InstanceKey, size: int) -> AsyncGenerator[bytes, None]:
        """Yield a data set as it is stored; raises DimseFailure 0110 unless it has its digest."""
        digest = hashlib.sha256()
        async with aclosing(self.data_set(key, size)) as pieces:
            async for piece in pieces:
                digest.update(piece)
                yield piece
        if digest.hexdigest() != key.sha256:
            raise _damaged("The object does not have its digest: it is damaged")


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


def _located(key: InstanceKey, size: int) -> Located:
    """Return what is known of a data set whose elements are not."""
    return Located(
        elements=[],
        transfer_syntax_uid=key.transfer_syntax_uid,
        bucket_name="",
        object_name=str(key),
        size=size,
        header_size=0,
        sha256=key.sha256,
    )


@contextmanager
def _decoding_failures(key: InstanceKey) -> Iterator[None]:
    """Give failures of decoding their status, and say what would avoid them."""
    try:
        yield
    except DecodersMissing as failure:
        raise _not_converted(key, failure.comment) from None
    except Undecodable as failure:
        raise DimseFailure(Status.CANNOT_UNDERSTAND, _cure(key, failure.comment)) from None
    except LimitExceeded as failure:
        raise DimseFailure(Status.OUT_OF_RESOURCES, _cure(key, failure.comment)) from None


def _not_converted(key: InstanceKey, reason: str) -> DimseFailure:
    return DimseFailure(Status.TRANSFER_SYNTAX_NOT_SUPPORTED, _cure(key, reason))


def _cure(key: InstanceKey, reason: str) -> str:
    return f"Let the receiver accept transfer syntax {key.transfer_syntax_uid}: {reason}"

"""The instances of a study or series, or a single one, and the bytes of their objects.

The catalogue knows the location of an object, and the bucket has its bytes. Small objects are
prefetched within a memory budget that all requests share, so that a thousand of them are not a
thousand sequential round trips to an object store. Nothing here depends on HTTP.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.byte_feed import Inflater
from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.frames import PIXEL_DATA, FrameNotFound, image_pixels
from dimse_ingestion.dicom.query_levels import UNIQUE_KEYS
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicom.value_representations import little_endian
from dimse_ingestion.queries.contract import Located, Query, QueryClient
from dimse_ingestion.storage.contract import RangeSource

READ_SIZE = 2 * 2**20
"""Bytes of one read of a large object."""

CONCURRENT_READS = 16
_REFILLED_AT = 12  # reads
_MAX_PREFETCHED = 2 * 2**20
_MEMORY_BUDGET = 64 * 2**20
_REDUCTION = 8
_READS_PER_READER = 3  # one being sent, one read ahead, one in the client's socket buffer
_MAX_WORD = 8


class ObjectMissing(LookupError):
    """The object of an instance in the catalogue is not in the bucket."""

    def __init__(self, located: Located) -> None:
        super().__init__(
            "The catalogue knows this instance, but its object is not in the bucket any more: "
            "restore it there, or rebuild the catalogue from the bucket."
        )
        self.located = located


@dataclass(frozen=True, slots=True)
class RetrievedObject:
    """An instance and its whole object; `chunks` is None when the object is missing.

    `missing` is the number of missing objects among those prefetched with the first one.
    """

    located: Located
    chunks: AsyncGenerator[bytes, None] | None
    missing: int = 0


def object_size(located: Located) -> int:
    """Return the size of the object in bytes: Part 10 header and data set."""
    return located.header_size + located.size


def _level_keys(study: str, series: str, instance: str) -> list[Element]:
    levels = (("STUDY", study), ("SERIES", series), ("IMAGE", instance))
    return [element(UNIQUE_KEYS[level], "UI", uid) for level, uid in levels if uid]


class ObjectBytes:
    """Reads the bytes of objects, within a memory budget; raises Failure as the source does."""

    def __init__(self, source: RangeSource) -> None:
        self._source = source
        self._budget = _MEMORY_BUDGET

    async def object_range(
        self, located: Located, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield `length` bytes of the object from `offset` in pieces, one of them read ahead.

        While the memory budget is used up, pieces are smaller and not read ahead. Raises
        ObjectMissing, and DimseFailure 0110 when the object ends before that.
        """
        end, reserved = offset + length, 0
        next_read: asyncio.Task[bytes] | None = None
        try:
            while offset < end:
                # a reader without memory tries again at each piece, as others release theirs
                reserved = reserved or self._reserve(end - offset)
                size = min(READ_SIZE if reserved else READ_SIZE // _REDUCTION, end - offset)
                piece = await (next_read or self.read(located, offset, size))
                offset += len(piece)
                following = min(READ_SIZE, end - offset) if reserved else 0
                read = self.read(located, offset, following) if following else None
                next_read = asyncio.create_task(read) if read else None
                yield piece
        finally:
            self._budget += reserved
            if next_read is not None:
                await _cancel([next_read])

    def _reserve(self, length: int) -> int:
        """Reserve memory for one reader of `length` bytes; return 0 when there is too little."""
        needed = min(length, _READS_PER_READER * READ_SIZE)
        if needed > self._budget:
            return 0
        self._budget -= needed
        return needed

    async def read(self, located: Located, offset: int, length: int) -> bytes:
        """Return `length` bytes of the object with one read; raises as `object_range`."""
        try:
            content = await self._source.get_range(located.object_name, offset, length)
        except KeyError:
            raise ObjectMissing(located) from None
        if len(content) != length:
            raise DimseFailure(
                Status.PROCESSING_FAILURE,
                "An object in the bucket is shorter than the catalogue says: it is damaged.",
            )
        return content

    def data_set_range(
        self, located: Located, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield `length` bytes of the data set from `offset`, inflated where it is deflated."""
        if located.transfer_syntax_uid == uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            return self._inflated_range(located, offset, length)
        return self.object_range(located, located.header_size + offset, length)

    async def value(
        self, located: Located, element_: Element, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield a bulk value or a part of it, in little endian (PS3.18 8.7.3.2)."""
        if element_.bulk is None:
            return
        length = element_.bulk.length if length is None else length
        is_big_endian = located.transfer_syntax_uid == uids.EXPLICIT_VR_BIG_ENDIAN
        word_vr = _word_vr(located, element_) if is_big_endian else element_.vr
        # bytes are swapped by words, so the range begins and ends at word boundaries
        odd = offset % _MAX_WORD if is_big_endian else 0
        begin, end = element_.bulk.offset + offset - odd, element_.bulk.offset + offset + length
        if is_big_endian:
            end = min(end + -(end - begin) % _MAX_WORD, element_.bulk.offset + element_.bulk.length)
        async with aclosing(self.data_set_range(located, begin, end - begin)) as pieces:
            async for piece in pieces:  # whole words: READ_SIZE is a multiple of every word size
                converted = (
                    little_endian(piece, word_vr)[odd : odd + length] if is_big_endian else piece
                )
                odd, length = 0, length - len(converted)
                yield converted

    async def _inflated_range(
        self, located: Located, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        inflating, place, end = Inflater(), 0, offset + length
        whole = self.object_range(located, located.header_size, located.size)
        async with aclosing(whole) as pieces:
            async for piece in pieces:
                for converted in _inflate(inflating, piece):
                    begin = max(0, offset - place)
                    needed = converted[begin : max(begin, end - place)]
                    place += len(converted)
                    if needed:
                        yield needed
                if place >= end:
                    return


class Retriever(ObjectBytes):
    """Retrieves from one storage space; every method raises Failure as the backends do."""

    def __init__(self, source: RangeSource, queries: QueryClient) -> None:
        super().__init__(source)
        self._queries = queries

    def instances(
        self, study: str, series: str = "", *, locations_only: bool = False
    ) -> AsyncGenerator[Located, None]:
        """Yield the instances with these UIDs; close the generator when stopping early.

        With `locations_only` they have no elements but the class and UIDs.
        """
        keys = _level_keys(study, series, "")
        return self._queries.objects(Query(scope="IMAGE", keys=keys, locations_only=locations_only))

    async def instance(
        self, study: str, series: str, instance: str, *, locations_only: bool = False
    ) -> Located | None:
        """Return one instance, or None when it is not in the catalogue."""
        query = Query(
            scope="IMAGE",
            keys=_level_keys(study, series, instance),
            limit=1,
            locations_only=locations_only,
        )
        # read to the end: leaving an answer early closes the connection to the catalogue
        instances = [each async for each in self._queries.objects(query)]
        return instances[0] if instances else None

    async def objects(
        self, instances: AsyncGenerator[Located, None]
    ) -> AsyncGenerator[RetrievedObject, None]:
        """Yield the objects of instances in order, small ones prefetched.

        The chunks of one object must be read or abandoned before the next object is requested.
        """
        waiting: deque[_Prefetched] = deque()
        # the first batch is awaited for its missing objects: a response's status depends on them
        more, missing = True, -1
        try:
            while True:
                refill = len(waiting) <= _REFILLED_AT
                # some at once, because the folder bucket reads those in one call of a thread
                while more and len(waiting) < (CONCURRENT_READS if refill else 0):
                    located = await anext(instances, None)
                    more = located is not None
                    if located is not None:
                        waiting.append(self._prefetch(located))
                if not waiting:
                    return
                if missing < 0:
                    missing = await _count_missing([each.task for each in waiting])
                prefetched = waiting.popleft()
                try:
                    yield await self._open(prefetched, missing)
                finally:
                    self._budget += prefetched.reserved
        finally:
            self._budget += sum(prefetched.reserved for prefetched in waiting)
            await _cancel([each.task for each in waiting if each.task is not None])
            await instances.aclose()

    def _prefetch(self, located: Located) -> "_Prefetched":
        size = object_size(located)
        if size > min(_MAX_PREFETCHED, self._budget):
            return _Prefetched(located, None, 0)
        self._budget -= size
        return _Prefetched(located, asyncio.create_task(self.read(located, 0, size)), size)

    async def _open(self, prefetched: "_Prefetched", missing: int) -> RetrievedObject:
        located = prefetched.located
        pieces = self.object_range(located, 0, object_size(located))
        try:
            first = await (prefetched.task or anext(pieces))
        except ObjectMissing:
            return RetrievedObject(located, None, missing)
        chunks = _single_chunk(first) if prefetched.task else _prepend(first, pieces)
        return RetrievedObject(located, chunks, missing)


@dataclass(frozen=True, slots=True)
class _Prefetched:
    """An instance that waits to be yielded; `reserved` bytes of the budget are its own."""

    located: Located
    task: asyncio.Task[bytes] | None
    reserved: int


async def _single_chunk(piece: bytes) -> AsyncGenerator[bytes, None]:
    yield piece


async def _prepend(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


def _inflate(inflating: Inflater, piece: bytes) -> list[bytes]:
    try:
        return list(inflating.pieces(piece))
    except zlib.error:
        raise DimseFailure(
            Status.PROCESSING_FAILURE, "The instance's deflated data set is damaged."
        ) from None


async def _count_missing(tasks: list[asyncio.Task[bytes] | None]) -> int:
    """Count the reads that find no object; other errors are raised in their order."""
    content = await asyncio.gather(*filter(None, tasks), return_exceptions=True)
    return sum(isinstance(each, ObjectMissing) for each in content)


async def _cancel(tasks: list[asyncio.Task[bytes]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _word_vr(located: Located, element_: Element) -> str:
    """Return the VR of a value's words: for pixel data it depends on Bits Allocated."""
    try:
        return image_pixels(located.elements).word_vr if element_.tag == PIXEL_DATA else element_.vr
    except FrameNotFound:
        return element_.vr

"""WADO-RS, C-GET: the instances of a study, series or one, and the bytes of their objects.

The catalogue says where an object stands, the bucket gives it. Small objects are fetched ahead of
their turn, within a bound that all requests share, so that a thousand of them on an object store
are not a thousand round trips one after the other. What asks (HTTP, later DIMSE) is not known here.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.byte_feed import Inflating
from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.frames import PIXEL_DATA, NoFrame, image_pixels
from dimse_ingestion.dicom.query_levels import UNIQUE_KEYS
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicom.value_representations import little_endian
from dimse_ingestion.queries.contract import Located, Query, QueryClient
from dimse_ingestion.storage.contract import Bucket

PIECE = 2 * 2**20
"""Bytes of one read of a large object."""

AT_ONCE = 16
_SMALL = 2 * 2**20
_ROOM = 64 * 2**20
_LESS = 8
_AT_A_READER = 3  # pieces: one sent, one read ahead, one that the client has not taken
_LONGEST_WORD = 8


class ObjectMissing(LookupError):
    """An instance that the catalogue knows, and whose object is not in the bucket."""

    def __init__(self, located: Located) -> None:
        super().__init__(
            "The catalogue knows this instance, but its object is not in the bucket any more: "
            "restore it there, or rebuild the catalogue from the bucket."
        )
        self.located = located


@dataclass(frozen=True, slots=True)
class Retrieved:
    """An instance and its whole object; `chunks` is None when that is missing.

    `missing` is how many of those fetched ahead with the first one are.
    """

    located: Located
    chunks: AsyncGenerator[bytes, None] | None
    missing: int = 0


def object_size(located: Located) -> int:
    """Bytes of the object: head and data set."""
    return located.header_size + located.size


def _level_keys(study: str, series: str, instance: str) -> list[Element]:
    levels = (("STUDY", study), ("SERIES", series), ("IMAGE", instance))
    return [element(UNIQUE_KEYS[level], "UI", uid) for level, uid in levels if uid]


class Retrieving:
    """Retrieves from one storage space; every method raises DimseFailure as the wires do."""

    def __init__(self, bucket: Bucket, queries: QueryClient) -> None:
        self._bucket = bucket
        self._queries = queries
        self._room = _ROOM

    def located(
        self, study: str, series: str = "", instance: str = ""
    ) -> AsyncGenerator[Located, None]:
        """The instances of what the UIDs name; close it when it is not read to its end."""
        keys = _level_keys(study, series, instance)
        return self._queries.objects(Query(scope="IMAGE", keys=keys))

    async def one(self, study: str, series: str, instance: str) -> Located | None:
        """One instance, or None when the catalogue does not know it."""
        async with aclosing(self.located(study, series, instance)) as found:
            return await anext(found, None)

    async def objects(
        self, instances: AsyncGenerator[Located, None]
    ) -> AsyncGenerator[Retrieved, None]:
        """The objects of instances in their order, small ones fetched ahead.

        The chunks of one must be read, or given up, before the next is asked for.
        """
        waiting: deque[_Coming] = deque()
        more, missing = True, -1
        try:
            while True:
                while more and len(waiting) < AT_ONCE:
                    located = await anext(instances, None)
                    more = located is not None
                    if located is not None:
                        waiting.append(self._begun(located))
                if not waiting:
                    return
                if missing < 0:
                    missing = await _missing([each.task for each in waiting])
                coming = waiting.popleft()
                try:
                    yield await self._retrieved(coming, missing)
                finally:
                    self._room += coming.held
        finally:
            self._room += sum(coming.held for coming in waiting)
            await _cancelled([each.task for each in waiting if each.task is not None])
            await instances.aclose()

    async def object_range(
        self, located: Located, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        """So many bytes of the object from `offset`, in pieces, one read ahead.

        Where too many ask at once the pieces are smaller, and read when the one before is gone.
        Raises ObjectMissing, transient A700 when the object ends before that.
        """
        end, held = offset + length, 0
        ahead: asyncio.Task[bytes] | None = None
        try:
            while offset < end:
                held = held or self._granted(end - offset)
                size = min(PIECE if held else PIECE // _LESS, end - offset)
                piece = await (ahead or self.read(located, offset, size))
                offset += len(piece)
                following = min(PIECE, end - offset) if held else 0
                read = self.read(located, offset, following) if following else None
                ahead = asyncio.create_task(read) if read else None
                yield piece
        finally:
            self._room += held
            if ahead is not None:
                await _cancelled([ahead])

    def _granted(self, length: int) -> int:
        """Room for what one reader has at once of so many bytes: 0 when there is none."""
        wanted = min(length, _AT_A_READER * PIECE)
        if wanted > self._room:
            return 0
        self._room -= wanted
        return wanted

    async def read(self, located: Located, offset: int, length: int) -> bytes:
        """So many bytes of the object in one read; fails as `object_range`."""
        try:
            found = await self._bucket.get_range(located.object_name, offset, length)
        except KeyError:
            raise ObjectMissing(located) from None
        if len(found) != length:
            raise DimseFailure(
                Status.PROCESSING_FAILURE,
                "An object in the bucket is shorter than the catalogue says: it is damaged.",
            )
        return found

    def data_set_range(
        self, located: Located, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        """So many bytes of the data set from `offset`, inflated where it is deflated."""
        if located.transfer_syntax_uid == uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            return self._inflated_range(located, offset, length)
        return self.object_range(located, located.header_size + offset, length)

    async def value(
        self, located: Located, of: Element, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """A value that stands in the object, or a part of it, in little endian (PS3.18 8.7.3.2)."""
        if of.bulk is None:
            return
        length = of.bulk.length if length is None else length
        swaps = located.transfer_syntax_uid == uids.EXPLICIT_VR_BIG_ENDIAN
        word_vr = _word_vr(located, of) if swaps else of.vr
        odd = offset % _LONGEST_WORD if swaps else 0
        begin, end = of.bulk.offset + offset - odd, of.bulk.offset + offset + length
        if swaps:
            end = min(end + -(end - begin) % _LONGEST_WORD, of.bulk.offset + of.bulk.length)
        async with aclosing(self.data_set_range(located, begin, end - begin)) as pieces:
            async for piece in pieces:  # of whole words: PIECE is a multiple of any
                plain = little_endian(piece, word_vr)[odd : odd + length] if swaps else piece
                odd, length = 0, length - len(plain)
                yield plain

    def _begun(self, located: Located) -> "_Coming":
        size = object_size(located)
        if size > min(_SMALL, self._room):
            return _Coming(located, None, 0)
        self._room -= size
        return _Coming(located, asyncio.create_task(self.read(located, 0, size)), size)

    async def _retrieved(self, coming: "_Coming", missing: int) -> Retrieved:
        located = coming.located
        pieces = self.object_range(located, 0, object_size(located))
        try:
            first = await (coming.task or anext(pieces))
        except ObjectMissing:
            return Retrieved(located, None, missing)
        chunks = _one(first) if coming.task else _joined(first, pieces)
        return Retrieved(located, chunks, missing)

    async def _inflated_range(
        self, located: Located, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        inflating, place, end = Inflating(), 0, offset + length
        whole = self.object_range(located, located.header_size, located.size)
        async with aclosing(whole) as pieces:
            async for piece in pieces:
                for plain in _inflated(inflating, piece):
                    begin = max(0, offset - place)
                    wanted = plain[begin : max(begin, end - place)]
                    place += len(plain)
                    if wanted:
                        yield wanted
                if place >= end:
                    return


@dataclass(frozen=True, slots=True)
class _Coming:
    """An instance whose turn will come; `held` bytes of the room are its."""

    located: Located
    task: asyncio.Task[bytes] | None
    held: int


async def _one(piece: bytes) -> AsyncGenerator[bytes, None]:
    yield piece


async def _joined(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


def _inflated(inflating: Inflating, piece: bytes) -> list[bytes]:
    try:
        return list(inflating.pieces(piece))
    except zlib.error:
        raise DimseFailure(
            Status.PROCESSING_FAILURE, "The instance's deflated data set is damaged."
        ) from None


async def _missing(tasks: list[asyncio.Task[bytes] | None]) -> int:
    """How many of these find no object; what else is wrong is told in its turn."""
    found = await asyncio.gather(*filter(None, tasks), return_exceptions=True)
    return sum(isinstance(each, ObjectMissing) for each in found)


async def _cancelled(tasks: list[asyncio.Task[bytes]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _word_vr(located: Located, of: Element) -> str:
    """The VR whose words a value has: those of pixels follow their Bits Allocated."""
    try:
        return image_pixels(located.elements).word_vr if of.tag == PIXEL_DATA else of.vr
    except NoFrame:
        return of.vr

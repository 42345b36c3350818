"""Conversion of a data set with compressed pixels into a native transfer syntax (PS3.5 A.1, A.2).

The data set is copied to a file, and `frame_decoding` decodes its frames into a second one. Then
it is streamed: its elements as they stand, those that describe the pixels as these are now
(`dicom.decoded_pixels`), and the decoded pixels. So neither the data set nor its pixels are in
memory, a failure comes before the first byte, and nothing is compressed.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from dimse_ingestion.dicom.decoded_pixels import pixel_data_header, replacements
from dimse_ingestion.dicom.elements import BulkReference, Element, by_tag
from dimse_ingestion.dicom.frames import PIXEL_DATA
from dimse_ingestion.dicom.native_conversion import NativeConverter, Replacement
from dimse_ingestion.dicom.scanner import Scanner
from dimse_ingestion.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dimse_ingestion.failures import LimitExceeded, Unavailable
from dimse_ingestion.operations.frame_decoding import (
    DecodedFrames,
    decode_frames,
    decoded_size,
    fragmented_pixels,
)
from dimse_ingestion.operations.scan_pacing import ScanPacing
from dimse_ingestion.pixels.decoder_pool import DecoderPool
from dimse_ingestion.queries.contract import Located
from dimse_ingestion.storage.memory_budget import MemoryBudget, Reservation

MAXIMUM_DECOMPRESSED = 512 * 2**20
"""Bytes of the largest data set that is decompressed, its decoded pixels included."""
DISK = 4 * MAXIMUM_DECOMPRESSED
"""Bytes of all files of one process."""
TIMEOUT = 180.0
"""Seconds in which a data set must be copied and decoded, waiting for others included."""

_PREFIX = "decompressing-"
_ABANDONED_AFTER = 3600.0  # seconds: no decompression takes as long
_READ_SIZE = 2**20
_DELIMITER = 8
_LONG_HEADER, _HEADER_WITHOUT_VR = 12, 8
_PIXEL_DATA_TAG = b"\xe0\x7f\x10\x00"


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copied data set whose frames are decoded, or None where they need not be."""

    stored: BinaryIO
    size: int
    elements: list[Element]
    frames: DecodedFrames | None = None
    pixels: BinaryIO | None = None
    transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN

    @property
    def bulk(self) -> BulkReference:
        """Return the place of the compressed pixel data."""
        bulk = by_tag(self.elements)[PIXEL_DATA].bulk
        if bulk is None:
            raise AssertionError("Pixel data that was decoded has a place.")
        return bulk

    @property
    def replaced(self) -> Mapping[int, Replacement | None]:
        """Return what stands in place of the elements that describe pixels."""
        if self.frames is None:
            return {}
        pixels = self.frames.pixels
        lossy = (self.transfer_syntax_uid, self.frames.ratio) if pixels.is_lossy else None
        return replacements(
            self.elements,
            photometric_interpretation=pixels.photometric_interpretation,
            samples_per_pixel=pixels.samples_per_pixel,
            bits_allocated=pixels.bits_allocated,
            lossy=lossy,
        )

    def close(self) -> None:
        """Close the files, whose names are gone."""
        self.stored.close()
        if self.pixels is not None:
            self.pixels.close()


class Decompressor:
    """Converts data sets with the decoders of a pool; its files are in `directory`."""

    def __init__(
        self,
        decoders: DecoderPool,
        directory: Path,
        pacing: ScanPacing | None = None,
        *,
        disk: int = DISK,
    ) -> None:
        self._decoders = decoders
        self._directory = directory
        self._pacing = pacing or ScanPacing()
        self._disk = MemoryBudget(disk)
        self._is_swept = False

    async def converted(
        self, located: Located, pieces: AsyncGenerator[bytes, None], transfer_syntax_uid: str
    ) -> AsyncGenerator[bytes, None]:
        """Yield the data set of `pieces` in a native transfer syntax, its pixels decompressed.

        `located` has the data set's size and transfer syntax; its elements are read from the bytes
        where it has none. Raises Undecodable, LimitExceeded above `MAXIMUM_DECOMPRESSED`, Failure
        as the decoders do, and what `pieces` raises, all before the first byte.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(aclosing(pieces))
            _check_length(located.size)
            async with _in_time():
                most = self._disk.reserved(MAXIMUM_DECOMPRESSED)
                space = await stack.enter_async_context(most)
                copy = await self._decoded_copy(located, pieces, space)
            stack.callback(copy.close)
            spliced = _spliced(copy, transfer_syntax_uid)
            async for piece in await stack.enter_async_context(aclosing(spliced)):
                yield piece

    async def _decoded_copy(
        self, located: Located, pieces: AsyncIterator[bytes], space: Reservation
    ) -> _Copy:
        with _disk_failures():
            folder = await asyncio.to_thread(self._new_folder)
            try:
                return await self._decode(located, pieces, folder, space)
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _decode(
        self, located: Located, pieces: AsyncIterator[bytes], folder: Path, space: Reservation
    ) -> _Copy:
        stored, target = folder / "stored", folder / "pixels"
        elements = await self._copy(located, pieces, stored)
        located = msgspec.structs.replace(located, elements=elements, header_size=0)
        pixels = await fragmented_pixels(located, stored)
        if pixels is None:
            space.shrink(located.size)
            return _Copy(await asyncio.to_thread(stored.open, "rb"), located.size, elements)
        _check_length(located.size + decoded_size(pixels))
        space.shrink(located.size + decoded_size(pixels))
        frames = await decode_frames(self._decoders, located, stored, target)
        return await asyncio.to_thread(_open, located, stored, target, frames)

    async def _copy(
        self, located: Located, pieces: AsyncIterator[bytes], target: Path
    ) -> list[Element]:
        """Write a data set to a file, and return its elements."""
        scanner = None if located.elements else Scanner(located.transfer_syntax_uid)
        file = await asyncio.to_thread(target.open, "wb")
        try:
            with self._pacing.share() as share:
                async for piece in pieces:
                    await asyncio.to_thread(file.write, piece)
                    if scanner is not None:
                        await share.feed(scanner, piece)
        finally:
            await asyncio.to_thread(file.close)
        return located.elements if scanner is None else scanner.finish()

    def _new_folder(self) -> Path:
        self._directory.mkdir(parents=True, exist_ok=True)
        if not self._is_swept:
            self._is_swept = True
            _remove_abandoned(self._directory)
        return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._directory))


def _remove_abandoned(directory: Path) -> None:
    """Remove the folders that a killed process has left, but none in use by another process."""
    oldest = time.time() - _ABANDONED_AFTER
    for folder in directory.glob(f"{_PREFIX}*"):
        if folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


def _open(located: Located, stored: Path, target: Path, frames: DecodedFrames) -> _Copy:
    return _Copy(
        stored.open("rb"),
        located.size,
        located.elements,
        frames,
        target.open("rb"),
        located.transfer_syntax_uid,
    )


async def _spliced(copy: _Copy, transfer_syntax_uid: str) -> AsyncGenerator[bytes, None]:
    """Yield the converted elements, with the decoded pixels in place of the compressed ones."""
    if copy.frames is None or copy.pixels is None:
        async for piece in _elements(copy, 0, copy.size, transfer_syntax_uid):
            yield piece
        return
    begin = copy.bulk.offset - await asyncio.to_thread(_header_length, copy)
    async for piece in _elements(copy, 0, begin, transfer_syntax_uid):
        yield piece
    decoded = copy.frames.pixels
    yield pixel_data_header(decoded.length, decoded.bits_allocated, transfer_syntax_uid)
    while piece := await asyncio.to_thread(copy.pixels.read, _READ_SIZE):
        yield piece
    end = copy.bulk.offset + copy.bulk.length + _DELIMITER
    async for piece in _elements(copy, end, copy.size, transfer_syntax_uid):
        yield piece


async def _elements(
    copy: _Copy, begin: int, end: int, transfer_syntax_uid: str
) -> AsyncGenerator[bytes, None]:
    """Yield the elements between two places of the data set, converted."""
    replaced = copy.replaced if begin == 0 else {}
    converter = NativeConverter(EXPLICIT_VR_LITTLE_ENDIAN, transfer_syntax_uid, replaced)
    while begin < end:
        length = min(_READ_SIZE, end - begin)
        if output := await asyncio.to_thread(_convert, copy.stored, begin, length, converter):
            yield output
        begin += length
    if output := converter.finish():
        yield output


def _convert(file: BinaryIO, offset: int, length: int, converter: NativeConverter) -> bytes:
    file.seek(offset)
    return converter.feed(file.read(length))


def _header_length(copy: _Copy) -> int:
    """Return the length of the pixel data's header: some writers leave the VR out."""
    copy.stored.seek(copy.bulk.offset - _LONG_HEADER)
    has_vr = copy.stored.read(len(_PIXEL_DATA_TAG)) == _PIXEL_DATA_TAG
    return _LONG_HEADER if has_vr else _HEADER_WITHOUT_VR


def _check_length(length: int) -> None:
    if length > MAXIMUM_DECOMPRESSED:
        raise LimitExceeded(
            f"With its pixels decoded it has more than {MAXIMUM_DECOMPRESSED} bytes, which are not "
            "decompressed"
        )


@contextmanager
def _disk_failures() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"The folder for decompression can't be used: {error.strerror}") from None


@asynccontextmanager
async def _in_time() -> AsyncGenerator[None, None]:
    limit = asyncio.timeout(TIMEOUT)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise Unavailable(
            f"Its pixels could not be decoded within {TIMEOUT:g} s: add decoders"
        ) from None

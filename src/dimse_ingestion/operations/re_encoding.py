"""Re-encoding of a data set between native transfer syntaxes, as its bytes arrive.

What is converted is in `dicom.native_conversion`; compressed pixels are decoded by `decompression`.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.byte_feed import Inflater
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.native_conversion import NativeConverter
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import LimitExceeded

_MOST_INFLATED = 1032
"""Bytes that one byte inflates to at most (https://zlib.net/zlib_tech.html)."""


async def re_encoded(
    pieces: AsyncGenerator[bytes, None], source: str, target: str
) -> AsyncGenerator[bytes, None]:
    """Yield the data set of `pieces` in another native transfer syntax.

    Raises ValueError for a transfer syntax that can't be read or written, and DimseFailure C000
    for a data set that can't be read.
    """
    async with aclosing(pieces):
        converter = NativeConverter(source, target)
        async for piece in pieces:
            # a piece may have thousands of elements: the event loop runs other tasks meanwhile
            if source not in uids.DEFLATED:
                if output := await asyncio.to_thread(converter.feed, piece):
                    yield output
                continue
            outputs = converter.outputs(piece)
            while (inflated := await asyncio.to_thread(_next_of, outputs)) is not None:
                if inflated:
                    yield inflated
        if output := converter.finish():
            yield output


def _next_of(outputs: Iterator[bytes]) -> bytes | None:
    return next(outputs, None)


def may_inflate_beyond(size: int, most: int) -> bool:
    """Return whether `size` deflated bytes can have more than `most` bytes."""
    return size * _MOST_INFLATED > most


async def check_inflated(pieces: AsyncGenerator[bytes, None], most: int) -> None:
    """Read a deflated data set, and raise LimitExceeded if it has more than `most` bytes inflated.

    What is sent of a data set before that is found can't be taken back: it costs the association.
    Raises DimseFailure C000 for one that is damaged.
    """
    inflater, left = Inflater(), most
    async with aclosing(pieces):
        async for piece in pieces:
            left -= await asyncio.to_thread(_inflated_length, inflater, piece, left)
            if left < 0:
                raise LimitExceeded(
                    f"Inflated it has more than {most} bytes, which are not converted"
                )


def _inflated_length(inflater: Inflater, piece: bytes, left: int) -> int:
    """Return how many bytes a piece inflates to; stop when there are more than are left."""
    length = 0
    try:
        for inflated in inflater.pieces(piece):
            length += len(inflated)
            if length > left:
                break
    except zlib.error:
        raise DimseFailure(Status.CANNOT_UNDERSTAND, "The deflated data set is damaged") from None
    return length

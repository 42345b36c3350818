"""Re-encoding of a data set between native transfer syntaxes, as its bytes arrive.

What is converted is in `dicom.native_conversion`; compressed pixels are decoded by `decompression`.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from dimse_ingestion.dicom.native_conversion import NativeConverter


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
            if output := await asyncio.to_thread(converter.feed, piece):
                yield output
        if output := converter.finish():
            yield output

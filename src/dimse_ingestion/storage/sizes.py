"""Bytes counted while they pass, so that no object is stored shorter or longer than announced."""

from collections.abc import AsyncIterator

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status


async def verify_size(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The chunks as they come; raises DimseFailure 0110 when they aren't `size` bytes in all."""
    seen = 0
    async for chunk in chunks:
        seen += len(chunk)
        if seen > size:
            break
        if chunk:
            yield chunk
    if seen != size:
        raise DimseFailure(
            Status.PROCESSING_FAILURE, f"{seen} bytes came to be stored, announced were {size}."
        )

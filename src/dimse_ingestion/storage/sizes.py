"""Check of an object's size while it is stored: neither shorter nor longer than announced."""

from collections.abc import AsyncIterator

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status


async def verify_size(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """Yield the chunks; raises DimseFailure 0110 when they are not `size` bytes in all."""
    length = 0
    async for chunk in chunks:
        length += len(chunk)
        if length > size:
            break
        if chunk:
            yield chunk
    if length != size:
        raise DimseFailure(
            Status.PROCESSING_FAILURE, f"{length} bytes arrived where {size} were announced."
        )

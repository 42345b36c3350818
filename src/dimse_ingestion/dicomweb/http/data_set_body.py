"""The body of a response with data sets, written as they arrive.

Short ones are joined, because each piece costs a message and a write; a large one is sent in
slices, so that it is never in memory whole. `representations` has the formats.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from dimse_ingestion.dicom.dicom_json import BulkDataUri
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicomweb.http.representations import DataSetFormat

AddressedDataSet = tuple[list[Element], BulkDataUri]
"""A data set, and what returns the addresses of its bulk data."""

_WRITTEN_AT_ONCE = 2**16  # bytes


async def data_sets_body(
    form: DataSetFormat, data_sets: AsyncGenerator[AddressedDataSet, None]
) -> AsyncGenerator[bytes, None]:
    """Yield the body with these data sets; nothing if there are none."""
    joined = bytearray()
    before = form.begin
    is_empty = True
    async with aclosing(data_sets):
        async for elements, address in data_sets:
            joined += before
            before, is_empty = form.between, False
            async with aclosing(form.slices(elements, address)) as slices:
                async for each in slices:
                    joined += each
                    if len(joined) >= _WRITTEN_AT_ONCE:
                        yield bytes(joined)
                        joined.clear()
            del elements  # large ones are in memory no longer than they are reserved
    if not is_empty:
        yield bytes(joined) + form.end


async def no_bytes() -> AsyncGenerator[bytes, None]:
    """Yield the body of a response to HEAD."""
    yield b""

"""What goes wrong at an event sink, as the failure it is for a modality, with what to do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from dimse_ingestion.dicom.failure import DimseFailure, OutOfResources
from dimse_ingestion.dicom.status import Status

_TRANSIENT = {408, 425, 429}


@asynccontextmanager
async def sink_failures(url: str, seconds: float) -> AsyncIterator[None]:
    """Raise transient A700 for what keeps the sink from answering within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (TimeoutError, httpx2.TimeoutException):
        raise OutOfResources(f"The event sink gave no answer in {seconds:g} s ({url}).") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise OutOfResources(
            f"The event sink is not reached: start it or correct K_SINK ({url})."
        ) from error


def refusal(url: str, status: int) -> DimseFailure:
    """The failure that an answer with this HTTP status is."""
    if status >= 500 or status in _TRANSIENT:
        return OutOfResources(f"The event sink fails with HTTP {status}: see its log ({url}).")
    if 300 <= status < 400:
        return DimseFailure(
            Status.PROCESSING_FAILURE, f"The event sink is elsewhere: correct K_SINK ({url})."
        )
    return DimseFailure(
        Status.PROCESSING_FAILURE, f"The event sink refuses the event with HTTP {status} ({url})."
    )

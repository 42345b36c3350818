"""What goes wrong at an event sink, as the failure it is for a modality, with what to do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from dimse_ingestion.dicom.failure import DimseFailure, OutOfResources
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.secure_http.failures import (
    clear_text_failure,
    tls_failure,
    token_failure,
    wrong_port_failure,
)
from dimse_ingestion.settings import MountedMissing, PeerAccess

_TRANSIENT = {408, 425, 429}


@asynccontextmanager
async def sink_failures(url: str, seconds: float, access: PeerAccess) -> AsyncIterator[None]:
    """Raise transient A700 for what keeps the sink from answering within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (TimeoutError, httpx2.TimeoutException):
        raise OutOfResources(f"The event sink gave no answer in {seconds:g} s ({url}).") from None
    except MountedMissing as missing:
        raise OutOfResources(str(missing)) from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise OutOfResources(
            tls_failure(error, access)
            or clear_text_failure(error, url, access)
            or f"The event sink is not reached: start it or correct K_SINK ({url})."
        ) from error


def refusal(url: str, status: int, access: PeerAccess) -> DimseFailure:
    """The failure that an answer with this HTTP status is.

    A refused token is transient: it is refused for a moment while both sides get a new one. So is
    another port, while both sides are changed to TLS.
    """
    if status == httpx2.codes.UNAUTHORIZED:
        return OutOfResources(token_failure(access))
    if status == httpx2.codes.MISDIRECTED_REQUEST:
        return OutOfResources(wrong_port_failure(access))
    if status >= 500 or status in _TRANSIENT:
        return OutOfResources(f"The event sink fails with HTTP {status}: see its log ({url}).")
    if 300 <= status < 400:
        return DimseFailure(
            Status.PROCESSING_FAILURE, f"The event sink is elsewhere: correct K_SINK ({url})."
        )
    return DimseFailure(
        Status.PROCESSING_FAILURE, f"The event sink refuses the event with HTTP {status} ({url})."
    )


def nothing_there(url: str, status: int) -> DimseFailure:
    """Return the failure that a wrong path is."""
    return DimseFailure(
        Status.PROCESSING_FAILURE,
        f"The event sink takes no events at this path (HTTP {status}): correct K_SINK ({url}).",
    )

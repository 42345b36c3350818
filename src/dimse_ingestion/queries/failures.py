"""What goes wrong between us and the catalogue, as the failure it is, with what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def catalogue_failures(endpoint: str, seconds: float, access: PeerAccess) -> Iterator[None]:
    """Raise transient A700 for what keeps the catalogue from answering, or from going on."""
    try:
        yield
    except httpx2.TimeoutException:
        raise OutOfResources(
            f"The catalogue gave no answer in {seconds:g} s ({endpoint})."
        ) from None
    except (httpx2.ReadError, httpx2.RemoteProtocolError) as error:
        raise OutOfResources(
            clear_text_failure(error, endpoint, access)
            or f"The catalogue broke off its answer ({endpoint})."
        ) from error
    except MountedMissing as missing:
        raise OutOfResources(str(missing)) from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise OutOfResources(
            tls_failure(error, access)
            or f"The catalogue is not reached: start it or correct QUERY_ENDPOINT ({endpoint})."
        ) from error


def refusal(endpoint: str, status: int, access: PeerAccess) -> DimseFailure:
    """The failure that an answer with this HTTP status is.

    A refused token is transient: it is refused for a moment while both sides get a new one. So is
    another port, while both sides are changed to TLS.
    """
    if status == httpx2.codes.UNAUTHORIZED:
        return OutOfResources(token_failure(access))
    if status == httpx2.codes.MISDIRECTED_REQUEST:
        return OutOfResources(wrong_port_failure(access))
    if status >= 500 or status in _TRANSIENT:
        return OutOfResources(f"The catalogue fails with HTTP {status}: see its log ({endpoint}).")
    if status == httpx2.codes.NOT_FOUND or 300 <= status < 400:
        return DimseFailure(
            Status.UNABLE_TO_PROCESS,
            f"The catalogue is not there: correct QUERY_ENDPOINT ({endpoint}).",
        )
    return DimseFailure(
        Status.UNABLE_TO_PROCESS,
        f"The catalogue refuses the query with HTTP {status} ({endpoint}).",
    )

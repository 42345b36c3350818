"""The DIMSE status of a failed operation, by kind of failure and service (PS3.4 annexes B and C).

This is the only place where a kind becomes a status. A DimseFailure keeps the status that it has.
"""

from collections.abc import Mapping

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import (
    AccessDenied,
    Failure,
    Invalid,
    LimitExceeded,
    Refused,
    Unavailable,
)

_Statuses = Mapping[type[Failure], Status]

_ANY_SERVICE: _Statuses = {
    Unavailable: Status.OUT_OF_RESOURCES,
    LimitExceeded: Status.OUT_OF_RESOURCES,
    Invalid: Status.DOES_NOT_MATCH_SOP_CLASS,
    AccessDenied: Status.NOT_AUTHORIZED,
    Refused: Status.PROCESSING_FAILURE,
    Failure: Status.PROCESSING_FAILURE,
}
_ACTION: _Statuses = {
    **_ANY_SERVICE,
    Unavailable: Status.RESOURCE_LIMITATION,
    LimitExceeded: Status.RESOURCE_LIMITATION,
    Invalid: Status.INVALID_ARGUMENT_VALUE,
}  # PS3.7 10.1.4.1.10
_FIND: _Statuses = {**_ANY_SERVICE, Refused: Status.UNABLE_TO_PROCESS}  # PS3.4 table C.4-1

_RETRIEVE: _Statuses = {  # PS3.4 tables C.4-2 and C.4-3: what the number of matches depends on
    **_FIND,
    Unavailable: Status.UNABLE_TO_COUNT_MATCHES,
    LimitExceeded: Status.UNABLE_TO_COUNT_MATCHES,
}


def echo_status(failure: Failure) -> Status:
    """Return the status of a C-ECHO response, or of one to an unknown request."""
    return _status(failure, _ANY_SERVICE)


def store_status(failure: Failure) -> Status:
    """Return the status of a C-STORE response, which is the Failure Reason of STOW-RS too."""
    return _status(failure, _ANY_SERVICE)


def action_status(failure: Failure) -> Status:
    """Return the status of an N-ACTION response."""
    return _status(failure, _ACTION)


def commit_status(failure: Failure) -> Status:
    """Return the status of a check for storage commitment that could find out nothing."""
    return _status(failure, _ANY_SERVICE)


def find_status(failure: Failure) -> Status:
    """Return the status of a C-FIND response."""
    return _status(failure, _FIND)


def retrieve_status(failure: Failure) -> Status:
    """Return the status of a C-MOVE or C-GET response whose instances can't be listed."""
    return _status(failure, _RETRIEVE)


def fetch_status(failure: Failure) -> Status:
    """Return the status of a data set that can't be read; it fails one sub-operation."""
    return _status(failure, _ANY_SERVICE)


def _status(failure: Failure, statuses: _Statuses) -> Status:
    if isinstance(failure, DimseFailure):
        return failure.status
    return next(statuses[kind] for kind in type(failure).__mro__ if kind in statuses)

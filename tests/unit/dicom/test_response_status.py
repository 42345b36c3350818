from collections.abc import Callable, Iterator

import pytest

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.response_status import echo_status, find_status, store_status
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import (
    AccessDenied,
    Failure,
    Invalid,
    LimitExceeded,
    Refused,
    Unavailable,
)

A700 = Status.OUT_OF_RESOURCES
A900 = Status.DOES_NOT_MATCH_SOP_CLASS


@pytest.mark.parametrize(
    ("failure", "store", "find"),
    [
        (Unavailable("The bucket is full."), A700, A700),
        (LimitExceeded("More than 3 matches."), A700, A700),
        (AccessDenied("The bucket denies access."), Status.NOT_AUTHORIZED, Status.NOT_AUTHORIZED),
        (Refused("The peer says no."), Status.PROCESSING_FAILURE, Status.UNABLE_TO_PROCESS),
        (Invalid("The key is no date."), A900, A900),
        (Failure("It failed."), Status.PROCESSING_FAILURE, Status.PROCESSING_FAILURE),
        (DimseFailure(Status.CANNOT_UNDERSTAND, "It ends early."), 0xC000, 0xC000),
    ],
)
def test_a_kind_of_failure_has_one_status_in_each_service(
    failure: Failure, store: Status, find: Status
) -> None:
    assert (store_status(failure), find_status(failure)) == (store, find)
    assert echo_status(failure) == store


@pytest.mark.parametrize("status_of", [echo_status, store_status, find_status])
def test_every_kind_of_failure_has_a_status(status_of: Callable[[Failure], Status]) -> None:
    statuses = {kind: status_of(kind("It failed.")) for kind in _kinds(Failure)}
    assert Unavailable in statuses
    assert not {Status.SUCCESS, Status.CANCEL} & set(statuses.values())


def _kinds(base: type[Failure]) -> Iterator[type[Failure]]:
    for kind in base.__subclasses__():
        if kind.__module__ == "dimse_ingestion.failures":
            yield kind
            yield from _kinds(kind)

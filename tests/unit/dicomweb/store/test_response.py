"""Each outcome is in the sequence of PS3.18 annex I, and the HTTP status follows."""

from dataclasses import replace

import pytest

from dimse_ingestion.dicom.elements import by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicomweb.store.part10_upload import InstanceIdentity
from dimse_ingestion.dicomweb.store.response import (
    Outcome,
    StoreWarning,
    http_status,
    response_elements,
    sentences,
)
from dimse_ingestion.failures import Unavailable

STORED = Outcome(InstanceIdentity("1.2.3", "1.2.3.1", "1.2", "1.2.1"))
REFUSED = Outcome(
    InstanceIdentity("1.2.3", "1.2.3.2", "1.2"),
    failure=DimseFailure(Status.DOES_NOT_MATCH_SOP_CLASS, "It is another."),
)
BROKEN = Outcome(
    InstanceIdentity(), failure=DimseFailure(Status.CANNOT_UNDERSTAND, "It is no DICOM file.")
)
BUSY = Outcome(
    InstanceIdentity("1.2.3", "1.2.3.3", "1.2"), failure=Unavailable("The bucket is away.")
)


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([STORED], 200),
        ([STORED, REFUSED], 202),
        ([STORED, BUSY], 202),
        ([REFUSED, BROKEN], 409),
        ([REFUSED, BUSY], 409),
        ([BUSY, BUSY], 503),
    ],
)
def test_the_status_says_whether_all_some_or_none_is_stored(
    outcomes: list[Outcome], status: int
) -> None:
    assert http_status(outcomes) == status


def url(*uids: str) -> str:
    return "/".join(("here", *filter(None, uids)))


def test_each_outcome_is_in_its_sequence() -> None:
    response = by_tag(response_elements([STORED, REFUSED, BROKEN], url))
    assert list(response) == sorted(response)
    assert response[0x00081190].value == "here/1.2"
    (stored,) = map(by_tag, response[0x00081199].items or [])
    assert stored[0x00081155].value == "1.2.3.1"
    assert stored[0x00081190].value == "here/1.2/1.2.1/1.2.3.1"
    (failed,) = map(by_tag, response[0x00081198].items or [])
    assert (failed[0x00081150].value, failed[0x00081155].value) == ("1.2.3", "1.2.3.2")
    assert int(failed[0x00081197].value) == 0xA900
    (other,) = map(by_tag, response[0x0008119A].items or [])
    assert int(other[0x00081197].value) == 0xC000


def test_a_warning_is_in_the_item_of_its_instance() -> None:
    warned = replace(
        STORED, warnings=(StoreWarning("Some was left out.", 0xB006), StoreWarning("It is odd."))
    )
    response = by_tag(response_elements([STORED, warned], url))
    first, second = map(by_tag, response[0x00081199].items or [])
    assert 0x00081196 not in first
    assert int(second[0x00081196].value) == 0xB006
    assert sentences([REFUSED, warned]) == [
        "It is another.",
        "Some was left out.",
        "It is odd.",
    ]
    assert http_status([STORED, warned]) == 200


def test_empty_sequences_are_left_out() -> None:
    assert [each.tag for each in response_elements([STORED], url)] == [0x00081190, 0x00081199]
    assert [each.tag for each in response_elements([BROKEN], url)] == [0x0008119A]


def test_two_studies_have_no_common_retrieve_url() -> None:
    other = Outcome(InstanceIdentity("1.2.3", "1.2.4.1", "1.4", "1.4.1"))
    assert [each.tag for each in response_elements([STORED, other], url)] == [0x00081199]


def test_equal_sentences_are_given_once() -> None:
    assert sentences([STORED, BUSY, REFUSED, BUSY]) == ["The bucket is away.", "It is another."]

import asyncio
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pynetdicom.dsutils import decode

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import LimitExceeded
from dimse_ingestion.proxy.commitment import action_information, event_information
from dimse_ingestion.proxy.commitment.action_information import ActionInformation, parse
from dimse_ingestion.proxy.commitment.event_information import EventType
from dimse_ingestion.proxy.commitment.transactions import Decided
from dimse_ingestion.transport.protocol.messages import Reference
from tests.unit.proxy.commitment_examples import (
    CT,
    TRANSACTION,
    accepted,
    action_data_set,
    encoded,
    references,
)

IMPLICIT, EXPLICIT = uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_LITTLE_ENDIAN


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
async def test_a_request_is_read(syntax: str) -> None:
    read = await parse(encoded(action_data_set(), syntax), syntax)
    assert read == ActionInformation(TRANSACTION, references(3))


async def test_a_reference_that_stands_twice_is_one() -> None:
    twice = [*references(2), *references(3), Reference("1.2.840.10008.5.1.4.1.1.4", "1.2.3.1")]
    read = await parse(encoded(action_data_set(twice)), IMPLICIT)
    assert read.references == (*references(3), twice[-1])


async def test_what_else_a_request_has_is_ignored() -> None:
    data_set = action_data_set()
    data_set.StorageMediaFileSetID = "DISK1"
    data_set.ReferencedSOPSequence[0].StorageMediaFileSetUID = "1.2.3"
    data_set.ReferencedPerformedProcedureStepSequence = [Dataset()]
    assert len((await parse(encoded(data_set), IMPLICIT)).references) == 3


def without(keyword: str, *, in_item: bool) -> Dataset:
    data_set = action_data_set()
    delattr(data_set.ReferencedSOPSequence[1] if in_item else data_set, keyword)
    return data_set


def emptied(keyword: str, value: object, *, in_item: bool) -> Dataset:
    data_set = action_data_set()
    setattr(data_set.ReferencedSOPSequence[1] if in_item else data_set, keyword, value)
    return data_set


@pytest.mark.parametrize(
    "data_set",
    [
        without("TransactionUID", in_item=False),
        without("ReferencedSOPSequence", in_item=False),
        without("ReferencedSOPClassUID", in_item=True),
        without("ReferencedSOPInstanceUID", in_item=True),
        emptied("TransactionUID", "", in_item=False),
        emptied("ReferencedSOPSequence", [], in_item=False),
        emptied("ReferencedSOPClassUID", "", in_item=True),
        emptied("ReferencedSOPInstanceUID", None, in_item=True),
        emptied("ReferencedSOPInstanceUID", ["1.2", "1.3"], in_item=True),
        Dataset(),
    ],
)
async def test_missing_and_empty_fields_are_an_invalid_argument(data_set: Dataset) -> None:
    with pytest.raises(DimseFailure) as caught:
        await parse(encoded(data_set) or b"\x08\0\x05\0\0\0\0\0", IMPLICIT)
    assert caught.value.status is Status.INVALID_ARGUMENT_VALUE


@pytest.mark.parametrize("content", [b"\x08", b"no data set at all" * 10])
async def test_what_is_no_data_set_is_a_processing_failure(content: bytes) -> None:
    with pytest.raises(DimseFailure) as caught:
        await parse(content, EXPLICIT)
    assert caught.value.status is Status.PROCESSING_FAILURE


@given(st.binary(max_size=400), st.integers(min_value=0, max_value=400))
@settings(max_examples=300, deadline=None)
def test_damaged_requests_fail_and_nothing_worse(garbage: bytes, cut: int) -> None:
    content = encoded(action_data_set(), EXPLICIT)
    for each in (garbage, content[:cut] + garbage):
        try:
            read = asyncio.run(parse(each, EXPLICIT))
        except (DimseFailure, LimitExceeded):
            continue
        assert read.references
        assert all(uids.is_valid(part) for each in read.references for part in each_uid(each))


def each_uid(reference: Reference) -> tuple[str, str]:
    return reference.sop_class_uid, reference.sop_instance_uid


async def test_more_references_than_the_most_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action_information, "MOST_REFERENCES", 10)
    await parse(encoded(action_data_set(references(10))), IMPLICIT)
    with pytest.raises(LimitExceeded, match="More than 10 references"):
        await parse(encoded(action_data_set(references(11))), IMPLICIT)


async def test_a_sequence_that_is_not_kept_is_refused_not_taken_for_empty() -> None:
    sequence = b"\x08\0\x99\x11" + (action_information.LONGEST + 8).to_bytes(4, "little")
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * (action_information.LONGEST // 8 + 1)
    with pytest.raises((LimitExceeded, DimseFailure)):
        await parse(encoded(Dataset()) + sequence + items, IMPLICIT)


async def test_other_tasks_run_while_a_long_request_is_read() -> None:
    content = encoded(action_data_set(references(5000)))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await parse(content, IMPLICIT)
    counting.cancel()
    assert turns > len(content) / action_information._PIECE


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_each_reference_is_in_exactly_one_sequence(syntax: str) -> None:
    decided = Decided(decided_at=1.0, failures={1: 0x0112, 3: 0x0131})
    content = event_information.encode(accepted(5), decided, syntax)
    report: Dataset = decode(BytesIO(content), syntax == IMPLICIT, True)
    assert report.TransactionUID == TRANSACTION
    failed = report.FailedSOPSequence
    assert [(each.ReferencedSOPInstanceUID, each.FailureReason) for each in failed] == [
        ("1.2.3.2", 0x0112),
        ("1.2.3.4", 0x0131),
    ]
    committed = [each.ReferencedSOPInstanceUID for each in report.ReferencedSOPSequence]
    assert committed == ["1.2.3.1", "1.2.3.3", "1.2.3.5"]
    classes = {
        each.ReferencedSOPClassUID
        for each in [*report.FailedSOPSequence, *report.ReferencedSOPSequence]
    }
    assert classes == {CT}
    assert event_information.event_type(decided) is EventType.FAILURES_EXIST


def test_a_report_without_failures_has_no_failed_sequence() -> None:
    decided = Decided(decided_at=1.0, failures={})
    content = event_information.encode(accepted(2), decided, IMPLICIT)
    report: Dataset = decode(BytesIO(content), True, True)
    assert "FailedSOPSequence" not in report
    assert len(report.ReferencedSOPSequence) == 2
    assert event_information.event_type(decided) is EventType.SUCCESSFUL


def test_a_report_of_failures_alone_has_no_referenced_sequence() -> None:
    decided = Decided(decided_at=1.0, failures={0: 0x0110, 1: 0x0119})
    content = event_information.encode(accepted(2), decided, EXPLICIT)
    report: Dataset = decode(BytesIO(content), False, True)
    assert "ReferencedSOPSequence" not in report
    assert [each.FailureReason for each in report.FailedSOPSequence] == [0x0110, 0x0119]

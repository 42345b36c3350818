from datetime import datetime, timedelta
from uuid import UUID, uuid5

import pytest

from dimse_ingestion.dicom.elements import element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.observability import tracing
from dimse_ingestion.operations.event_builder import (
    Location,
    check_elements,
    check_uids,
    event_id,
    stored_event,
)
from tests.unit.operations.instances import ELEMENTS, OPERATION, SPACE, announced, data_set

INSTANCE = announced(data_set())


def test_an_events_id_is_uuid5_of_operation_and_key() -> None:
    assert event_id(OPERATION, "key") == str(uuid5(UUID(OPERATION), "key"))
    assert event_id(OPERATION, "key") != event_id(OPERATION, "other key")


def test_an_operation_id_that_is_no_uuid_still_gives_one_event_id() -> None:
    assert UUID(event_id("no uuid", "key")).version == 5
    assert event_id("no uuid", "key") == event_id("no uuid", "key")
    assert event_id("no uuid", "key") != event_id("another", "key")


def test_uids_padded_with_a_space_equal_the_commands() -> None:
    padded = element(0x00080018, "UI", INSTANCE.sop_instance_uid + " ")
    check_elements(INSTANCE, [*(ELEMENTS | {padded.tag: padded}).values()])


@pytest.mark.parametrize("tag", [0x00080016, 0x00080018, 0x0020000D, 0x0020000E])
def test_an_instance_without_a_required_uid_is_refused(tag: int) -> None:
    with pytest.raises(DimseFailure, match=f"{tag >> 16:04X},{tag & 0xFFFF:04X}"):
        check_elements(INSTANCE, [each for each in ELEMENTS.values() if each.tag != tag])


def test_a_non_patient_object_is_refused_by_its_sop_class() -> None:
    palette = announced(data_set(), sop_class="1.2.840.10008.5.1.4.39.1")
    with pytest.raises(DimseFailure, match="Non-patient objects") as failure:
        check_uids(palette)
    assert failure.value.status == Status.SOP_CLASS_NOT_SUPPORTED


def test_an_event_has_utc_time_and_its_trace_context() -> None:
    with tracing.span("store"):
        event = stored_event(OPERATION, SPACE, INSTANCE, Location("bucket", "key", 352), [])
        assert event.traceparent == tracing.traceparent() != ""
    assert datetime.fromisoformat(event.time).utcoffset() == timedelta(0)

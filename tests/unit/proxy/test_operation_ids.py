import time
import uuid

from dimse_ingestion.proxy.operation_ids import new_operation_id


def test_an_operation_id_is_a_uuid_of_version_7_and_tells_its_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_operation_id())
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= after


def test_no_two_are_the_same() -> None:
    assert len({new_operation_id() for _ in range(10_000)}) == 10_000

import tracemalloc
from pathlib import Path

from dimse_ingestion.outbox.instance_index import UNKNOWN, InstanceIndex, fingerprint
from dimse_ingestion.outbox.records import Metadata, decode_metadata, encode_metadata
from dimse_ingestion.outbox.waiting import Entry, WaitingQueue
from tests.unit.outbox.data_sets import add, content, metadata, opened, take_all

MIB = 2**20


def uid(number: int) -> str:
    return f"1.2.826.0.1.3680043.8.498.{10**36 + number}"


def test_a_fingerprint_is_the_same_in_each_process() -> None:
    assert fingerprint("1.2.840.10008.1.1") == 0xEFB2D2755EC4F54
    assert fingerprint("") == UNKNOWN
    assert len({fingerprint(uid(number)) for number in range(10_000)}) == 10_000


def test_an_instance_that_waits_twice_is_there_until_both_are_gone() -> None:
    index = InstanceIndex()
    added = [index.add(fingerprint("1.2.3")) for _ in range(2)]
    index.remove(added[0])
    assert fingerprint("1.2.3") in index
    index.remove(added[1])
    assert fingerprint("1.2.3") not in index
    assert index.is_complete


def test_beyond_its_bound_and_without_a_uid_it_is_not_complete() -> None:
    index = InstanceIndex(most=2)
    added = [index.add(fingerprint(uid(number))) for number in (1, 2, 2, 3)]
    assert (len(index), index.is_complete) == (2, False)
    assert added[3] == UNKNOWN
    index.remove(added[3])
    assert index.is_complete
    index.remove(added[0])
    index.remove(index.add(UNKNOWN))
    assert index.add(fingerprint(uid(3))) == fingerprint(uid(3))
    assert index.is_complete


def test_100_000_instances_take_at_most_16_mib() -> None:
    tracemalloc.start()
    try:
        index = InstanceIndex()
        for number in range(100_000):
            index.add(fingerprint(uid(number)))
        octets, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(index) == 100_000
    assert octets < 16 * MIB
    assert all(fingerprint(uid(number)) in index for number in range(0, 100_000, 1000))
    assert not any(fingerprint(uid(number)) in index for number in range(100_000, 200_000))


def test_a_queue_indexes_what_is_not_done() -> None:
    queue = WaitingQueue()
    entry = Entry.of(metadata(1, b"data"), Path("file"), 4)
    queue.add(entry)
    assert fingerprint("1.2.3.1") in queue.instances
    taken = queue.take(0.0)
    assert taken is entry
    assert fingerprint("1.2.3.1") in queue.instances
    queue.finish(entry)
    queue.finish(entry)
    assert fingerprint("1.2.3.1") not in queue.instances


async def test_it_is_the_same_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as outbox:
        for number in range(3):
            await add(outbox, number)
        await add(outbox, 3, 2 * MIB)
    async with opened(tmp_path) as outbox:
        instances = outbox.queue.instances
        assert len(instances) == 4
        assert all(fingerprint(f"1.2.3.{number}") in instances for number in range(4))
        for entry in take_all(outbox)[:2]:
            outbox.delivered(entry)
        assert [fingerprint(f"1.2.3.{number}") in instances for number in range(4)] == [
            *(False, False, True, True)
        ]


def test_metadata_without_a_uid_are_read() -> None:
    without = Metadata(
        operation_id="0190", received_at=1.0, size=4, sha256="00", request=content(1)
    )
    assert b"sop_instance_uid" not in encode_metadata(without)
    assert decode_metadata(encode_metadata(without)).sop_instance_uid == ""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimse_ingestion.dicom.elements import element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.events.memory import MemorySink
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.operations.event_builder import Instance
from dimse_ingestion.storage.contract import StoredObject
from dimse_ingestion.storage.memory import MemoryBucket
from tests.unit.operations.instances import (
    CT,
    DOWN,
    OPERATION,
    SOP_INSTANCE,
    SPACE,
    announced,
    chunks,
    data_set,
    key_of,
    object_of,
    space,
)

PIXELS = bytes(range(256)) * 64
BROKEN_OFF = Unavailable("The transfer was broken off.")


async def test_the_object_is_the_part10_header_and_the_received_bytes() -> None:
    storage, content = space(), data_set(pixels=PIXELS)
    instance = announced(content)
    stored = await storage.storer.store(OPERATION, instance, chunks(content, (10, 1000)))
    assert storage.bucket.objects == {key_of(instance): object_of(instance, content)}
    assert (stored.key, stored.duplicate) == (key_of(instance), False)


async def test_the_event_has_the_location_of_the_data_set() -> None:
    storage, content = space(), data_set(pixels=PIXELS)
    instance = announced(content)
    stored = await storage.storer.store(OPERATION, instance, chunks(content))
    (event,) = storage.sink.accepted
    store = event.data.store
    assert event.id == stored.event_id
    assert (event.subject, event.source) == (SOP_INSTANCE, SPACE.event_source)
    assert (store.provider, store.bucket_name) == ("provider", "memory")
    assert (store.wado_internal_endpoint, store.wado_external_endpoint) == (
        SPACE.wado_internal_endpoint,
        SPACE.wado_external_endpoint,
    )
    stored_object = storage.bucket.objects[store.object_name]
    assert stored_object[store.header_size :] == content
    assert (store.size, store.sha256) == (len(content), instance.sha256)


async def test_the_event_has_every_element_and_the_location_of_the_pixels() -> None:
    storage, content = space(), data_set(pixels=PIXELS)
    await storage.storer.store(OPERATION, announced(content), chunks(content))
    image = storage.sink.accepted[0].data.image
    found = {each.tag: each for each in image.elements}
    assert found[0x00100010].value == "Doe^Jane"
    bulk = found[0x7FE00010].bulk
    assert bulk is not None
    assert content[bulk.offset : bulk.offset + bulk.length] == PIXELS


async def test_the_event_is_sent_only_after_the_object_exists() -> None:
    bucket = MemoryBucket()

    class CheckingSink(MemorySink):
        async def accept(self, event: ImageStoredEvent) -> None:
            assert event.data.store.object_name in bucket.objects
            await super().accept(event)

    storage, content = space(bucket, CheckingSink()), data_set()
    await storage.storer.store(OPERATION, announced(content), chunks(content))
    assert len(storage.events) == 1


async def test_an_instance_without_an_object_is_not_already_stored() -> None:
    storage = space()
    assert await storage.storer.already(OPERATION, announced(data_set())) is None


async def test_the_same_instance_again_reads_no_chunk_and_sends_no_second_event() -> None:
    storage, content = space(), data_set()
    instance = announced(content)
    first = await storage.storer.store(OPERATION, instance, chunks(content))
    again = await storage.storer.already("another operation", instance)
    assert again is not None
    assert (again.key, again.event_id, again.duplicate) == (first.key, first.event_id, True)
    assert storage.events == [first.event_id]


async def test_another_replica_sends_the_event_again_from_the_object_alone() -> None:
    storage, content = space(), data_set(pixels=PIXELS)
    instance = announced(content)
    await storage.storer.store(OPERATION, instance, chunks(content))
    other = space(storage.bucket)
    stored = await other.storer.already(OPERATION, instance)
    assert stored is not None
    first, again = storage.sink.accepted[0], other.sink.accepted[0]
    assert (again.id, again.data) == (first.id, first.data)


async def test_an_object_that_was_deleted_is_stored_again_although_its_event_is_cached() -> None:
    storage, content = space(), data_set()
    instance = announced(content)
    await storage.storer.store(OPERATION, instance, chunks(content))
    storage.bucket.objects.clear()
    assert await storage.storer.already(OPERATION, instance) is None
    stored = await storage.storer.store(OPERATION, instance, chunks(content))
    assert (stored.duplicate, key_of(instance) in storage.bucket.objects) == (False, True)


@pytest.mark.parametrize("damage", [b"", b"no DICOM", None], ids=["empty", "foreign", "cut"])
async def test_a_damaged_object_is_overwritten(damage: bytes | None) -> None:
    storage, content = space(), data_set(pixels=PIXELS)
    instance = announced(content)
    whole = object_of(instance, content)
    storage.bucket.objects[key_of(instance)] = whole[:-2] if damage is None else damage
    stored = await storage.storer.store(OPERATION, instance, chunks(content))
    assert storage.bucket.objects[key_of(instance)] == whole
    assert not stored.duplicate


async def test_a_small_instance_again_is_a_duplicate_without_a_second_event() -> None:
    storage, content = space(), data_set()
    instance = announced(content)
    first = await storage.storer.store_small(OPERATION, instance, chunks(content))
    again = await storage.storer.store_small("another operation", instance, chunks(content))
    assert (first.duplicate, again.duplicate) == (False, True)
    assert again.event_id == first.event_id
    assert storage.events == [first.event_id]
    assert storage.bucket.objects == {key_of(instance): object_of(instance, content)}


async def test_a_small_instance_of_another_replica_has_its_event_sent_again() -> None:
    storage, content = space(), data_set(pixels=PIXELS)
    instance = announced(content)
    await storage.storer.store_small(OPERATION, instance, chunks(content))
    other = space(storage.bucket)
    assert (await other.storer.store_small(OPERATION, instance, chunks(content))).duplicate
    assert other.sink.accepted[0].data == storage.sink.accepted[0].data


@pytest.mark.parametrize("damage", [b"", b"no DICOM", None], ids=["empty", "foreign", "cut"])
async def test_a_damaged_object_is_overwritten_by_a_small_instance(damage: bytes | None) -> None:
    storage, content = space(), data_set(pixels=PIXELS)
    instance = announced(content)
    whole = object_of(instance, content)
    storage.bucket.objects[key_of(instance)] = whole[:-2] if damage is None else damage
    stored = await storage.storer.store_small(OPERATION, instance, chunks(content))
    assert storage.bucket.objects[key_of(instance)] == whole
    assert not stored.duplicate


async def test_an_object_of_another_size_than_announced_is_not_taken_for_the_instance() -> None:
    storage, content = space(), data_set(pixels=PIXELS)
    instance = announced(content)
    await storage.storer.store(OPERATION, instance, chunks(content))
    longer = Instance(CT, SOP_INSTANCE, instance.transfer_syntax_uid, 7, instance.sha256)
    assert await space(storage.bucket).storer.already(OPERATION, longer) is None


@pytest.mark.parametrize("more", [-1, 1, 1000])
async def test_a_data_set_of_another_size_than_announced_is_not_stored(more: int) -> None:
    storage, content = space(), data_set(pixels=PIXELS)
    instance = replace(announced(content), size=len(content) - more)
    read: list[bytes] = []

    async def counted() -> AsyncIterator[bytes]:
        async for chunk in chunks(content, range(0, len(content), 100)):
            read.append(chunk)
            yield chunk

    with pytest.raises(DimseFailure, match="another size than announced") as refused:
        await storage.storer.store(OPERATION, instance, counted())
    assert (refused.value.status, refused.value.transient) == (Status.PROCESSING_FAILURE, False)
    assert (storage.bucket.objects, storage.events) == ({}, [])
    assert len(b"".join(read)) <= instance.size + 100  # no source can be endless


async def test_the_same_instance_many_times_at_once_is_one_object() -> None:
    storage, content = space(), data_set(pixels=PIXELS)
    instance = announced(content)
    stored = await asyncio.gather(
        *(
            storage.storer.store(f"op{n}", instance, chunks(content, range(0, 9000, 500)))
            for n in range(8)
        )
    )
    assert storage.bucket.objects == {key_of(instance): object_of(instance, content)}
    assert {each.key for each in stored} == {key_of(instance)}
    assert {each.event_id for each in stored} <= set(storage.events)


@pytest.mark.parametrize(
    ("instance", "content", "status", "named"),
    [
        (
            announced(data_set(), sop_class="1.2.840.10008.5.1.4.1.1.4"),
            data_set(),
            Status.DOES_NOT_MATCH_SOP_CLASS,
            "(0008,0016)",
        ),
        (
            announced(data_set(), sop_instance="1.2.9"),
            data_set(),
            Status.DOES_NOT_MATCH_SOP_CLASS,
            "(0008,0018)",
        ),
        (
            announced(data_set(without=[0x0020000D])),
            data_set(without=[0x0020000D]),
            Status.DOES_NOT_MATCH_SOP_CLASS,
            "Study Instance UID (0020,000D)",
        ),
        (
            announced(data_set(element(0x0020000E, "UI", "of no series"))),
            data_set(element(0x0020000E, "UI", "of no series")),
            Status.DOES_NOT_MATCH_SOP_CLASS,
            "Series Instance UID (0020,000E)",
        ),
        (
            announced(data_set(pixels=PIXELS)[:-1]),
            data_set(pixels=PIXELS)[:-1],
            Status.CANNOT_UNDERSTAND,
            "ends early",
        ),
        (announced(b"garbage!"), b"garbage!", Status.CANNOT_UNDERSTAND, ""),
        (announced(b""), b"", Status.DOES_NOT_MATCH_SOP_CLASS, "(0008,0016)"),
    ],
)
@pytest.mark.parametrize("small", [False, True])
async def test_a_data_set_other_than_announced_never_becomes_visible(
    instance: Instance, content: bytes, status: Status, named: str, small: bool
) -> None:
    storage = space()
    store = storage.storer.store_small if small else storage.storer.store
    with pytest.raises(DimseFailure) as refused:
        await store(OPERATION, instance, chunks(content, range(0, 9000, 99)))
    assert refused.value.status == status
    assert named in refused.value.comment
    assert (refused.value.transient, storage.bucket.objects, storage.events) == (False, {}, [])


@pytest.mark.parametrize("sop_instance", ["", "../../escape", "1.2.x", "1." * 33 + "1"])
async def test_an_invalid_uid_never_becomes_a_key(sop_instance: str) -> None:
    storage, content = space(), data_set()
    with pytest.raises(DimseFailure) as refused:
        await storage.storer.store(
            OPERATION, announced(content, sop_instance=sop_instance), chunks(content)
        )
    assert refused.value.status == Status.DOES_NOT_MATCH_SOP_CLASS
    assert not storage.bucket.objects


async def test_an_error_comment_has_no_value_of_the_data_set() -> None:
    content = data_set(element(0x0020000E, "UI", "Doe^Jane"))
    with pytest.raises(DimseFailure) as refused:
        await space().storer.store(OPERATION, announced(content), chunks(content))
    assert "Doe" not in refused.value.comment


async def test_an_aborted_transfer_leaves_no_object_and_raises_its_failure() -> None:
    storage, content = space(), data_set(pixels=PIXELS)
    with pytest.raises(Unavailable) as raised:
        await storage.storer.store(
            OPERATION, announced(content), chunks(content, (500,), BROKEN_OFF)
        )
    assert (raised.value, storage.bucket.objects) == (BROKEN_OFF, {})


async def test_an_object_of_the_announced_instance_under_another_class_is_refused() -> None:
    storage, content = space(), data_set()
    await storage.storer.store(OPERATION, announced(content), chunks(content))
    with pytest.raises(DimseFailure, match="0008,0016"):
        await storage.storer.already(
            OPERATION, announced(content, sop_class="1.2.840.10008.5.1.4.1.1.4")
        )


class _Faults:
    """Fails at the given calls, and counts all calls."""

    def __init__(self, failing_calls: set[int]) -> None:
        self._failing_calls = failing_calls
        self._calls = 0

    def call(self) -> None:
        self._calls += 1
        if self._calls in self._failing_calls:
            raise DOWN


class _FaultyBucket(MemoryBucket):
    def __init__(self, faults: _Faults) -> None:
        super().__init__()
        self._faults = faults

    async def head(self, key: str) -> StoredObject | None:
        self._faults.call()
        return await super().head(key)

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        self._faults.call()
        return await super().get_range(key, offset, length)

    async def put(self, key: str, chunks: AsyncIterator[bytes], size: int) -> None:
        self._faults.call()

        async def failing() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                self._faults.call()
                yield chunk
            self._faults.call()

        await super().put(key, failing(), size)
        self._faults.call()  # durable, and the answer is lost


class _FaultySink(MemorySink):
    def __init__(self, faults: _Faults) -> None:
        super().__init__()
        self._faults = faults

    async def accept(self, event: ImageStoredEvent) -> None:
        self._faults.call()
        await super().accept(event)
        self._faults.call()  # accepted, and the answer is lost


@settings(max_examples=150, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 800), max_size=6),
    failing_calls=st.sets(st.integers(1, 40), max_size=12),
    breaks=st.lists(st.booleans(), max_size=3),
    small=st.booleans(),
)
def test_success_means_object_and_event_and_every_failure_ends_by_retrying(
    cuts: list[int], failing_calls: set[int], breaks: list[bool], small: bool
) -> None:
    asyncio.run(_repeat_until_stored(cuts, failing_calls, breaks, small))


async def _repeat_until_stored(
    cuts: list[int], failing_calls: set[int], breaks: list[bool], small: bool
) -> None:
    faults = _Faults(failing_calls)
    storage = space(_FaultyBucket(faults), _FaultySink(faults))
    content = data_set(pixels=PIXELS[:600])
    instance = announced(content)
    whole: Any = {key_of(instance): object_of(instance, content)}
    for attempt in range(len(failing_calls) + len(breaks) + 1):
        breaking = BROKEN_OFF if attempt < len(breaks) and breaks[attempt] else None
        try:
            store = storage.storer.store_small if small else storage.storer.store
            stored = await store(OPERATION, instance, chunks(content, cuts, breaking))
        except Unavailable:
            assert storage.bucket.objects in ({}, whole)
            continue
        assert storage.bucket.objects == whole
        assert stored.event_id in storage.events
        assert set(storage.events) == {stored.event_id}
        return
    raise AssertionError("never stored, though nothing fails any more")

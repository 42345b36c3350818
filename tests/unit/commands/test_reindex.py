from collections.abc import Sequence

import pytest

from dimse_ingestion.commands import reindex
from dimse_ingestion.commands.reindex import Reindexing, Tally
from dimse_ingestion.dicom.elements import element
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.events.memory import MemorySink
from dimse_ingestion.failures import AccessDenied, Failure, Refused, Unavailable
from dimse_ingestion.storage.memory import MemoryBucket
from tests.unit.operations.instances import (
    DOWN,
    SPACE,
    announced,
    chunks,
    data_set,
    key_of,
    object_of,
    space,
)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reindex, "_PAUSES", (0.0, 0.0))


def put(bucket: MemoryBucket, number: int) -> str:
    """Put an instance into the bucket, and return its key."""
    sop_instance = f"1.2.9.{number}"
    content = data_set(element(0x00080018, "UI", sop_instance), pixels=bytes(1000))
    instance = announced(content, sop_instance=sop_instance)
    bucket.objects[key_of(instance)] = object_of(instance, content)
    return key_of(instance)


async def reindexed(bucket: MemoryBucket, sink: MemorySink) -> tuple[Tally, dict[str, str]]:
    left_out: dict[str, str] = {}
    made = Reindexing(bucket, sink, SPACE, left_out=left_out.__setitem__)
    await made.run(parallel=3)
    return made.tally, left_out


class Forgetful(MemorySink):
    """Refuses the first so many events."""

    def __init__(self, refuses: int, failure: Failure = DOWN) -> None:
        super().__init__()
        self._refuses, self._failure = refuses, failure

    async def accept(self, event: ImageStoredEvent) -> None:
        if self._refuses:
            self._refuses -= 1
            raise self._failure
        await super().accept(event)


async def test_every_instance_is_sent_as_when_it_was_stored() -> None:
    made, content = space(), data_set(pixels=bytes(1000))
    await made.storer.store("operation", announced(content), chunks(content))
    sink = MemorySink()
    tally, left_out = await reindexed(made.bucket, sink)
    assert (tally, left_out) == (Tally(sent=1), {})
    assert sink.accepted[0].data == made.sink.accepted[0].data


async def test_many_are_sent_once_each_and_a_second_run_repeats_the_ids() -> None:
    bucket, sink = MemoryBucket(), MemorySink()
    keys = {put(bucket, number) for number in range(20)}
    await reindexed(bucket, sink)
    first = {each.id for each in sink.accepted}
    assert {each.data.store.object_name for each in sink.accepted} == keys
    assert len(first) == len(sink.accepted) == 20
    await reindexed(bucket, sink)
    assert {each.id for each in sink.accepted} == first


async def test_progress_is_reported_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reindex, "_EVERY", 4)
    bucket = MemoryBucket()
    for number in range(9):
        put(bucket, number)
    seen: list[str] = []
    made = Reindexing(bucket, MemorySink(), SPACE, progress=lambda tally: seen.append(str(tally)))
    await made.run(parallel=2)
    assert [each.split()[0] for each in seen] == ["4", "8"]


async def test_a_damaged_object_is_left_out_by_name_and_the_others_are_sent() -> None:
    bucket, sink = MemoryBucket(), MemorySink()
    damaged, whole = put(bucket, 1), put(bucket, 2)
    bucket.objects[damaged] = bucket.objects[damaged][:-1]
    tally, left_out = await reindexed(bucket, sink)
    assert (tally.sent, tally.left_out) == (1, 1)
    assert "ends early" in left_out[damaged]
    assert [each.data.store.object_name for each in sink.accepted] == [whole]


async def test_an_object_that_is_not_what_its_key_says_is_left_out() -> None:
    bucket = MemoryBucket()
    one, other = put(bucket, 1), put(bucket, 2)
    bucket.objects[one] = bucket.objects[other]
    _, left_out = await reindexed(bucket, MemorySink())
    assert "0008,0018" in left_out[one]


async def test_what_is_no_instance_is_passed_over() -> None:
    bucket = MemoryBucket()
    put(bucket, 1)
    bucket.objects |= {"instances/notes.txt": b"", "checks/written": b""}
    tally, _ = await reindexed(bucket, MemorySink())
    assert (tally.sent, tally.skipped, tally.left_out) == (1, 1, 0)


async def test_a_problem_that_passes_costs_no_object() -> None:
    bucket, sink = MemoryBucket(), Forgetful(2)
    put(bucket, 1)
    tally, left_out = await reindexed(bucket, sink)
    assert (tally.sent, left_out) == (1, {})


async def test_an_event_that_is_refused_is_left_out_with_the_sinks_sentence() -> None:
    refused = Refused("The event sink refuses the event.")
    bucket, sink = MemoryBucket(), Forgetful(1, refused)
    key = put(bucket, 1)
    _, left_out = await reindexed(bucket, sink)
    assert left_out == {key: "The event sink refuses the event."}


async def test_a_sink_that_stays_down_breaks_it_off_with_its_failure() -> None:
    bucket, sink = MemoryBucket(), MemorySink()
    sink.refusing = DOWN
    for number in range(20):
        put(bucket, number)
    with pytest.raises(Unavailable) as raised:
        await reindexed(bucket, sink)
    assert raised.value is DOWN


async def test_a_bucket_that_cannot_be_listed_breaks_it_off() -> None:
    bucket = MemoryBucket()
    bucket.refusing = AccessDenied("Bucket memory denies access.")
    with pytest.raises(AccessDenied) as raised:
        await reindexed(bucket, MemorySink())
    assert raised.value is bucket.refusing


async def test_a_bucket_that_lists_and_lets_nobody_read_breaks_it_off() -> None:
    denied = AccessDenied("Bucket memory denies access.")

    class Closed(MemoryBucket):
        async def get_range(self, key: str, offset: int, length: int) -> bytes:
            raise denied

    bucket = Closed()
    for number in range(20):
        put(bucket, number)
    with pytest.raises(AccessDenied) as raised:
        await reindexed(bucket, MemorySink())
    assert raised.value is denied


class Entries:
    """What has an entry; counts how often it was compared."""

    def __init__(self, *known: str, failures: int = 0) -> None:
        self.known, self.failures, self.compared = set(known), failures, list[int]()

    async def missing(self, names: Sequence[str]) -> list[str]:
        if self.failures:
            self.failures -= 1
            raise DOWN
        self.compared.append(len(names))
        return [each for each in names if each not in self.known]


async def missing_known(bucket: MemoryBucket, entries: Entries) -> tuple[Tally, set[str]]:
    sink = MemorySink()
    made = Reindexing(bucket, sink, SPACE, missing=entries.missing)
    await made.run(parallel=3)
    return made.tally, {each.data.store.object_name for each in sink.accepted}


async def test_only_objects_without_an_entry_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reindex, "_PAGE", 4)
    read: list[str] = []

    class Watched(MemoryBucket):
        async def get_range(self, key: str, offset: int, length: int) -> bytes:
            read.append(key)
            return await super().get_range(key, offset, length)

    bucket = Watched()
    keys = [put(bucket, number) for number in range(10)]
    bucket.objects["instances/notes.txt"] = b""
    entries = Entries(*keys[2:])
    tally, sent = await missing_known(bucket, entries)
    assert sent == set(read) == set(keys[:2])
    assert (tally.sent, tally.known, tally.skipped) == (2, 8, 1)
    assert str(tally).startswith("2 instances sent, 8 known already, ")
    assert entries.compared == [4, 4, 2]


async def test_nothing_is_read_where_everything_has_an_entry() -> None:
    bucket = MemoryBucket()
    keys = [put(bucket, number) for number in range(3)]
    tally, sent = await missing_known(bucket, Entries(*keys))
    assert (tally, sent) == (Tally(known=3), set())
    assert await missing_known(MemoryBucket(), Entries()) == (Tally(), set())


async def test_a_catalogue_that_comes_back_is_waited_for_and_one_that_stays_away_ends_it() -> None:
    bucket = MemoryBucket()
    key = put(bucket, 1)
    _, sent = await missing_known(bucket, Entries(failures=2))
    assert sent == {key}
    with pytest.raises(Unavailable) as raised:
        await missing_known(bucket, Entries(failures=3))
    assert raised.value is DOWN


async def test_a_mistake_of_ours_is_not_hidden_behind_a_failure() -> None:
    class Mistaken(MemorySink):
        async def accept(self, event: ImageStoredEvent) -> None:
            raise ZeroDivisionError

    bucket = MemoryBucket()
    put(bucket, 1)
    with pytest.raises(ExceptionGroup) as raised:
        await reindexed(bucket, Mistaken())
    assert raised.group_contains(ZeroDivisionError)

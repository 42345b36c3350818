"""The bounds of a batch of fetches, and the assignment of its bytes to data sets."""

from collections import deque

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.transport.protocol.codec import (
    Credit,
    Data,
    OpenCommit,
    OpenFetch,
    Result,
    Resume,
    encode,
    inline_size,
)
from dimse_ingestion.transport.protocol.fetch import WINDOW, FetchReceiver
from dimse_ingestion.transport.protocol.fetch_batch import (
    LONGEST_IN_BATCH,
    OBJECTS_PER_BATCH,
    BatchSplitter,
    batch_length,
    objects_of,
    within,
)
from dimse_ingestion.transport.protocol.messages import (
    MOST_OBJECTS,
    MOST_REFERENCES,
    CommitOpen,
    FetchObject,
    FetchOpen,
    FetchResult,
    Origin,
    Reference,
)
from dimse_ingestion.transport.protocol.timeouts import Timeouts
from tests.unit.transport.client_server import ORIGIN, fetch_open, patterned_bytes

DIGEST = "0" * 64
MIB = 2**20


def batch(*sizes: int) -> FetchOpen:
    more = tuple(FetchObject(f"k{number}", size, DIGEST) for number, size in enumerate(sizes[1:]))
    return fetch_open(b"", size=sizes[0], more=more)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    cuts=st.lists(st.integers(1, 60)),
    behind=st.integers(0, 20),
)
def test_every_byte_reaches_its_data_set(sizes: list[int], cuts: list[int], behind: int) -> None:
    whole = patterned_bytes(sum(sizes) + behind)
    splitter, arrived, place = BatchSplitter(sizes), [b""] * len(sizes), 0
    for length in (*cuts, len(whole)):
        for index, part in splitter.split(whole[place : place + length]):
            assert part
            arrived[index] += part
        place += length
    assert [len(each) for each in arrived] == sizes
    assert b"".join(arrived) == whole[: sum(sizes)]


def test_a_piece_of_one_data_set_is_not_copied() -> None:
    splitter, piece = BatchSplitter([1000, 1000]), patterned_bytes(1000)
    for number in range(2):
        ((index, part),) = splitter.split(piece)
        assert (index, part is piece) == (number, True)


@pytest.mark.parametrize(
    ("sizes", "length"),
    [
        ([], 0),
        ([1000], 1),
        ([1000] * 100, OBJECTS_PER_BATCH),
        ([LONGEST_IN_BATCH] * 8, 4),
        ([525_000] * 8, 7),
        ([LONGEST_IN_BATCH + 1, 1000], 0),
        ([1000, LONGEST_IN_BATCH + 1, 1000], 1),
        ([1000, 0, 1000], 1),
        ([0, 1000], 0),
    ],
)
def test_a_batch_consists_of_short_data_sets_within_one_window(
    sizes: list[int], length: int
) -> None:
    assert batch_length(sizes) == length
    assert sum(sizes[:length]) < WINDOW


def test_a_proxy_requests_no_more_than_a_replica_accepts() -> None:
    assert OBJECTS_PER_BATCH <= MOST_OBJECTS
    assert inline_size(MIB) == LONGEST_IN_BATCH


@pytest.mark.parametrize(("window", "objects"), [(9, 1), (10, 1), (29, 1), (30, 2), (60, 3)])
def test_a_replica_sends_as_many_objects_as_it_can_keep(window: int, objects: int) -> None:
    assert len(objects_of(within(batch(10, 20, 30), window))) == objects


def test_the_largest_open_of_a_batch_is_shorter_than_one_of_references() -> None:
    key = f"instances/ff/{DIGEST}-{'1' * 64}/{'1' * 64}.dcm"
    more = (FetchObject(key, LONGEST_IN_BATCH, DIGEST),) * (OBJECTS_PER_BATCH - 1)
    _, body = encode(OpenFetch(open=fetch_open(b"", key=key, more=more), limit=WINDOW))
    references = (Reference("1" * 64, "1" * 64),) * MOST_REFERENCES
    commit = CommitOpen(operation_id="c1", references=references, origin=ORIGIN)
    assert len(body) < len(encode(OpenCommit(open=commit))[1])


def test_a_service_of_a_former_release_reads_the_first_object() -> None:
    class FormerOpen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
        operation_id: str
        key: str
        size: int
        sha256: str
        transfer_syntax_uid: str
        origin: Origin
        offset: int = 0

    class FormerMessage(msgspec.Struct, frozen=True, kw_only=True):
        open: FormerOpen
        limit: int

    open_ = batch(10, 20, 30)
    _, body = encode(OpenFetch(open=open_, limit=124))
    read = msgspec.msgpack.decode(body, type=FormerMessage)
    assert (read.open.key, read.open.size, read.limit) == (open_.key, 10, 124)


# the proxy's state machine


def receiver(size: int) -> FetchReceiver:
    machine = FetchReceiver(deque(), 0, 0, Timeouts(), 0.0, size, is_batch=True)
    machine.subject = "session"
    return machine


def test_the_open_of_a_batch_grants_all_its_credit() -> None:
    size = batch_length([525_000] * 8) * 525_000
    assert size < receiver(size).limit <= WINDOW


def test_a_batch_is_confirmed_with_its_result_alone() -> None:
    piece, size = bytes(525_000), 7 * 525_000
    machine, confirmed = receiver(size), []
    data = [Data(offset=offset, content=piece) for offset in range(0, size, len(piece))]
    result = Result(fetch=FetchResult(status=Status.SUCCESS, size=size, objects=7))
    for message in (*data, result):
        answers = machine.receive(message, 0.0, "session")
        confirmed += [(type(message), each) for each in answers]
    assert confirmed == [(Result, Credit(expected=size, limit=machine.limit))]
    assert sum(map(len, machine.arrived)) == size


def test_a_lost_message_of_a_batch_is_requested_again() -> None:
    machine = receiver(3000)
    machine.receive(Data(offset=0, content=bytes(1000)), 0.0, "session")
    answers = machine.receive(Data(offset=2000, content=bytes(1000)), 0.0, "session")
    assert answers == [Resume(expected=1000, limit=machine.limit)]

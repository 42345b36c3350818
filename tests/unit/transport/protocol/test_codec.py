import tracemalloc
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimse_ingestion.transport.protocol import codec
from dimse_ingestion.transport.protocol.codec import MalformedMessage, Message, decode, encode
from dimse_ingestion.transport.protocol.messages import (
    FetchObject,
    FetchResult,
    FindMatch,
    StoreResult,
)
from tests.unit.transport.client_server import (
    commit_open,
    echo_request,
    fetch_open,
    find_open,
    instances,
    retrieve_open,
    store_open,
)

DIGEST = "0" * 64
EACH = [
    codec.OpenEcho(request=echo_request()),
    codec.OpenStore(open=store_open(b"x")),
    codec.OpenStore(open=store_open(b"\0\xff"), inline=b"\0\xff"),
    codec.OpenStore(open=store_open(bytes(50)), inline_zstd=b"\0\xff"),
    codec.OpenFind(open=find_open(), limit=8),
    codec.OpenCommit(open=commit_open()),
    codec.OpenRetrieve(open=retrieve_open(), limit=8),
    codec.OpenFetch(open=fetch_open(b"x", offset=1), limit=9),
    codec.OpenFetch(open=fetch_open(b"x", more=(FetchObject("k", 1, DIGEST),)), limit=9),
    codec.Accept(subject="R.v1.in.r.s", expected=3, limit=7, chunk=9),
    codec.Accept(subject="R.v1.in.r.s", encodings=("zstd",)),
    codec.Busy(retry_after=0.5),
    codec.Reject(status=0x110, comment="no"),
    codec.Progress(),
    codec.Result(store=StoreResult(status=0, key="k"), batches=3),
    codec.Result(fetch=FetchResult(status=0, size=5, sha256=DIGEST)),
    codec.Leaving(),
    codec.Unknown(),
    codec.Match(number=2, matches=[FindMatch(status=0xFF00, identifier=b"\0")]),
    codec.Instances(number=2, instances=instances(2)),
    codec.Data(offset=10**12, content=b"\0\xff"),
    codec.Data(offset=0, content=b"x", blocked=True),
    codec.Data(offset=10**12, content=b"\0\xff", blocked=True, size=10**12),
    codec.End(size=5, sha256=DIGEST),
    codec.Probe(position=5, limit=8),
    codec.Cancel(),
    codec.Credit(expected=1, limit=2),
    codec.Resume(expected=1, limit=2),
    codec.Abort(reason="because", status=0xA700),
]


@pytest.mark.parametrize("message", EACH, ids=lambda message: type(message).__name__)
def test_an_encoded_message_is_decoded(message: Message) -> None:
    headers, body = encode(message)
    assert decode(headers, body) == message
    written = sum(len(name) + len(value) + 4 for name, value in headers.items())
    assert written + 200 < codec.HEADROOM  # room for a traceparent and the version line


def test_every_kind_is_tested_here() -> None:
    assert {type(message) for message in EACH} == set(Message.__subclasses__())


def test_data_is_not_encoded() -> None:
    content = b"\0" * 1000
    assert encode(codec.Data(offset=7, content=content))[1] is content


def test_unknown_keys_are_ignored() -> None:
    body = msgspec.msgpack.encode({"expected": 1, "limit": 2, "of_a_newer_version": [1]})
    assert decode({"Dimse-Op": "CREDIT"}, body) == codec.Credit(expected=1, limit=2)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b""),
        ({"Dimse-Op": "NOTHING"}, b""),
        ({"Dimse-Op": "CREDIT"}, b""),
        ({"Dimse-Op": "CREDIT"}, msgspec.msgpack.encode({"expected": -1, "limit": 2})),
        ({"Dimse-Op": "DATA"}, b"x"),
        ({"Dimse-Op": "DATA", "Dimse-Offset": "-1"}, b"x"),
        ({"Dimse-Op": "DATA", "Dimse-Offset": "²"}, b"x"),
        ({"Dimse-Op": "DATA", "Dimse-Offset": "9" * 5000}, b"x"),
        ({"Dimse-Op": "DATA", "Dimse-Offset": "0", "Dimse-Zstd": ""}, b"x"),
        ({"Dimse-Op": "DATA", "Dimse-Offset": "0", "Dimse-Zstd": "0"}, b""),
        ({"Dimse-Op": "DATA", "Dimse-Offset": "0", "Dimse-Zstd": "-5"}, b"x"),
        ({"Dimse-Op": "DATA", "Dimse-Offset": "0", "Dimse-Zstd": "9" * 5000}, b"x"),
        ({"Dimse-Op": "DATA", "Dimse-Offset": "0", "Dimse-Zstd": "4"}, b"long"),
        ({"Dimse-Op": "ECHO"}, b""),
        ({"Dimse-Op": "ECHO", "Dimse-Proto": "2"}, b""),
        ({"Dimse-Op": "BUSY"}, msgspec.msgpack.encode({"retry_after": 1e9})),
    ],
)
def test_an_invalid_message_is_refused(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode(headers, body)


DEEP = 100_000
HOSTILE = {
    "arrays": b"\x91" * DEEP,
    "maps": b"\x81\xa1a" * DEEP,
    "keys": b"\x81" * DEEP,
    "arrays as keys": (b"\x81" + b"\x91") * DEEP,
    "nested in an unknown key": b"\x81\xa1x" + b"\x91" * DEEP + b"\xc0",
    "array of 4 G": b"\xdd\xff\xff\xff\xff",
    "map of 4 G": b"\xdf\xff\xff\xff\xff",
    "string of 4 GB": b"\x81\xdb\xff\xff\xff\xff",
    "bytes of 4 GB": b"\x81\xa1x\xc6\xff\xff\xff\xff",
    "extension of 4 GB": b"\xc9\xff\xff\xff\xff\x01",
    "extension as a value": b"\x81\xa1x\xd4\x7f\x00",
    "extension as a key": b"\x81\xd4\x7f\x00\x01",
    "timestamp": b"\x81\xa1x\xd6\xff\x00\x00\x00\x00",
    "timestamp out of range": b"\x81\xa1x\xc7\x0c\xff" + b"\xff" * 12,
    "no UTF-8": b"\x81\xa1\xff\x01",
    "number of 64 bits": b"\x82\xa8expected\xcf" + b"\xff" * 8 + b"\xa5limit\x01",
    "a double that is none": b"\x81\xabretry_after\xcb\x7f\xf8" + bytes(6),
    "reserved": b"\xc1",
}


@pytest.mark.parametrize("kind", sorted(codec._KINDS))
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_body_is_refused_and_nothing_else_is_raised(kind: str, body: bytes) -> None:
    headers = {"Dimse-Op": kind, "Dimse-Proto": "1", "Dimse-Offset": "0"}
    tracemalloc.start()
    try:
        with suppress(MalformedMessage):
            decode(headers, body)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.builds(msgspec.msgpack.Ext, st.integers(-128, 127), st.binary(max_size=4)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
)
KEYS = st.sampled_from(
    [
        *("open", "request", "inline", "inline_zstd", "limit", "expected", "matches", "status"),
        *("subject", "size", "encodings"),
    ]
)


@settings(deadline=None)
@given(kind=st.sampled_from(sorted(codec._KINDS)), value=st.dictionaries(KEYS, VALUES) | VALUES)
def test_any_value_is_a_message_or_refused(kind: str, value: object) -> None:
    headers = {"Dimse-Op": kind, "Dimse-Proto": "1", "Dimse-Offset": "0"}
    with suppress(MalformedMessage):
        decode(headers, msgspec.msgpack.encode(value))


@given(kind=st.sampled_from(sorted(codec._KINDS)), body=st.binary(max_size=60))
def test_garbage_is_refused_and_nothing_else_is_raised(kind: str, body: bytes) -> None:
    headers = {"Dimse-Op": kind, "Dimse-Proto": "1", "Dimse-Offset": "0"}
    try:
        decode(headers, body)
    except MalformedMessage:
        return


@pytest.mark.parametrize(
    ("maximum_payload", "chunk"),
    [(1024 * 1024, 512 * 1024), (64 * 1024, 60 * 1024), (8 * 1024 * 1024, 512 * 1024)],
)
def test_a_chunk_leaves_room_for_headers(maximum_payload: int, chunk: int) -> None:
    assert codec.chunk_size(maximum_payload) == chunk


@pytest.mark.parametrize(
    ("maximum_payload", "size"),
    [(1024 * 1024, 1020 * 1024), (64 * 1024, 60 * 1024), (8 * 1024 * 1024, 1024 * 1024)],
)
def test_an_open_with_its_data_set_leaves_room_for_headers(maximum_payload: int, size: int) -> None:
    assert codec.inline_size(maximum_payload) == size

import json
from collections.abc import Iterator
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.failures import (
    AccessDenied,
    Failure,
    Invalid,
    LimitExceeded,
    Refused,
    Unavailable,
)
from dimse_ingestion.queries import wire
from dimse_ingestion.queries.contract import Located, Query
from dimse_ingestion.queries.wire import AnswerReader, decode_query, encode_query, match_reader

KEYS = [
    element(0x00100010, "PN", "山田*"),
    element(0x0020000D, "UI"),
    Element("0040", "0275", "SQ", items=[[element(0x00400007, "LO", "x")]]),
]
MATCHES = [[element(0x00100010, "PN", f"Ünal^{number}\r\n")] for number in range(5)]


def read(reader: AnswerReader[list[Element]], parts: Iterator[bytes]) -> list[list[Element]]:
    return [match for part in parts for match in reader.feed(part)]


def one_by_one(data: bytes) -> Iterator[bytes]:
    return (data[start : start + 1] for start in range(len(data)))


@pytest.mark.parametrize("scope", ["PATIENT", "STUDY", "SERIES", "IMAGE"])
def test_a_query_is_decoded_as_it_was_encoded(scope: str) -> None:
    query = Query(scope=scope, keys=KEYS, limit=10, offset=20, locations_only=True)
    assert decode_query(wire.PATHS[scope], encode_query(query)) == query


def test_a_query_has_the_original_s_form() -> None:
    sent_query = json.loads(encode_query(Query(scope="STUDY", keys=KEYS[:1])))
    key = {"group": "0010", "element": "0010", "vr": "PN", "value": "山田*"}
    assert sent_query == {"scope": "STUDY", "queryAttributes": [key]}


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/query/studies", b"", "malformed JSON"),
        ("/query/studies", b"\xff", "malformed JSON"),
        ("/query/studies", b"{}", "missing required field `scope`"),
        ("/query/series", b'{"scope": "STUDY", "queryAttributes": []}', "scope is not"),
        ("/query/other", b'{"scope": "STUDY", "queryAttributes": []}', "scope is not"),
        ("/query/studies", b'{"scope": "STUDY", "queryAttributes": [], "offset": -1}', "negative"),
        ("/query/studies", b'{"scope": "STUDY", "queryAttributes": [], "limit": -1}', "negative"),
        (
            "/query/studies",
            b'{"scope": "STUDY", "queryAttributes": ["SMITH"]}',
            "The query is malformed",
        ),
    ],
)
def test_a_malformed_query_is_refused_without_its_values(
    path: str, body: bytes, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        decode_query(path, body)
    assert "SMITH" not in str(raised.value)


def whole_answer() -> bytes:
    return b"".join(map(wire.encode_match, MATCHES)) + wire.encode_end(len(MATCHES))


@given(st.lists(st.integers(0, len(whole_answer())), max_size=12))
@settings(max_examples=50)
def test_matches_come_whole_however_the_bytes_are_cut(cuts: list[int]) -> None:
    data = whole_answer()
    places = [0, *sorted(cuts), len(data)]
    reader = match_reader()
    parts = (data[start:end] for start, end in pairwise(places))
    assert read(reader, parts) == MATCHES
    reader.finish()


def test_matches_are_given_before_the_answer_ends() -> None:
    reader = match_reader()
    assert list(reader.feed(wire.encode_match(MATCHES[0]))) == MATCHES[:1]
    assert not reader.ended


def test_no_match_is_an_answer_too() -> None:
    reader = match_reader()
    assert read(reader, one_by_one(wire.encode_end(0))) == []
    reader.finish()


@pytest.mark.parametrize("length", range(0, len(whole_answer()) - 1, 7))
def test_an_answer_that_breaks_off_anywhere_has_failed(length: int) -> None:
    reader = match_reader()
    list(reader.feed(whole_answer()[:length]))
    with pytest.raises(Unavailable, match="broke off"):
        reader.finish()


def test_a_lost_match_is_noticed() -> None:
    with pytest.raises(Unavailable, match="lost"):
        list(match_reader().feed(wire.encode_match(MATCHES[0]) + wire.encode_end(2)))


@pytest.mark.parametrize(
    "failure",
    [
        Invalid("No such level."),
        Unavailable("The database is down."),
        LimitExceeded("More than 1000 matches."),
        Refused("It is none of yours."),
        Refused("It is none of yours for now.", transient=True),
        AccessDenied("It is a secret."),
    ],
)
def test_the_catalogue_s_failure_arrives_as_it_was_sent(failure: Failure) -> None:
    with pytest.raises(Failure) as raised:
        list(match_reader().feed(wire.encode_error(failure)))
    raised_failure = raised.value
    sent = (type(failure), failure.comment, failure.transient)
    assert (type(raised_failure), raised_failure.comment, raised_failure.transient) == sent


@pytest.mark.parametrize(
    ("status", "transient", "kind"),
    [
        (0xA700, True, Unavailable),
        (0xA700, False, LimitExceeded),
        (0xA900, False, Invalid),
        (0xC001, False, Refused),
        (49999, False, Refused),
    ],
)
def test_the_status_of_a_former_release_is_read_as_its_kind(
    status: int, transient: bool, kind: type[Failure]
) -> None:
    error = {"status": status, "comment": "It fails.", "transient": transient}
    with pytest.raises(Failure, match="It fails") as raised:
        list(match_reader().feed(json.dumps({"error": error}).encode() + b"\n"))
    assert (type(raised.value), raised.value.transient) == (kind, transient)


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Unavailable("It fails."), 0xA700),
        (LimitExceeded("It fails."), 0xA700),
        (Invalid("It fails."), 0xA900),
        (Refused("It fails."), 0xC001),
    ],
)
def test_a_former_release_finds_the_status_in_a_failure(failure: Failure, status: int) -> None:
    error = json.loads(wire.encode_error(failure))["error"]
    expected = {"status": status, "comment": "It fails.", "transient": failure.transient}
    assert error == expected | {"kind": type(failure).__name__}


def test_a_kind_of_a_later_release_is_a_refusal() -> None:
    line = b'{"error": {"kind": "Later", "comment": "new", "transient": false}}\n'
    with pytest.raises(Refused, match="new"):
        list(match_reader().feed(line))


@pytest.mark.parametrize("line", [b"garbage\n", b"{}\n", b'[{"group": 1}]\n', b"\xff\n", b"1\n"])
def test_other_lines_are_a_failure_that_repeats_nothing(line: bytes) -> None:
    with pytest.raises(Unavailable) as raised:
        list(match_reader().feed(line))
    assert "garbage" not in raised.value.comment


def test_a_line_without_end_is_given_up() -> None:
    reader = match_reader()
    endless = (b"x" * 2**20 for _ in range(wire.LONGEST_LINE // 2**20 + 1))
    with pytest.raises(Unavailable, match="too long"):
        read(reader, endless)


def located(number: int) -> Located:
    return Located(
        elements=MATCHES[number],
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        bucket_name="bucket",
        object_name=f"instances/{number}",
        size=1000,
        header_size=300,
        sha256="ab" * 32,
        calling_ae_title="CT1",
        proxy_id="ward7",
    )


def test_an_object_of_a_former_catalogue_has_no_sender() -> None:
    *fields, _, _, _, _ = json.loads(wire.encode_match(located(0)))
    body = json.dumps(fields).encode() + b"\n" + wire.encode_end(1)
    (read_object,) = wire.object_reader().feed(body)
    assert read_object == msgspec.structs.replace(located(0), calling_ae_title="", proxy_id="")


def test_objects_have_a_path_of_their_own() -> None:
    sent_query = Query(scope="IMAGE", keys=KEYS, all_keys=True)
    assert decode_query(wire.OBJECTS, encode_query(sent_query)) == sent_query
    found = [located(0), located(1)]
    reader = wire.object_reader()
    body = b"".join(map(wire.encode_match, found)) + wire.encode_end(2)
    assert [each for part in one_by_one(body) for each in reader.feed(part)] == found
    reader.finish()


def test_objects_are_of_instances_only() -> None:
    with pytest.raises(ValueError, match="scope is not"):
        decode_query(wire.OBJECTS, encode_query(Query(scope="STUDY", keys=[])))


def long_match(items: int) -> list[Element]:
    item = [element(0x00080100, "SH", "A")]
    return [*MATCHES[0], Element("0008", "1140", "SQ", items=[item] * items)]


def test_a_long_match_is_read_like_a_short_one_and_costs_memory() -> None:
    match = long_match(20_000)
    line = wire.encode_match(match)
    reader = match_reader()
    parts = (line[start : start + 10_000] for start in range(0, len(line), 10_000))
    assert read(reader, parts) == [match]
    assert 2 * len(line) < reader.cost < 4 * len(line)
    assert list(reader.feed(wire.encode_match(MATCHES[1]))) == MATCHES[1:2]
    assert reader.cost == 0


def test_a_long_object_is_read_like_a_short_one() -> None:
    found = msgspec.structs.replace(located(1), elements=long_match(20_000))
    reader = wire.object_reader()
    assert list(reader.feed(wire.encode_match(found))) == [found]
    assert reader.cost > 2**20


@pytest.mark.parametrize("line", [b"x" * 2**20, b"[1," + b"2," * 2**18 + b"3]"])
def test_a_malformed_long_line_is_a_failure(line: bytes) -> None:
    for reader in (match_reader(), wire.object_reader()):
        with pytest.raises(Unavailable, match="malformed"):
            list(reader.feed(line + b"\n"))


def test_the_length_of_a_line_that_arrives_is_known() -> None:
    reader = match_reader()
    line = wire.encode_match(MATCHES[0])
    assert list(reader.feed(line + line[:10])) == MATCHES[:1]
    assert reader.arrived == 10

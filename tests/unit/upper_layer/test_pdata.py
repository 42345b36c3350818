from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import P_DATA_TF

from dimse_ingestion.upper_layer.pdata import Encoded, Fragment, Pdu, PduReader, encode
from dimse_ingestion.upper_layer.pdus import AbortReason, PduType, ProtocolError
from tests.requestor_bytes import COMMAND, LAST, abort, associate_rq, p_data, release_rq

LONGEST = 16384


def whole(encoded: Encoded) -> bytes:
    return encoded if isinstance(encoded, bytes) else b"".join(encoded)


def read(
    pieces: Iterable[bytes], longest: int = LONGEST
) -> tuple[list[PduType], list[tuple[int, bool, bytes]]]:
    """Return the PDUs, and the values they carried put together: (context, is command, content)."""
    reader, types, values, open_value = PduReader(longest), [], [], bytearray()
    for piece in pieces:
        for found in reader.feed(memoryview(piece)):
            if isinstance(found, Pdu):
                types.append(found.type)
                continue
            open_value += found.content
            if found.last:
                values.append((found.context_id, found.is_command, bytes(open_value)))
                open_value.clear()
    assert not reader.is_within_pdu
    assert not open_value
    return types, values


def cut(content: bytes, at: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({edge % (len(content) + 1) for edge in at}), len(content)]
    return [content[start:end] for start, end in pairwise(edges)]


MIXED = (
    associate_rq()
    + p_data((1, COMMAND, b"comm"), (1, COMMAND | LAST, b"and"), (1, 0, b"x" * 301))
    + p_data((1, 0, b""), (1, LAST, b"odd"))
    + p_data((255, COMMAND | LAST, b"c"))
    + p_data((255, LAST, b""))
    + release_rq()
    + abort()
)
READ = (
    [
        PduType.ASSOCIATE_RQ,
        *[PduType.P_DATA_TF] * 4,
        PduType.RELEASE_RQ,
        PduType.ABORT,
    ],
    [(1, True, b"command"), (1, False, b"x" * 301 + b"odd"), (255, True, b"c"), (255, False, b"")],
)


def test_pdus_are_read_from_one_piece() -> None:
    assert read([MIXED]) == READ


def test_pdus_are_read_one_byte_at_a_time() -> None:
    assert read(MIXED[at : at + 1] for at in range(len(MIXED))) == READ


@given(st.lists(st.integers(0, 2**16), max_size=20))
@settings(max_examples=60)
def test_pdus_are_read_however_they_are_split(at: list[int]) -> None:
    assert read(cut(MIXED, at)) == READ


def test_a_value_is_passed_on_before_its_pdu_is_whole_and_without_a_copy() -> None:
    received = bytearray(p_data((1, 0, bytes(1000)))[:500])
    header, fragment = PduReader(LONGEST).feed(memoryview(received))
    assert isinstance(header, Pdu)
    assert isinstance(fragment, Fragment)
    assert fragment.content.obj is received
    assert len(fragment.content) == 500 - 12


def test_a_pdu_that_is_no_data_comes_whole() -> None:
    (pdu,) = PduReader(LONGEST).feed(memoryview(associate_rq()))
    assert isinstance(pdu, Pdu)
    assert pdu.content == associate_rq()[6:]


def reason_of(content: bytes) -> AbortReason:
    with pytest.raises(ProtocolError) as caught:
        list(PduReader(LONGEST).feed(memoryview(content)))
    return caught.value.reason


def test_a_pdu_longer_than_announced_is_invalid() -> None:
    assert not list(PduReader(LONGEST).feed(memoryview(b"\x04\0" + LONGEST.to_bytes(4)[:3])))
    assert list(PduReader(LONGEST).feed(memoryview(b"\x04\0" + LONGEST.to_bytes(4))))
    too_long = b"\x04\0" + (LONGEST + 1).to_bytes(4)
    assert reason_of(too_long) is AbortReason.INVALID_PDU_PARAMETER_VALUE


def test_a_proposal_has_an_end() -> None:
    assert reason_of(b"\x01\0\xff\xff\xff\xff") is AbortReason.INVALID_PDU_PARAMETER_VALUE


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n", b"\0", b"\x08", b"\x16\x03\x01"])
def test_what_is_no_pdu_is_known_by_its_first_byte(garbage: bytes) -> None:
    assert reason_of(garbage) is AbortReason.UNRECOGNIZED_PDU
    assert reason_of(garbage[:1]) is AbortReason.UNRECOGNIZED_PDU


def test_tls_at_a_port_without_tls_is_named_in_the_error() -> None:
    with pytest.raises(ProtocolError, match="TLS"):
        list(PduReader(LONGEST).feed(memoryview(b"\x16\x03\x01")))


@pytest.mark.parametrize("length", range(6))
def test_a_pdu_without_a_whole_value_is_invalid_before_anything_follows(length: int) -> None:
    assert reason_of(b"\x04\0" + length.to_bytes(4)) is AbortReason.INVALID_PDU_PARAMETER_VALUE


@pytest.mark.parametrize("rest", range(1, 6))
def test_a_rest_too_short_for_a_value_is_invalid(rest: int) -> None:
    pdu = b"\x04\0" + (7 + rest).to_bytes(4) + b"\0\0\0\x03\x01\x03x"
    assert reason_of(pdu) is AbortReason.INVALID_PDU_PARAMETER_VALUE


@pytest.mark.parametrize("length", [0, 1, 9, 2**32 - 1])
def test_a_value_that_does_not_fit_its_pdu_is_invalid(length: int) -> None:
    pdu = b"\x04\0" + (10).to_bytes(4) + length.to_bytes(4) + b"\x01\x03"
    assert reason_of(pdu) is AbortReason.INVALID_PDU_PARAMETER_VALUE


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
@settings(max_examples=200)
def test_garbage_is_read_or_refused_never_more(garbage: bytes, at: list[int]) -> None:
    reader = PduReader(64)
    with suppress(ProtocolError):
        for piece in cut(garbage, at):
            list(reader.feed(memoryview(piece)))


@given(st.binary(max_size=2000), st.none() | st.binary(max_size=5000), st.integers(14, 900))
@settings(max_examples=60)
def test_what_is_sent_is_read_again_and_keeps_to_the_peers_limit(
    command: bytes, data_set: bytes | None, maximum: int
) -> None:
    sent = whole(encode(3, command, data_set, maximum))
    values = [(3, True, command)]
    if data_set is not None:
        values.append((3, False, data_set))
    reader = PduReader(maximum)
    fragments = [found for found in reader.feed(memoryview(sent)) if isinstance(found, Fragment)]
    assert read([sent])[1] == values
    assert sum(fragment.last for fragment in fragments) == len(values)
    assert not any(len(each.content) % 2 for each in fragments if not each.last)


def test_a_long_data_set_is_sent_without_a_copy() -> None:
    data_set = bytes(100_000)
    pieces = encode(1, b"c", data_set, 16384)
    assert isinstance(pieces, list)
    parts = [each for each in pieces if isinstance(each, memoryview) and each.obj is data_set]
    assert sum(map(len, parts)) == len(data_set)
    assert isinstance(encode(1, b"c", data_set, 1000), bytes)  # pieces would be too many
    assert isinstance(encode(1, b"c", data_set[:1000], 16384), bytes)


def test_pynetdicom_reads_what_is_sent() -> None:
    pdu = P_DATA_TF()
    pdu.decode(whole(encode(5, b"command", None, 0)))
    (value,) = pdu.presentation_data_value_items
    assert (value.presentation_context_id, value.presentation_data_value) == (5, b"\x03command")


def test_a_peer_without_a_limit_still_gets_pdus_of_a_sane_length() -> None:
    types, values = read([whole(encode(1, b"c", bytes(10**6), 0))], 128 * 1024)
    assert len(types) > 2
    assert values[1][2] == bytes(10**6)

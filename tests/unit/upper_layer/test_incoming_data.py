"""Bytes of one peer, read in turns."""

from typing import TYPE_CHECKING

import pytest

from dimse_ingestion.upper_layer.incoming_data import IncomingData
from dimse_ingestion.upper_layer.pdus import ProtocolError
from tests.unit.upper_layer.memory_connection import MemoryConnection

if TYPE_CHECKING:
    from dimse_ingestion.upper_layer.pdata import Fragment, Pdu

P_DATA = b"\x04\0\0\0\0\x08\0\0\0\x04\x01\0xy"
ABORT = b"\x07\0\0\0\0\x04\0\0\0\0"


class Peer:
    """What was read of one peer."""

    def __init__(self, *, deciding: bool = False) -> None:
        self.found: list[Fragment | Pdu] = []
        self.deciding = deciding
        self.wire = MemoryConnection()
        self.incoming = IncomingData(1024, self.wire, self.found.append, lambda: self.deciding)

    def give(self, content: bytes) -> int:
        return self.incoming.read(memoryview(content))


def test_so_many_are_read_in_one_turn() -> None:
    peer, left, turns = Peer(), P_DATA * 100, 0
    while left:
        before = len(peer.found)
        left = left[peer.give(left) :]
        turns += 1
        assert len(peer.found) - before <= 64
    assert (len(peer.found), turns) == (200, 4)


def test_a_few_are_read_at_once() -> None:
    assert Peer().give(P_DATA * 31 + P_DATA[:3]) == len(P_DATA) * 31 + 3


def test_data_waits_for_the_answer_and_nothing_else_does() -> None:
    peer = Peer(deciding=True)
    assert peer.give(ABORT + P_DATA) == len(ABORT)
    assert peer.give(P_DATA) == 0
    assert not peer.wire.is_reading()
    peer.deciding = False
    peer.incoming.proposal_answered()
    assert peer.wire.is_reading()
    assert peer.give(P_DATA) == len(P_DATA)


def test_without_early_data_an_answer_resumes_nothing() -> None:
    peer = Peer(deciding=True)
    peer.incoming.proposal_answered()
    assert peer.wire.is_reading()


def test_once_stopped_bytes_are_passed_over_and_the_peer_is_cut_in_the_end() -> None:
    peer = Peer()
    with pytest.raises(ProtocolError):
        peer.give(b"\x04\0\0\0\0\0")
    peer.incoming.stop()
    mebibyte = bytes(1024 * 1024)
    assert [peer.give(mebibyte) for _ in range(4)] == [len(mebibyte)] * 4
    assert not peer.wire.is_closed()
    peer.give(b"x")
    assert peer.wire.is_closed()
    assert not peer.found

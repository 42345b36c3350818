import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimse_ingestion.dicom.byte_feed import ByteFeed, EndOfData, Inflater, ParserSteps


def test_a_parser_waits_and_goes_on_where_it_was() -> None:
    source, taken = ByteFeed(), []

    def parser() -> ParserSteps:
        taken.append((yield from source.take(2)))
        yield from source.skip(3)
        taken.append((yield from source.peek(1)))
        taken.append((yield from source.take(2)))

    parsing = parser()
    for byte in b"abcdefg":
        source.add(bytes([byte]))
        next(parsing, None)
    assert taken == [b"ab", b"f", b"fg"]
    assert source.offset == 7


@pytest.mark.parametrize("want", ["take", "skip", "peek"])
def test_missing_bytes_raise_end_of_data(want: str) -> None:
    source = ByteFeed()
    source.add(b"abc")
    source.ended = True
    with pytest.raises(EndOfData):
        list(getattr(source, want)(4))


def test_skipped_bytes_are_not_buffered() -> None:
    source = ByteFeed()
    passing = source.skip(10**12)
    next(passing)
    for _ in range(100):
        source.add(bytes(10**6))
        next(passing)
    assert source.available == 0
    assert source.offset == 10**8


@given(st.binary(max_size=3000), st.integers(1, 700))
def test_inflating_gives_everything_in_pieces_of_any_size(data: bytes, size: int) -> None:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(data) + deflater.flush() + b"\0"
    inflating = Inflater()
    pieces = [deflated[place : place + size] for place in range(0, len(deflated), size)]
    assert b"".join(b"".join(inflating.pieces(piece)) for piece in pieces) == data
    assert inflating.complete


@pytest.mark.parametrize("length", [2**18, 2**18 + 1, 2**20, 2**20 + 100])
def test_a_small_piece_that_inflates_to_much_comes_bounded_and_whole(length: int) -> None:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(bytes(length)) + deflater.flush()
    inflating = Inflater()
    pieces = [len(piece) for piece in inflating.pieces(deflated)]
    assert sum(pieces) == length
    assert max(pieces) <= 2**18
    assert inflating.complete

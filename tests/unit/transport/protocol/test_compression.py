import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dimse_ingestion.transport.protocol.compression import (
    SMALLEST,
    CompressedPiece,
    DamagedFrame,
    compress,
    decompress,
    is_compressible,
)

CONTENT = b"0123456789abcdef" * 4096
NUMBERED = b"".join(number.to_bytes(4, "big") for number in range(20_000))


def frame(content: bytes = CONTENT) -> bytes:
    compressed = compress(content)
    assert compressed is not None
    return compressed


@given(content=st.binary(max_size=200), times=st.integers(1, 1000))
def test_what_is_compressed_is_expanded_to_the_same(content: bytes, times: int) -> None:
    whole = content * times
    compressed = compress(whole)
    if compressed is not None:
        assert len(compressed) < len(whole)
        assert decompress(CompressedPiece(compressed, len(whole))) == whole


@pytest.mark.parametrize(
    "content", [b"", b"x" * (SMALLEST - 1), zstandard.compress(NUMBERED)], ids=len
)
def test_what_would_save_nothing_is_left_as_it_is(content: bytes) -> None:
    assert compress(content) is None


@pytest.mark.parametrize(
    ("transfer_syntax_uid", "native"),
    [
        ("1.2.840.10008.1.2", True),
        ("1.2.840.10008.1.2.1", True),
        ("1.2.840.10008.1.2.2", True),
        ("1.2.840.10008.1.2.1.98", True),
        ("1.2.840.10008.1.2.1.99", False),
        ("1.2.840.10008.1.2.4.70", False),
        ("1.2.3", False),
    ],
)
def test_native_transfer_syntaxes_are_compressed(transfer_syntax_uid: str, native: bool) -> None:
    assert is_compressible(transfer_syntax_uid) is native


def frame_of_size(size: int) -> bytes:
    """Return a frame whose header tells another size (RFC 8878 3.1.1.1: 4 bytes at the end)."""
    whole = zstandard.ZstdCompressor().compress(bytes(100_000))
    assert int.from_bytes(whole[5:9], "little") == 100_000
    return whole[:5] + size.to_bytes(4, "little") + whole[9:]


DAMAGED = {
    "nothing": b"",
    "a magic number": frame()[:4],
    "a header": frame()[:9],
    "truncated": frame()[:-1],
    "a byte more": frame() + b"\0",
    "two frames": frame(CONTENT[:30_000]) + frame(CONTENT[30_000:]),
    "twice": frame() * 2,
    "a frame after it": frame() + zstandard.compress(b""),
    "of a shorter piece": frame(CONTENT[:-1]),
    "of a longer piece": frame(CONTENT + b"0"),
    "without its size": zstandard.ZstdCompressor(write_content_size=False).compress(CONTENT),
    "skippable": b"\x50\x2a\x4d\x18" + len(CONTENT).to_bytes(4, "little") + CONTENT,
    "of an old format": b"\x27\xb5\x2f\xfd" + bytes(30),
    "of more than it tells": frame_of_size(len(CONTENT)),
    "no frame": b"\x89PNG\r\n\x1a\n" * 20,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_frame_is_refused(content: bytes) -> None:
    with pytest.raises(DamagedFrame, match="compressed piece"):
        decompress(CompressedPiece(content, len(CONTENT)))


def test_a_flipped_bit_is_refused_or_gives_other_bytes_of_the_same_size() -> None:
    whole = bytearray(frame(NUMBERED))
    for position in range(len(whole)):
        whole[position] ^= 1
        try:
            assert len(decompress(CompressedPiece(bytes(whole), len(NUMBERED)))) == len(NUMBERED)
        except DamagedFrame:
            continue
        finally:
            whole[position] ^= 1


@pytest.mark.parametrize(
    "bomb",
    [
        zstandard.compress(bytes(200_000_000)),
        frame_of_size(2**32 - 1),
        b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 8 + b"\x01\0\0",
    ],
    ids=["200 MB", "tells 4 GB", "tells 2^64"],
)
def test_a_bomb_takes_no_memory(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DamagedFrame):
            decompress(CompressedPiece(bomb, 512 * 1024))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_frame_takes_no_more_memory_than_its_piece_and_a_window() -> None:
    """A window of 2 GB, in a frame of an honest size."""
    compressor = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    )
    content = bytes(300_000)
    tracemalloc.start()
    try:
        assert decompress(CompressedPiece(compressor.compress(content), len(content))) == content
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()

import struct

import pytest

from dimse_ingestion.dicom.code_streams import (
    InvalidCodeStream,
    Size,
    begins_image,
    claimed_size,
    ends_image,
    has_markers,
    is_lossy,
)

BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
HTJ2K = "1.2.840.10008.1.2.4.201"
RLE = "1.2.840.10008.1.2.5"
JPEG_XL = "1.2.840.10008.1.2.4.110"
SOI, EOI = b"\xff\xd8", b"\xff\xd9"


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def frame_header(rows: int, columns: int, samples: int = 1, marker: int = 0xC0) -> bytes:
    parts = b"".join(bytes([n, 0x11, 0]) for n in range(samples))
    return segment(marker, struct.pack(">BHHB", 8, rows, columns, samples) + parts)


SCAN = segment(0xDA, b"\1\0\0\0\x3f\0") + b"\x12\x34"


def code_stream(rows: int, columns: int, samples: int = 1, tile: int = 0) -> bytes:
    tile = tile or max(rows, columns)
    fixed = struct.pack(">H8IH", 0, columns, rows, 0, 0, tile, tile, 0, 0, samples)
    size = fixed + b"\7\1\1" * samples
    return b"\xff\x4f" + segment(0x51, size)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


SIGNATURE = box(b"jP  ", b"\r\n\x87\n")


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"\xff" * 3,  # fill bytes before a marker (B.1.1.2)
        segment(0xE0, b"JFIF\0") + b"\xff\xff",
        segment(0xE1, SOI + frame_header(2, 2) + EOI),  # a thumbnail in an APP segment
        b"\0\1\2",  # no marker: decoders search for the next one
        b"\xff\1\xff\0",  # markers without a length
    ],
)
@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC3, 0xC5, 0xCF, 0xF7])
def test_the_size_of_a_jpeg_is_found_behind_whatever_stands_before_it(
    before: bytes, marker: int
) -> None:
    syntax = JPEG_LS if marker == 0xF7 else BASELINE
    image = SOI + before + frame_header(65500, 65499, 3, marker) + SCAN + EOI
    assert claimed_size(image, syntax) == Size(65500, 65499, 3)


def test_the_largest_of_several_frame_headers_counts() -> None:
    image = SOI + frame_header(4, 4) + frame_header(50, 60) + frame_header(5, 5) + SCAN
    assert claimed_size(image, BASELINE) == Size(50, 60, 1)


def test_rows_may_follow_the_first_scan() -> None:
    image = SOI + frame_header(0, 60) + SCAN + segment(0xDC, struct.pack(">H", 50)) + EOI
    assert claimed_size(image, BASELINE) == Size(50, 60, 1)


def test_the_size_of_a_jpeg_ls_may_be_in_its_parameters() -> None:
    oversize = segment(0xF8, b"\4\3" + (70000).to_bytes(3, "big") + (80000).to_bytes(3, "big"))
    image = SOI + frame_header(0, 0, 1, 0xF7) + oversize + SCAN
    assert claimed_size(image, JPEG_LS) == Size(70000, 80000, 1)


@pytest.mark.parametrize("syntax", [JPEG_2000, HTJ2K])
def test_the_size_of_a_code_stream_is_that_of_its_second_marker(syntax: str) -> None:
    assert claimed_size(code_stream(30000, 20000, 4), syntax) == Size(30000, 20000, 4)
    assert claimed_size(code_stream(256, 256, 1, tile=1), syntax) == Size(256, 256, 1, 65536)


@pytest.mark.parametrize("extended", [False, True])
def test_the_code_stream_of_a_file_is_found_behind_long_boxes(extended: bool) -> None:
    content = code_stream(22000, 21000)
    last = box(b"jp2c", content)
    if extended:
        last = struct.pack(">I4sQ", 1, b"jp2c", len(content) + 16) + content
    image = SIGNATURE + box(b"ftyp", bytes(12)) + box(b"uuid", bytes(9000)) + last
    assert claimed_size(image, JPEG_2000) == Size(22000, 21000, 1)


@pytest.mark.parametrize(
    ("image", "syntax"),
    [
        (b"", BASELINE),
        (b"\x93" * 300, BASELINE),
        (SOI + EOI, BASELINE),
        (SOI + SCAN + frame_header(2, 2), BASELINE),
        (b"", JPEG_2000),
        (b"\x93" * 300, JPEG_2000),
        (b"\xff\x4f\xff\x64\0\2" + code_stream(2, 2)[2:], JPEG_2000),
        (code_stream(2, 2)[:30], JPEG_2000),
        (code_stream(0, 2), JPEG_2000),
        (SIGNATURE + box(b"ftyp", bytes(12)), JPEG_2000),
        (SIGNATURE + bytes(4) + b"free" + code_stream(2, 2), JPEG_2000),
        (bytes(64), RLE),
        (b"", RLE),
    ],
)
def test_a_code_stream_without_a_size_is_refused(image: bytes, syntax: str) -> None:
    with pytest.raises(InvalidCodeStream):
        claimed_size(image, syntax)


def test_a_syntax_without_such_a_header_claims_nothing() -> None:
    assert claimed_size(struct.pack("<16I", 1, 64, *[0] * 14), RLE) is None
    assert claimed_size(b"\xff\x0a", JPEG_XL) is None
    assert not has_markers(RLE)


@pytest.mark.parametrize(
    ("begin", "syntax", "expected"),
    [
        (SOI + b"\xff\xe0", BASELINE, True),
        (SOI, BASELINE, True),  # a fragment of two bytes
        (SOI + b"\0", BASELINE, False),
        (b"\xff\xdb", BASELINE, False),
        (SOI + b"\xff\xf7", JPEG_LS, True),
        (b"\xff\x4f\xff\x51", JPEG_2000, True),
        (SIGNATURE, HTJ2K, True),
        (b"\xff\x52", JPEG_2000, False),
        (struct.pack("<II", 3, 64), RLE, True),
        (struct.pack("<II", 16, 64), RLE, False),
        (b"\3", RLE, False),
        (SOI, JPEG_XL, False),
    ],
)
def test_where_an_image_begins(begin: bytes, syntax: str, expected: bool) -> None:
    assert begins_image(begin, syntax) is expected


def test_where_an_image_ends() -> None:
    assert ends_image(b"12" + EOI)
    assert ends_image(EOI + bytes(8))
    assert not ends_image(EOI + bytes(9))
    assert not ends_image(b"\xff")


def coded(transformation: int) -> bytes:
    """Return a JPEG 2000 code stream with this wavelet: 0 is irreversible."""
    comment = segment(0x64, b"\0\1a comment")
    style = segment(0x52, bytes((0, 0, 0, 1, 1, 5, 4, 4, 0, transformation)))
    return code_stream(4, 4) + comment + style + segment(0x90, bytes(8))


def near(number: int) -> bytes:
    """Return a JPEG-LS of three components with this NEAR."""
    scan = segment(0xDA, b"\3\1\0\2\0\3\0" + bytes((number, 2, 0)))
    return SOI + frame_header(4, 4, 3, marker=0xF7) + scan


@pytest.mark.parametrize(
    ("image", "syntax", "expected"),
    [
        (b"anything", BASELINE, True),
        (b"anything", "1.2.840.10008.1.2.4.51", True),
        (b"anything", "1.2.840.10008.1.2.4.70", False),
        (b"anything", RLE, False),
        (near(0), JPEG_LS, False),
        (near(3), JPEG_LS, False),
        (near(0), "1.2.840.10008.1.2.4.81", False),
        (near(3), "1.2.840.10008.1.2.4.81", True),
        (SOI, "1.2.840.10008.1.2.4.81", False),
        (SOI + b"\xff\xda\0\3\xff", "1.2.840.10008.1.2.4.81", False),
        (coded(0), JPEG_2000, False),
        (coded(0), "1.2.840.10008.1.2.4.91", True),
        (coded(1), "1.2.840.10008.1.2.4.91", False),
        (box(b"jP  ", b"\r\n\x87\n") + box(b"jp2c", coded(0)), "1.2.840.10008.1.2.4.91", True),
        (coded(0), "1.2.840.10008.1.2.4.203", True),
        (code_stream(4, 4), "1.2.840.10008.1.2.4.91", False),
        (b"", "1.2.840.10008.1.2.4.91", False),
    ],
)
def test_a_code_stream_says_whether_it_lost_information(
    image: bytes, syntax: str, expected: bool
) -> None:
    assert is_lossy(image, syntax) is expected

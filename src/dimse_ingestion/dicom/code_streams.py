"""Headers of compressed images: the size in a code stream, and the markers around an image.

JPEG (ISO/IEC 10918-1 annex B), JPEG-LS (14495-1 annex C), JPEG 2000 and HTJ2K (15444-1 annexes A
and I), RLE (PS3.5 annex G). Pixels are not decoded here: the size is checked before a decoder gets
the code stream, and markers show which fragments begin a frame.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_BASE = "1.2.840.10008.1.2"
_JPEG = frozenset(f"{_BASE}.4.{n}" for n in (50, 51, 57, 70, 80, 81))
_JPEG_2000 = frozenset(f"{_BASE}.4.{n}" for n in (90, 91, 92, 93, 201, 202, 203))
_LOSSY_JPEG = frozenset(f"{_BASE}.4.{n}" for n in (50, 51))
_NEAR_LOSSLESS_JPEG_LS = f"{_BASE}.4.81"
_ANY_JPEG_2000 = frozenset(f"{_BASE}.4.{n}" for n in (91, 93, 203))
RLE_LOSSLESS = f"{_BASE}.5"
STANDARD_SYNTAXES = "1.2.840.10008."
"""The beginning of every transfer syntax that is not private."""

_START_OF_IMAGE, _START_OF_CODE_STREAM = b"\xff\xd8", b"\xff\x4f\xff\x51"
_END_OF_IMAGE = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000 alike
_JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_CODE_STREAM_BOX = b"jp2c"
_STARTS_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xDE, 0xF7}) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _JPEG_LS_PARAMETERS, _OVERSIZE = 0xDA, 0xF8, 4
_CODING_STYLE, _START_OF_TILE = 0x52, 0x90
_TRANSFORMATION = 9  # bytes of the coding style before it: 0 is irreversible, 1 reversible
_DEFINE_NUMBER_OF_LINES = b"\xff\xdc\x00\x04"
_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xDA)})
_MOST_SEGMENTS, _RLE_HEADER = 15, 64

BEGIN_LENGTH = 12
"""Bytes at the start of a fragment that show whether an image begins there."""

END_LENGTH = 10
"""Bytes at the end of a fragment that may contain the end marker of an image, before padding."""


class InvalidCodeStream(ValueError):
    """The code stream has no valid header with a size; the message is for the client."""


@dataclass(frozen=True, slots=True)
class Size:
    """The image size in a code stream's header; `tiles` is 1 if it has none."""

    rows: int
    columns: int
    samples_per_pixel: int
    tiles: int = 1

    @property
    def samples(self) -> int:
        """Samples of the whole image."""
        return self.rows * self.columns * self.samples_per_pixel


def claimed_size(code_stream: bytes, transfer_syntax_uid: str) -> Size | None:
    """Return the largest size in the headers; None if the syntax has no such header.

    Raises InvalidCodeStream when the code stream does not begin as its transfer syntax says.
    """
    if transfer_syntax_uid in _JPEG_2000:
        return _jpeg_2000_size(code_stream)
    if transfer_syntax_uid in _JPEG:
        return _jpeg_size(code_stream)
    if transfer_syntax_uid == RLE_LOSSLESS and not _is_rle_header(code_stream):
        raise InvalidCodeStream("The frame has no RLE header.")
    return None


def is_lossy(code_stream: bytes, transfer_syntax_uid: str) -> bool:
    """Return whether a frame's compression has certainly lost information.

    JPEG Baseline and Extended always have; JPEG-LS says by NEAR, and JPEG 2000 by the irreversible
    wavelet (ISO/IEC 14495-1 C.2.3, 15444-1 A.6.1). A reversible code stream may have been cut off,
    which it does not say.
    """
    if transfer_syntax_uid == _NEAR_LOSSLESS_JPEG_LS:
        return _jpeg_ls_near(code_stream) > 0
    if transfer_syntax_uid in _ANY_JPEG_2000:
        return _has_irreversible_wavelet(code_stream)
    return transfer_syntax_uid in _LOSSY_JPEG


def has_markers(transfer_syntax_uid: str) -> bool:
    """Return whether images of a transfer syntax may begin and end with markers.

    What a private transfer syntax contains is not known: often it is one of these code streams.
    """
    known = transfer_syntax_uid in _JPEG or transfer_syntax_uid in _JPEG_2000
    return known or not transfer_syntax_uid.startswith(STANDARD_SYNTAXES)


def begins_image(begin: bytes, transfer_syntax_uid: str) -> bool:
    """Return whether a fragment that starts with these bytes begins an image.

    JPEG and JPEG 2000 are recognized in each other's transfer syntaxes, as writers confuse them.
    """
    if transfer_syntax_uid == RLE_LOSSLESS:
        return _is_rle_header(begin)
    if not has_markers(transfer_syntax_uid):
        return False
    is_jpeg = begin[:2] == _START_OF_IMAGE and begin[2:3] in (b"", b"\xff")
    return is_jpeg or begin.startswith((_START_OF_CODE_STREAM, _JP2_SIGNATURE[:BEGIN_LENGTH]))


def ends_image(end: bytes) -> bool:
    """Return whether these last bytes of fragments end an image."""
    return _END_OF_IMAGE in end[-END_LENGTH:]


def is_between_images(end: bytes, begin: bytes, transfer_syntax_uid: str) -> bool:
    """Return whether one image ends with the bytes `end`, and another begins with `begin`."""
    if not begins_image(begin, transfer_syntax_uid):
        return False
    return transfer_syntax_uid == RLE_LOSSLESS or ends_image(end)


def _is_rle_header(begin: bytes) -> bool:
    if len(begin) < 8:
        return False
    segments, first = struct.unpack_from("<II", begin)
    return 1 <= segments <= _MOST_SEGMENTS and bool(first == _RLE_HEADER)


def _jpeg_2000_size(code_stream: bytes) -> Size:
    """Read the SIZ marker segment, which follows the start of code stream."""
    place = _code_stream_offset(code_stream)
    fixed = code_stream[place + 8 : place + 42]
    if code_stream[place : place + 4] != _START_OF_CODE_STREAM or len(fixed) < 34:
        raise InvalidCodeStream("The frame holds no JPEG 2000 code stream.")
    right, bottom, left, top, across, down, first_x, first_y, samples = struct.unpack(">8IH", fixed)
    if not across or not down or right <= left or bottom <= top:
        raise InvalidCodeStream("The JPEG 2000 code stream claims an impossible size.")
    tiles = -(-(right - first_x) // across) * -(-(bottom - first_y) // down)
    return Size(bottom - top, right - left, samples, tiles)


def _has_irreversible_wavelet(code_stream: bytes) -> bool:
    """Read the coding style default, which follows SIZ in the main header."""
    place = _code_stream_offset(code_stream) + len(_START_OF_IMAGE)
    while place + 4 <= len(code_stream) and code_stream[place] == 0xFF:
        marker, length = struct.unpack_from(">xBH", code_stream, place)
        segment = code_stream[place + 4 : place + 2 + length]
        if marker == _CODING_STYLE:
            return len(segment) > _TRANSFORMATION and segment[_TRANSFORMATION] == 0
        if marker == _START_OF_TILE:
            break
        place += 2 + length
    return False


def _jpeg_ls_near(code_stream: bytes) -> int:
    """Return NEAR of the first scan, which follows the list of its components."""
    for marker, segment in _segments(code_stream):
        if marker == _START_OF_SCAN and segment:
            return int.from_bytes(segment[1 + 2 * segment[0] :][:1], "big")
    return 0


def _code_stream_offset(data: bytes) -> int:
    """Return the code stream's offset: 0, or that of its box in a JP2 file."""
    place = 0
    while data.startswith(_JP2_SIGNATURE) and place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        header = 8
        if length == 1:
            length, header = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        if kind == _CODE_STREAM_BOX:
            return place + header
        if length < header:
            break
        place += length
    return place


def _jpeg_size(code_stream: bytes) -> Size:
    sizes = list(_jpeg_sizes(code_stream))
    if not sizes:
        raise InvalidCodeStream("The frame holds no JPEG with a frame header.")
    return max(sizes, key=lambda size: size.samples)


def _jpeg_sizes(code_stream: bytes) -> Iterator[Size]:
    """Read every frame header before the first scan; later ones are no larger, or damage."""
    samples = 1
    for marker, segment in _segments(code_stream):
        if marker in _STARTS_OF_FRAME and len(segment) >= 6:
            rows, columns, samples = struct.unpack_from(">HHB", segment, 1)
            rows = rows or _number_of_lines(code_stream)
            yield Size(rows, columns, samples)
        elif marker == _JPEG_LS_PARAMETERS and segment[:1] == bytes([_OVERSIZE]):
            width = segment[1] if len(segment) > 1 else 0
            rows = int.from_bytes(segment[2 : 2 + width], "big")
            yield Size(rows, int.from_bytes(segment[2 + width : 2 + 2 * width], "big"), samples)


def _number_of_lines(code_stream: bytes) -> int:
    """Return the rows in a DNL marker after the first scan, for a header without rows."""
    place = code_stream.find(_DEFINE_NUMBER_OF_LINES) + len(_DEFINE_NUMBER_OF_LINES)
    if place < len(_DEFINE_NUMBER_OF_LINES):
        return 0
    return int.from_bytes(code_stream[place : place + 2], "big")


def _segments(code_stream: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield the marker segments up to the first scan's, skipping fill bytes and other bytes."""
    view = memoryview(code_stream)
    place = code_stream.find(0xFF)
    while 0 <= place < len(code_stream) - 3:
        marker = code_stream[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        begin = place + 2
        if marker not in _WITHOUT_LENGTH:
            length = max(2, int.from_bytes(view[begin : begin + 2], "big"))
            yield marker, view[begin + 2 : begin + length]
            begin += length
        if marker == _START_OF_SCAN:
            return
        place = code_stream.find(0xFF, begin)

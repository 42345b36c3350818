"""The transfer syntax of an uploaded part with pixel data, by its media type.

Given by the `transfer-syntax` parameter; without it by the default for the media type (PS3.18 table
8.7.3-5), and for JPEG by the frame header. The result may be that the syntax is unclear.
"""

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicomweb.http.header_values import media_type
from dimse_ingestion.dicomweb.http.media_types import OCTET_STREAM, is_native

BEGINNING = 64 * 1024
"""Number of bytes of a part in which the frame header of a JPEG is searched."""

_BASE = "1.2.840.10008.1.2"
_DEFAULTS = {
    "image/dicom-rle": f"{_BASE}.5",
    "image/x-dicom-rle": f"{_BASE}.5",
    "image/jls": f"{_BASE}.4.80",
    "image/x-jls": f"{_BASE}.4.80",
    "image/jp2": f"{_BASE}.4.90",
    "image/jpx": f"{_BASE}.4.92",
    "video/mpeg": f"{_BASE}.4.100",
    "video/mpeg2": f"{_BASE}.4.100",
    "video/mp4": f"{_BASE}.4.102",
}
_IMAGE_TYPES = frozenset({"image/jpeg", "image/jphc", "image/jxl", *_DEFAULTS})
_JPEG_PROCESSES = {0xC0: f"{_BASE}.4.50", 0xC1: f"{_BASE}.4.51"}
_LOSSLESS, _START_OF_SCAN = 0xC3, 0xDA
_FIRST_ORDER = 1  # the predictor that makes process 14 its selection value 1


def syntax_of(content_type: str, beginning: bytes) -> str | None:
    """Return the compressed transfer syntax of a part; empty if uncompressed, None if unclear."""
    kind, parameters = media_type(content_type)
    given = parameters.get("transfer-syntax", "")
    if given == uids.EXPLICIT_VR_BIG_ENDIAN or (given and not uids.is_valid(given)):
        return None
    if kind in ("", OCTET_STREAM):
        return "" if not given or is_native(given) else given
    if kind not in _IMAGE_TYPES or is_native(given or f"{_BASE}.4"):
        return None
    if given:
        return given
    return _jpeg_syntax(beginning) if kind == "image/jpeg" else _DEFAULTS.get(kind)


def holds_all_frames(transfer_syntax_uid: str) -> bool:
    """Return whether one part has all frames, as a video has (PS3.5 8.2.5 to 8.2.7)."""
    last = transfer_syntax_uid.removeprefix(f"{_BASE}.4.").partition(".")[0]
    return last.isdecimal() and 100 <= int(last) <= 108


def _jpeg_syntax(beginning: bytes) -> str | None:
    """Return the syntax by the markers before the first scan (ISO/IEC 10918-1 annex B)."""
    place, process = 2, 0
    while beginning[:2] == b"\xff\xd8" and place + 4 <= len(beginning):
        if beginning[place] != 0xFF:
            return None
        marker = beginning[place + 1]
        if marker in _JPEG_PROCESSES:
            return _JPEG_PROCESSES[marker]
        if marker == _LOSSLESS:
            process = marker
        if marker == _START_OF_SCAN:
            return _lossless(beginning[place:]) if process else None
        place += 2 + int.from_bytes(beginning[place + 2 : place + 4], "big")
    return None


def _lossless(scan: bytes) -> str:
    components = scan[4] if len(scan) > 4 else 0
    predictor = scan[5 + 2 * components : 6 + 2 * components]
    return f"{_BASE}.4.70" if predictor == bytes([_FIRST_ORDER]) else f"{_BASE}.4.57"

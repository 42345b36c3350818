"""The decode job for a frame of an instance, and the check that the frame is not too large.

Whoever has located a frame makes the job here and gives it to `decoder_pool`.
"""

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.encoder import GROUP_AND_ELEMENT, encode
from dimse_ingestion.dicom.frames import ImagePixels
from dimse_ingestion.failures import LimitExceeded
from dimse_ingestion.pixels.jobs import DecodeJob

MAX_DECODED = 256 * 2**20
"""Maximum size of one decoded frame in bytes."""
_PHOTOMETRIC_INTERPRETATION, _BITS_ALLOCATED = 0x00280004, 0x00280100
_LAYOUT = (_PHOTOMETRIC_INTERPRETATION, _BITS_ALLOCATED)  # taken from the stored pixel data instead
_KEYWORDS = {"OF": "FloatPixelData", "OD": "DoubleFloatPixelData"}


def check_size(pixels: ImagePixels) -> None:
    """Raise LimitExceeded for a frame that is too large to be decoded."""
    if pixels.native_bits > MAX_DECODED * 8 or pixels.pixels * 4 > MAX_DECODED:
        raise LimitExceeded(
            f"A frame of {pixels.rows} rows and {pixels.columns} columns is too large to be "
            "decoded here: retrieve it as it is stored."
        )


def frame_decode_job(
    frame: bytes, presentation: list[Element], pixels: ImagePixels, transfer_syntax_uid: str
) -> DecodeJob:
    """Return the job for a frame; `presentation` must have its long values inline.

    Elements that can't be encoded are left out: those that decoding needs are valid numbers.
    """
    is_encapsulated = transfer_syntax_uid not in uids.UNCOMPRESSED
    syntax = transfer_syntax_uid if is_encapsulated else uids.EXPLICIT_VR_LITTLE_ENDIAN
    stored = [each for each in presentation if each.tag not in _LAYOUT]
    stored += [
        element(_PHOTOMETRIC_INTERPRETATION, "CS", pixels.photometric_interpretation),
        element(_BITS_ALLOCATED, "US", str(pixels.bits_allocated)),
    ]
    written = b"".join(map(_written, sorted(stored, key=GROUP_AND_ELEMENT)))
    keyword = _KEYWORDS.get(pixels.vr, "PixelData")
    return DecodeJob(frame, written, syntax, is_encapsulated, keyword)


def _written(each: Element) -> bytes:
    try:
        return encode([each], uids.EXPLICIT_VR_LITTLE_ENDIAN)
    except ValueError:
        return b""

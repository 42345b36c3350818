"""The elements that describe pixels, after these were decompressed (PS3.3 C.7.6.3, C.7.6.1.1.5).

Photometric Interpretation, Planar Configuration and Bits Allocated become those of the decoded
samples, offset tables go, and an image that lost information by its compression says so for ever.
Decoding is elsewhere.
"""

from collections.abc import Iterable, Mapping

from dimse_ingestion.dicom.elements import Element, by_tag
from dimse_ingestion.dicom.frames import PIXEL_DATA
from dimse_ingestion.dicom.native_conversion import Replacement
from dimse_ingestion.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN

_PHOTOMETRIC_INTERPRETATION, _PLANAR_CONFIGURATION = 0x00280004, 0x00280006
_BITS_ALLOCATED = 0x00280100
_LOSSY, _LOSSY_RATIO, _LOSSY_METHOD = 0x00282110, 0x00282112, 0x00282114
_OF_FRAGMENTS = (0x7FE00001, 0x7FE00002, 0x7FE00003)
"""Extended Offset Table, its lengths, and Encapsulated Pixel Data Value Total Length."""
_IS_LOSSY = "01"
_BASE = "1.2.840.10008.1.2.4"
_METHODS: Mapping[str, str] = {  # PS3.3 C.7.6.1.1.5.1
    **dict.fromkeys((f"{_BASE}.{n}" for n in (50, 51)), "ISO_10918_1"),
    f"{_BASE}.81": "ISO_14495_1",
    f"{_BASE}.91": "ISO_15444_1",
    f"{_BASE}.203": "ISO_15444_15",
}
_SAMPLES_OF_A_COLOUR = 3


def replacements(
    elements: Iterable[Element],
    *,
    photometric_interpretation: str,
    samples_per_pixel: int,
    bits_allocated: int,
    lossy: tuple[str, float] | None = None,
) -> dict[int, Replacement | None]:
    """Return what stands in place of elements of a data set whose pixels were decoded.

    Samples are by pixel. `lossy` has the transfer syntax and the ratio (decoded to compressed
    bytes) of a compression that has lost information; what the image says of earlier ones stays.
    """
    found = by_tag(elements)
    replaced: dict[int, Replacement | None] = dict.fromkeys(_OF_FRAGMENTS)
    if _text(found, _PHOTOMETRIC_INTERPRETATION) != photometric_interpretation:
        replaced[_PHOTOMETRIC_INTERPRETATION] = _code(photometric_interpretation)
    if samples_per_pixel == _SAMPLES_OF_A_COLOUR:
        replaced[_PLANAR_CONFIGURATION] = _number(0)
    if _text(found, _BITS_ALLOCATED) != str(bits_allocated):
        replaced[_BITS_ALLOCATED] = _number(bits_allocated)
    if lossy is not None and _text(found, _LOSSY) != _IS_LOSSY:
        syntax, ratio = lossy
        replaced[_LOSSY] = _code(_IS_LOSSY)
        if syntax in _METHODS:
            replaced[_LOSSY_RATIO] = _padded("DS", f"{ratio:.6g}")
            replaced[_LOSSY_METHOD] = _code(_METHODS[syntax])
    return replaced


def pixel_data_header(length: int, bits_allocated: int, transfer_syntax_uid: str) -> bytes:
    """Return the header of native Pixel Data of `length` bytes, in a little endian syntax.

    The VR is OW where samples have more than 8 bits, else OB (PS3.5 A.2).
    """
    tag = (PIXEL_DATA >> 16).to_bytes(2, "little") + (PIXEL_DATA & 0xFFFF).to_bytes(2, "little")
    vr = b""
    if transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN:
        vr = (b"OB" if bits_allocated <= 8 else b"OW") + b"\0\0"
    return tag + vr + length.to_bytes(4, "little")


def _text(found: Mapping[int, Element], tag: int) -> str:
    return found[tag].value.strip(" \0") if tag in found else ""


def _code(text: str) -> Replacement:
    return _padded("CS", text)


def _padded(vr: str, text: str) -> Replacement:
    value = text.encode("ascii")
    return Replacement(vr, value + b" " * (len(value) % 2))


def _number(value: int) -> Replacement:
    return Replacement("US", value.to_bytes(2, "little"))

"""Pixels that scanners made, for what depends on them: how far images can be compressed.

They are those of files in the package pydicom-data, each with 16 bits a pixel and uncompressed.
"""

from functools import cache

from pydicom import dcmread
from pydicom.data import get_testdata_file

FILES = {
    "CT": "693_UNCI.dcm",  # 512 x 512, 14 bits stored
    "MR": "MR-SIEMENS-DICOM-WithOverlays.dcm",  # 484 x 484, 12 bits
    "large MR": "MR2_UNCI.dcm",  # 1024 x 1024, 12 bits
    "CR": "RG1_UNCI.dcm",  # 1955 x 1841, 15 bits
}


def pixels_of(picture: str, length: int) -> bytes:
    """Return so many bytes of a picture's pixels, repeated if it has fewer."""
    whole = _pixels(picture)
    return (whole * (length // len(whole) + 1))[:length]


@cache
def _pixels(picture: str) -> bytes:
    path = get_testdata_file(FILES[picture], download=False)
    if not isinstance(path, str):
        raise FileNotFoundError(f"pydicom-data has no {FILES[picture]}: install it.")
    return bytes(dcmread(path).PixelData)

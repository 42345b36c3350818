"""Every file of pydicom and pydicom-data, and for those that can't be stored the reason.

The reasons are kept here by name, so that a file that stops being storable fails a test.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import data_store
import pydicom

_PYDICOM = Path(pydicom.__file__).parent / "data"
_PYDICOM_DATA = Path(str(data_store.__file__)).parent / "data"
_NO_IMAGES = {".py", ".pyc", ".md", ".txt", ".json", ".icc", ".dump", ".gz", ".zip", ".sha256"}

_NO_PART_10 = "has no file meta information: nothing says its transfer syntax"
_NO_UIDS = "has no SOP Instance UID"
_NO_STUDY = "has no Study Instance UID: no study could hold it"
_PALETTES = ["fall", "hotiron", "hotmetalblue", "pet", "pet20step", "spring", "summer", "winter"]
_ENDS_EARLY = "ends in the middle of a value"
_DIRECTORY = "is a DICOMDIR, which no storage class carries"

NOT_STORABLE = {
    "ExplVR_BigEndNoMeta.dcm": _NO_PART_10,
    "ExplVR_LitEndNoMeta.dcm": _NO_PART_10,
    "no_meta.dcm": _NO_PART_10,
    "rtstruct.dcm": _NO_PART_10,
    "OT-PAL-8-face.dcm": _NO_PART_10,
    "README": "is no image",
    "meta_missing_tsyntax.dcm": _NO_PART_10,
    "no_meta_group_length.dcm": "has file meta information without group length, and no UIDs",
    "UN_sequence.dcm": _NO_UIDS,
    "empty_charset_LEI.dcm": _NO_UIDS,
    "nested_priv_SQ.dcm": _NO_UIDS,
    "priv_SQ.dcm": _NO_UIDS,
    "chrSQEncoding.dcm": _NO_UIDS,
    "chrSQEncoding1.dcm": _NO_UIDS,
    "JPEGLSNearLossless_08.dcm": _NO_STUDY,
    "JPEGLSNearLossless_16.dcm": _NO_STUDY,
    "SC_rgb_jls_lossy_line.dcm": _NO_STUDY,
    "SC_rgb_jls_lossy_sample.dcm": _NO_STUDY,
    "MR_truncated.dcm": _ENDS_EARLY,
    "rtplan_truncated.dcm": _ENDS_EARLY,
    "emri_small_jpeg_2k_lossless_too_short.dcm": _ENDS_EARLY,
    **dict.fromkeys((f"{name}.dcm" for name in _PALETTES), _NO_STUDY),
    "bad_sequence.dcm": "has a SOP Instance UID with letters in it",
    "DICOMDIR": _DIRECTORY,
    "DICOMDIR-bigEnd": _DIRECTORY,
    "DICOMDIR-empty.dcm": _DIRECTORY,
    "DICOMDIR-implicit": _DIRECTORY,
    "DICOMDIR-nooffset": _DIRECTORY,
    "DICOMDIR-nopatient": _DIRECTORY,
    "DICOMDIR-reordered": _DIRECTORY,
}


@dataclass(frozen=True)
class Shipped:
    """One file; `reason` is empty when it can be stored."""

    path: Path
    reason: str

    @property
    def name(self) -> str:
        """For a test's id."""
        return self.path.name


def shipped() -> Iterator[Shipped]:
    """Yield all of them, in order."""
    for root in (_PYDICOM, _PYDICOM_DATA):
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix not in _NO_IMAGES:
                yield Shipped(path, NOT_STORABLE.get(path.name, ""))


def storable() -> list[Path]:
    """Return those that can be stored."""
    return [each.path for each in shipped() if not each.reason]


def data_set_of(path: Path) -> bytes:
    """Return the bytes behind the file meta information (PS3.10 section 7.1)."""
    content = path.read_bytes()
    if content[128:132] != b"DICM" or content[136:138] != b"UL":
        raise ValueError(f"{path.name} {_NO_PART_10}")
    return content[144 + int.from_bytes(content[140:144], "little") :]

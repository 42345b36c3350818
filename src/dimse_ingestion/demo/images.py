"""The images that the demo sends: real ones, shipped by pydicom and pydicom-data.

Chosen to be what a hospital has: several modalities, compressed and uncompressed transfer
syntaxes, multi-frame, reports and plans, names in eleven character sets. Nothing is downloaded.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pydicom
from pydicom import dcmread
from pydicom.uid import UID

_SHIPPED_BY_PYDICOM = (
    "CT_small.dcm",
    "693_J2KI.dcm",
    "MR_small_implicit.dcm",
    "ExplVR_BigEnd.dcm",
    "examples_palette.dcm",
    "examples_ybr_color.dcm",
    "JPEG2000.dcm",
    "JPGExtended.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
    "rtdose.dcm",
    "rtplan.dcm",
    "reportsi.dcm",
    "waveform_ecg.dcm",
    "dicomdirtests/77654033/CR*/*",
    "dicomdirtests/77654033/CT2/*",
    "dicomdirtests/98892003/MR*/*",
)
_SHIPPED_BY_PYDICOM_DATA = (
    "MR-SIEMENS-DICOM-WithOverlays.dcm",
    "emri_small_jpeg_ls_lossless.dcm",
    "OBXXXX1A_rle.dcm",
    "RG1_UNCR.dcm",
    "RG3_J2KI.dcm",
    "color3d_jpeg_baseline.dcm",
    "eCT_Supplemental.dcm",
)
_CHARACTER_SETS = "chr*.dcm"


@dataclass(frozen=True)
class DemoImage:
    """One file with one storable instance."""

    path: Path

    @cached_property
    def header(self) -> pydicom.FileDataset:
        """Everything before the pixels."""
        return dcmread(self.path, stop_before_pixels=True)

    @property
    def transfer_syntax(self) -> UID:
        """As the file meta information says."""
        return self.header.file_meta.TransferSyntaxUID

    @cached_property
    def data_set(self) -> bytes:
        """The bytes after the file meta information: what travels in a C-STORE."""
        return self.path.read_bytes()[data_set_offset(self.path) :]

    @cached_property
    def sha256(self) -> str:
        """Digest of the data set, in hexadecimal."""
        return hashlib.sha256(self.data_set).hexdigest()


def data_set_offset(path: Path) -> int:
    """Where the data set begins in a Part-10 file (PS3.10 section 7.1), in bytes."""
    head = path.open("rb").read(144)
    return 144 + int.from_bytes(head[140:144], "little")


def shipped_images() -> list[DemoImage]:
    """The images, in the order they are sent; raises FileNotFoundError when one is missing."""
    return [DemoImage(path) for path in _paths() if _is_instance(path)]


def _paths() -> Iterator[Path]:
    own = Path(pydicom.__file__).parent / "data"
    yield from _matching(own / "test_files", _SHIPPED_BY_PYDICOM)
    yield from _matching(_pydicom_data(), _SHIPPED_BY_PYDICOM_DATA)
    yield from _matching(own / "charset_files", (_CHARACTER_SETS,))


def _pydicom_data() -> Path:
    try:
        import data_store
    except ImportError as missing:
        raise FileNotFoundError(
            "The demo's images are not installed: pip install 'dimse-ingestion[standalone]'."
        ) from missing
    return Path(str(data_store.__file__)).parent / "data"


def _matching(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if not found:
            raise FileNotFoundError(f"No {pattern} in the installed demo images.")
        yield from found


def _is_instance(path: Path) -> bool:
    """Whether it is an instance whose file meta information names it rightly: that is announced."""
    header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
    announced = header.file_meta.get("MediaStorageSOPInstanceUID", "")
    return bool(header.get("SOPInstanceUID") == announced)

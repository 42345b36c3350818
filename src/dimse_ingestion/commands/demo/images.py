"""The demo's images: real ones, shipped by pydicom and pydicom-data.

They are chosen to be what a hospital has: several modalities, compressed and uncompressed transfer
syntaxes, multi-frame, reports and plans, names in eleven character sets. Nothing is downloaded.
"""

from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom import dcmread

from dimse_ingestion.scu.instance_file import InstanceFile

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


def shipped_images() -> list[InstanceFile]:
    """Return the images in sending order; raises FileNotFoundError when one is missing."""
    return [InstanceFile(path) for path in _paths() if _is_instance(path)]


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
        match = sorted(folder.glob(pattern))
        if not match:
            raise FileNotFoundError(f"No {pattern} in the installed demo images.")
        yield from match


def _is_instance(path: Path) -> bool:
    """Return whether the data set is of the instance that its file meta information names."""
    header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
    announced = header.file_meta.get("MediaStorageSOPInstanceUID", "")
    return bool(header.get("SOPInstanceUID") == announced)

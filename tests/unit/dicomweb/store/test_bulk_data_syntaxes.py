"""The transfer syntax of a part with pixel data: given, the default, or unclear."""

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from dimse_ingestion.dicomweb.store.bulk_data_syntaxes import holds_all_frames, syntax_of

BASE = "1.2.840.10008.1.2"


@pytest.mark.parametrize(
    ("content_type", "syntax"),
    [
        ("application/octet-stream", ""),
        ("", ""),
        (f"application/octet-stream; transfer-syntax={BASE}.1", ""),
        (f"application/octet-stream; transfer-syntax={BASE}.4.90", f"{BASE}.4.90"),
        (f"application/octet-stream; transfer-syntax={BASE}.2", None),
        ("image/jls", f"{BASE}.4.80"),
        (f'image/jls; transfer-syntax="{BASE}.4.81"', f"{BASE}.4.81"),
        (f"image/jls; transfer-syntax={BASE}.1", None),
        ("image/x-dicom-rle", f"{BASE}.5"),
        ("video/mp4", f"{BASE}.4.102"),
        ("image/jphc", None),
        ("image/png", None),
        ("image/jls; transfer-syntax=none", None),
    ],
)
def test_a_media_type_gives_the_transfer_syntax(content_type: str, syntax: str | None) -> None:
    assert syntax_of(content_type, b"") == syntax


@pytest.mark.parametrize(
    "name",
    ["SC_rgb_jpeg_dcmtk.dcm", "JPGExtended.dcm", "JPEG-LL.dcm", "SC_jpeg_no_color_transform.dcm"],
)
def test_a_jpeg_header_gives_the_transfer_syntax(name: str) -> None:
    instance = dcmread(str(get_testdata_file(name, download=False)))
    frame = next(generate_frames(instance.PixelData, number_of_frames=1))
    assert syntax_of("image/jpeg", frame) == instance.file_meta.TransferSyntaxUID


@pytest.mark.parametrize("beginning", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\0\2ab", b"GIF89a"])
def test_a_malformed_jpeg_gives_no_transfer_syntax(beginning: bytes) -> None:
    assert syntax_of("image/jpeg", beginning) is None


def test_only_a_video_has_all_frames_in_one_part() -> None:
    assert holds_all_frames(f"{BASE}.4.102")
    assert holds_all_frames(f"{BASE}.4.100.1")
    assert not holds_all_frames(f"{BASE}.4.90")
    assert not holds_all_frames(f"{BASE}.5")

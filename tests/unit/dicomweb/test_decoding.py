import struct
from base64 import b64encode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.pixels import iter_pixels

from dimse_ingestion.dicom.elements import BulkReference, Element, element
from dimse_ingestion.dicom.frames import image_pixels
from dimse_ingestion.dicomweb import decoding
from dimse_ingestion.dicomweb.decoding import Undecodable
from dimse_ingestion.dicomweb.rendering import job
from dimse_ingestion.dicomweb.views import Job, Region, View, Window
from dimse_ingestion.operations.frame_reading import FrameReading
from dimse_ingestion.operations.retrieving import Retrieving
from tests.retrievable import Archive
from tests.storable import storable

EXPLICIT = "1.2.840.10008.1.2.1"
UNKNOWN_TO_CODECS = {
    "badVR.dcm",  # has 1A frames
    "JPEG-lossy.dcm",  # 12 bits in a file that says baseline
    "JPEG2000-embedded-sequence-delimiter.dcm",  # holds no code stream
}
PNG = View(media_type="image/png")


def images():
    for path in storable():
        if path.name in UNKNOWN_TO_CODECS:
            continue
        head = dcmread(path, specific_tags=["PixelData"])
        if "PixelData" in head:
            yield path


async def job_of(path, number: int = 1) -> Job:
    archive = Archive()
    located = await archive.add_file(path)
    pixels = image_pixels(located.elements)
    reading = FrameReading(Retrieving(archive.bucket, archive.queries))
    frame = await reading.whole((await reading.places(located, [number]))[0])
    shown = await reading.presentation(located, number)
    return job(frame, shown, pixels, located.transfer_syntax_uid)


def opened(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(picture)))


@pytest.mark.parametrize("path", list(images()), ids=lambda path: path.name)
async def test_every_image_is_decoded_as_pydicom_does_and_pictured(path):
    asked = await job_of(path)
    theirs = dcmread(path)
    expected = next(iter_pixels(theirs))
    pixels = np.frombuffer(decoding.decoded(asked), expected.dtype.newbyteorder("<"))
    if theirs.get("PlanarConfiguration") == 1:
        expected = expected.transpose(2, 0, 1)
    assert (pixels.reshape(expected.shape) == expected).all()
    picture = opened(decoding.pictured(asked, PNG))
    assert picture.shape[:2] == (theirs.Rows, theirs.Columns)


def greys(values: list[int], *more: Element, photometric: str = "MONOCHROME2") -> Job:
    """A frame of one row of 16 bits, signed."""
    elements = [
        element(0x00280002, "US", "1"),
        element(0x00280004, "CS", photometric),
        element(0x00280010, "US", "1"),
        element(0x00280011, "US", str(len(values))),
        element(0x00280100, "US", "16"),
        element(0x00280101, "US", "16"),
        element(0x00280102, "US", "15"),
        element(0x00280103, "US", "1"),
        *more,
    ]
    held = [*elements, Element("7FE0", "0010", "OW", bulk=BulkReference(0, len(values) * 2))]
    frame = struct.pack(f"<{len(values)}h", *values)
    return job(frame, elements, image_pixels(held), EXPLICIT)


def shades(asked: Job, view: View = PNG) -> list[int]:
    return opened(decoding.pictured(asked, view))[0].tolist()


WINDOW = [element(0x00281050, "DS", "50"), element(0x00281051, "DS", "101")]


def test_the_instances_window_is_applied():
    assert shades(greys([-1000, 0, 50, 100, 1000], *WINDOW)) == [0, 1, 129, 255, 255]


def test_a_window_asked_is_applied_instead_after_the_modality_lut():
    rescale = [element(0x00281052, "DS", "-1024"), element(0x00281053, "DS", "1")]
    view = View(media_type="image/png", window=Window(0, 101))
    assert shades(greys([0, 1024, 2048], *rescale, *WINDOW), view) == [0, 129, 255]


def test_without_a_window_least_is_black_and_most_is_white():
    assert shades(greys([-100, 0, 100])) == [0, 128, 255]
    assert shades(greys([7, 7])) == [0, 0]


@pytest.mark.parametrize(
    ("function", "expected"),
    [("linear", [1, 255]), ("linear-exact", [1, 254]), ("sigmoid", [31, 224])],
)
def test_every_function_of_a_window(function, expected):
    view = View(media_type="image/png", window=Window(50, 101, function))
    assert shades(greys([0, 100]), view) == pytest.approx(expected, abs=1)


def test_monochrome1_and_an_inverse_shape_are_light_where_values_are_low():
    assert shades(greys([0, 100], photometric="MONOCHROME1")) == [255, 0]
    assert shades(greys([0, 100], element(0x20500020, "CS", "INVERSE"))) == [255, 0]


def test_a_voi_lut_goes_before_the_window():
    table = struct.pack("<4H", 0, 255, 128, 64)
    lut = [
        element(0x00283002, "US", "4\\0\\8"),
        Element("0028", "3006", "OW", inline_binary=b64encode(table).decode()),
    ]
    sequence = Element("0028", "3010", "SQ", items=[lut])
    assert shades(greys([0, 1, 2, 3], sequence, *WINDOW)) == [0, 255, 128, 64]


def test_a_region_is_cut_mirrored_and_scaled_to_fit():
    asked = greys([0, 50, 100])
    cut = View(media_type="image/png", region=Region(1, 0, 2, 1))
    assert shades(asked, cut) == [128, 255]
    mirrored = View(media_type="image/png", region=Region(1, 0, -2, 1))
    assert shades(asked, mirrored) == [255, 128]
    small = View(media_type="image/png", size=(6, 6))
    assert opened(decoding.pictured(asked, small)).shape == (2, 6)


def test_a_thumbnail_is_not_made_larger_than_its_image():
    view = View(media_type="image/jpeg", size=(200, 200), is_thumbnail=True)
    assert opened(decoding.pictured(greys([0, 50, 100]), view)).shape == (1, 3)


async def test_a_palette_is_applied():
    path = next(each for each in images() if each.name == "OBXXXX1A.dcm")
    picture = opened(decoding.pictured(await job_of(path), PNG))
    assert picture.shape == (600, 800, 3)


@pytest.mark.parametrize(
    "name", ["SC_rgb_dcmtk_+eb+cr.dcm", "JPEG2000.dcm", "emri_small_jpeg_ls_lossless.dcm"]
)
async def test_a_code_stream_larger_than_the_instance_says_is_refused(name):
    path = next(each for each in images() if each.name == name)
    asked = await job_of(path)
    small = decoding._data_set(asked)
    decoding.check_size(asked.frame, small)
    small.Rows = small.Columns = 2
    with pytest.raises(Undecodable, match="larger than the instance says"):
        decoding.check_size(asked.frame, small)


@pytest.mark.parametrize("path", list(images()), ids=lambda path: path.name)
def test_every_image_is_transcoded_to_what_it_was(path, tmp_path):
    theirs = dcmread(path)
    target = tmp_path / "explicit.dcm"
    decoding.transcoded(path, target)
    mine = dcmread(target)
    assert mine.file_meta.TransferSyntaxUID == EXPLICIT
    assert mine.SOPInstanceUID == theirs.SOPInstanceUID
    for one, other in zip(iter_pixels(mine), iter_pixels(theirs), strict=True):
        assert (one == other).all()

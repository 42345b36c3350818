import struct
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels.utils import iter_pixels

from dimse_ingestion.dicom.elements import BulkReference, Element, element
from dimse_ingestion.dicom.frames import image_pixels, native_pixels
from dimse_ingestion.operations.frame_reader import FrameReader
from dimse_ingestion.operations.retrieve import Retriever
from dimse_ingestion.pixels import decoder, display
from dimse_ingestion.pixels.decoder import Undecodable
from dimse_ingestion.pixels.frame_job import frame_decode_job
from dimse_ingestion.pixels.image_data_set import image_data_set
from dimse_ingestion.pixels.jobs import DecodeJob, Region, RenderParameters, Window
from tests.retrievable import Archive
from tests.storable import storable

EXPLICIT = "1.2.840.10008.1.2.1"
UNKNOWN_TO_CODECS = {
    "badVR.dcm",  # has 1A frames
    "JPEG-lossy.dcm",  # 12 bits in a file that says baseline
    "JPEG2000-embedded-sequence-delimiter.dcm",  # holds no code stream
}
PNG = RenderParameters(media_type="image/png")


def images() -> Iterator[Path]:
    for path in storable():
        if path.name in UNKNOWN_TO_CODECS:
            continue
        head = dcmread(path, specific_tags=["PixelData"])
        if "PixelData" in head:
            yield path


async def job_of(path: Path, number: int = 1) -> DecodeJob:
    archive = Archive()
    located = await archive.add_file(path)
    pixels = image_pixels(located.elements)
    reader = FrameReader(Retriever(archive.bucket, archive.queries))
    frame = await reader.read_frame((await reader.locate(located, [number]))[0])
    presentation = await reader.presentation_attributes(located, number)
    return frame_decode_job(frame, presentation, pixels, located.transfer_syntax_uid)


def open_context(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(picture)))


@pytest.mark.parametrize("path", list(images()), ids=lambda path: path.name)
async def test_every_image_is_decoded_as_by_pydicom_and_rendered(path: Path) -> None:
    job = await job_of(path)
    theirs = dcmread(path)
    is_ybr = theirs.PhotometricInterpretation == "YBR_FULL"  # and stays so: metadata says it
    expected = next(iter_pixels(theirs, raw=is_ybr))
    pixels = np.frombuffer(decoder.decode(job), expected.dtype.newbyteorder("<"))
    if theirs.get("PlanarConfiguration") == 1:
        expected = expected.transpose(2, 0, 1)
    if theirs.get("BitsAllocated") == 1:
        expected = np.packbits(expected.ravel(), bitorder="little")
    assert (pixels.reshape(expected.shape) == expected).all()
    picture = open_context(decoder.render(job, PNG))
    assert picture.shape[:2] == (theirs.Rows, theirs.Columns)


def greys(values: list[int], *more: Element, photometric: str = "MONOCHROME2") -> DecodeJob:
    """Return a frame of one row of 16 bits, signed; an element of `more` takes its tag's place."""
    elements = [
        element(0x00280002, "US", "1"),
        element(0x00280004, "CS", photometric),
        element(0x00280010, "US", "1"),
        element(0x00280011, "US", str(len(values))),
        element(0x00280100, "US", "16"),
        element(0x00280101, "US", "16"),
        element(0x00280102, "US", "15"),
        element(0x00280103, "US", "1"),
    ]
    own = {each.tag for each in more}
    elements = [*(each for each in elements if each.tag not in own), *more]
    stored_elements = [
        *elements,
        Element("7FE0", "0010", "OW", bulk=BulkReference(0, len(values) * 2)),
    ]
    frame = struct.pack(f"<{len(values)}h", *values)
    return frame_decode_job(frame, elements, image_pixels(stored_elements), EXPLICIT)


def shades(job: DecodeJob, view: RenderParameters = PNG) -> list[int]:
    """Return the grey levels of the first row."""
    return [int(shade) for shade in open_context(decoder.render(job, view))[0]]


def reds(job: DecodeJob) -> list[int]:
    """Return the red levels of the first row."""
    return [int(red) for red, _, _ in open_context(decoder.render(job, PNG))[0]]


WINDOW = [element(0x00281050, "DS", "50"), element(0x00281051, "DS", "101")]


def test_the_stored_window_is_applied() -> None:
    assert shades(greys([-1000, 0, 50, 100, 1000], *WINDOW)) == [0, 1, 129, 255, 255]


def test_a_requested_window_is_applied_after_the_modality_lut() -> None:
    rescale = [element(0x00281052, "DS", "-1024"), element(0x00281053, "DS", "1")]
    view = RenderParameters(media_type="image/png", window=Window(0, 101))
    assert shades(greys([0, 1024, 2048], *rescale, *WINDOW), view) == [0, 129, 255]


def test_without_a_window_the_minimum_is_black_and_the_maximum_white() -> None:
    assert shades(greys([-100, 0, 100])) == [0, 128, 255]
    assert shades(greys([7, 7])) == [0, 0]


@pytest.mark.parametrize(
    ("function", "expected"),
    [("linear", [1, 255]), ("linear-exact", [1, 254]), ("sigmoid", [31, 224])],
)
def test_every_function_of_a_window(function: str, expected: list[int]) -> None:
    view = RenderParameters(media_type="image/png", window=Window(50, 101, function))
    assert shades(greys([0, 100]), view) == pytest.approx(expected, abs=1)


def test_monochrome1_and_an_inverse_lut_shape_show_low_values_light() -> None:
    assert shades(greys([0, 100], photometric="MONOCHROME1")) == [255, 0]
    assert shades(greys([0, 100], element(0x20500020, "CS", "INVERSE"))) == [255, 0]


def test_a_voi_lut_takes_precedence_over_the_window() -> None:
    table = struct.pack("<4H", 0, 255, 128, 64)
    lut = [
        element(0x00283002, "US", "4\\0\\8"),
        Element("0028", "3006", "OW", inline_binary=b64encode(table).decode()),
    ]
    sequence = Element("0028", "3010", "SQ", items=[lut])
    assert shades(greys([0, 1, 2, 3], sequence, *WINDOW)) == [0, 255, 128, 64]


def test_a_region_is_cropped_mirrored_and_scaled_to_fit() -> None:
    job = greys([0, 50, 100])
    cut = RenderParameters(media_type="image/png", region=Region(1, 0, 2, 1))
    assert shades(job, cut) == [128, 255]
    mirrored = RenderParameters(media_type="image/png", region=Region(1, 0, -2, 1))
    assert shades(job, mirrored) == [255, 128]
    small = RenderParameters(media_type="image/png", size=(6, 6))
    assert open_context(decoder.render(job, small)).shape == (2, 6)


def test_a_thumbnail_is_not_larger_than_its_image() -> None:
    view = RenderParameters(media_type="image/jpeg", size=(200, 200), is_thumbnail=True)
    assert open_context(decoder.render(greys([0, 50, 100]), view)).shape == (1, 3)


async def test_a_palette_is_applied() -> None:
    path = next(each for each in images() if each.name == "OBXXXX1A.dcm")
    picture = open_context(decoder.render(await job_of(path), PNG))
    assert picture.shape == (600, 800, 3)


@pytest.mark.parametrize(
    "name", ["SC_rgb_dcmtk_+eb+cr.dcm", "JPEG2000.dcm", "emri_small_jpeg_ls_lossless.dcm"]
)
async def test_a_code_stream_larger_than_the_instance_declares_is_refused(name: str) -> None:
    path = next(each for each in images() if each.name == name)
    job = await job_of(path)
    small = image_data_set(job)
    decoder.check_size(job.frame, small)
    small.Rows = small.Columns = 2
    with pytest.raises(Undecodable, match="larger than the instance says"):
        decoder.check_size(job.frame, small)


def sequence(tag: int, *item: Element) -> Element:
    return Element(f"{tag >> 16:04X}", f"{tag & 0xFFFF:04X}", "SQ", items=[list(item)])


def words(tag: int, *values: int) -> Element:
    value = b64encode(struct.pack(f"<{len(values)}H", *values)).decode()
    return Element(f"{tag >> 16:04X}", f"{tag & 0xFFFF:04X}", "OW", inline_binary=value)


SLOPE, INTERCEPT, CENTER, WIDTH = 0x00281053, 0x00281052, 0x00281050, 0x00281051
DESCRIPTOR, DATA = 0x00283002, 0x00283006


@pytest.mark.parametrize(
    "more",
    [
        [element(SLOPE, "DS", ""), element(INTERCEPT, "DS", "")],
        [element(SLOPE, "DS", "1"), element(INTERCEPT, "DS", "")],
        [element(SLOPE, "DS", "0"), element(INTERCEPT, "DS", "0")],
        [element(SLOPE, "DS", "abc"), element(INTERCEPT, "DS", "nan")],
        [element(SLOPE, "DS", "é")],
        [element(CENTER, "DS", "40,5"), element(WIDTH, "DS", "abc")],
        [element(CENTER, "DS", ""), element(WIDTH, "DS", "")],
        [element(CENTER, "DS", "50"), element(WIDTH, "DS", "0")],
        [element(CENTER, "DS", "50"), element(WIDTH, "DS", "-7")],
        [element(CENTER, "DS", "inf"), element(WIDTH, "DS", "1e400")],
        [element(CENTER, "DS", "50")],
        [element(0x20500020, "CS", "")],
        [element(0x00280120, "US", ""), element(0x00280120, "SS", "")],
        *(
            [sequence(tag, *item)]
            for tag in (0x00283000, 0x00283010)
            for item in (
                [],
                [element(DESCRIPTOR, "US", "")],
                [element(DESCRIPTOR, "US", "2\\0")],
                [element(DESCRIPTOR, "US", "2\\0\\16"), element(DATA, "US", "")],
                [element(DESCRIPTOR, "US", "2\\0\\0"), words(DATA, 1, 2)],
            )
        ),
        [Element("0028", "3000", "SQ", items=[]), Element("0028", "3010", "SQ", items=[])],
    ],
    ids=str,
)
def test_empty_and_invalid_attributes_do_not_prevent_rendering(more: list[Element]) -> None:
    assert shades(greys([-100, 0, 100], *more)) == [0, 128, 255]


@pytest.mark.parametrize(
    "more",
    [
        [element(0x00280101, "US", "")],
        [element(0x00280101, "US", "0"), element(0x00280102, "US", "99")],
        [element(0x00280101, "US", "77")],
        [element(0x00280103, "US", "")],
        [element(0x00280002, "US", "")],
        [element(0x00280004, "CS", "")],
        [element(0x00280004, "CS", "WHATEVER")],
        [element(0x00280010, "US", "1\\9")],
    ],
)
def test_attributes_that_decoders_need_are_set(more: list[Element]) -> None:
    assert shades(greys([0, 50, 100], *more)) == [0, 128, 255]


def test_the_second_window_is_used_where_the_first_is_invalid() -> None:
    windows = [element(CENTER, "DS", "7\\50"), element(WIDTH, "DS", "0\\101")]
    assert shades(greys([0, 50, 100], *windows)) == [1, 129, 255]


def test_bits_that_are_not_the_lowest_are_found_by_the_high_bit() -> None:
    bits = [element(0x00280101, "US", "12"), element(0x00280102, "US", "15")]
    unsigned = [*bits, element(0x00280103, "US", "0")]
    assert shades(greys([0x000F, 0x0500, 0x0A00], *unsigned)) == [0, 128, 255]
    assert shades(greys([-0x0500, 0x000F, 0x0500], *bits)) == [0, 128, 255]


def test_a_modality_lut_is_applied_before_the_window() -> None:
    lut = sequence(0x00283000, element(DESCRIPTOR, "US", "3\\10\\16"), words(DATA, 0, 50, 100))
    assert shades(greys([9, 10, 11, 12, 99], lut, *WINDOW)) == [1, 1, 129, 255, 255]


def palette(bits: int, *entries: int, first: int = 0) -> list[Element]:
    return [
        each
        for n in range(3)
        for each in (
            element(0x00281101 + n, "US", f"{len(entries)}\\{first}\\{bits}"),
            words(0x00281201 + n, *entries),
        )
    ]


def test_a_palette_shorter_than_its_descriptor_repeats_its_last_colour() -> None:
    colours = [each for each in palette(16, 0, 0x8000, 0xFF00) if each.element >= "1200"]
    longer = [element(0x00281101 + n, "US", "256\\0\\16") for n in range(3)]
    job = greys([0, 1, 2, 200], *longer, *colours, photometric="PALETTE COLOR")
    assert reds(job) == [0, 0x80, 0xFF, 0xFF]


def test_a_palette_may_begin_below_zero() -> None:
    colours = palette(16, 0, 0x8000, 0xFF00, first=0xFFFF)
    job = greys([-1, 0, 1], *colours, photometric="PALETTE COLOR")
    assert reds(job) == [0, 0x80, 0xFF]


def test_an_image_with_an_incomplete_palette_is_grey() -> None:
    colours = [each for each in palette(16, 0, 0xFF00) if each.element != "1203"]
    assert shades(greys([0, 50, 100], *colours, photometric="PALETTE COLOR")) == [0, 128, 255]


def test_an_image_with_an_invalid_segmented_palette_is_grey() -> None:
    descriptors = [each for each in palette(16, 0, 1) if each.element < "1200"]
    segments = [words(0x00281221 + n, 7, 9) for n in range(3)]
    job = greys([0, 50, 100], *descriptors, *segments, photometric="PALETTE COLOR")
    assert shades(job) == [0, 128, 255]


def test_strips_are_scaled_by_the_range_of_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "_STRIP", 3)
    elements = [
        element(0x00280002, "US", "1"),
        element(0x00280004, "CS", "MONOCHROME2"),
        element(0x00280010, "US", "5"),
        element(0x00280011, "US", "3"),
        element(0x00280100, "US", "8"),
    ]
    stored_elements = [*elements, Element("7FE0", "0010", "OB", bulk=BulkReference(0, 15))]
    job = frame_decode_job(
        bytes(range(0, 30, 2)), elements, image_pixels(stored_elements), EXPLICIT
    )
    picture = open_context(decoder.render(job, PNG)).ravel().tolist()
    assert picture == [round(n * 255 / 14) for n in range(15)]


def rle(*segments: bytes) -> bytes:
    """Return a frame of rows of one value each, PackBits (PS3.5 annex G)."""
    ends = [64 + sum(map(len, segments[:n])) for n in range(len(segments))]
    ends += [0] * (15 - len(segments))
    return struct.pack("<16I", len(segments), *ends) + b"".join(segments)


@pytest.mark.parametrize("label", ["YBR_FULL", "RGB"])
def test_colours_keep_a_photometric_interpretation_that_is_valid_uncompressed(label: str) -> None:
    elements = [
        element(0x00280002, "US", "3"),
        element(0x00280004, "CS", label),
        element(0x00280006, "US", "0"),
        element(0x00280010, "US", "8"),
        element(0x00280011, "US", "8"),
        element(0x00280100, "US", "8"),
    ]
    stored_elements = [*elements, Element("7FE0", "0010", "OB", bulk=BulkReference(0, 70))]
    frame = rle(*(bytes([193, value]) for value in (86, 91, 244)))
    job = frame_decode_job(frame, elements, image_pixels(stored_elements), "1.2.840.10008.1.2.5")
    assert list(decoder.decode(job)[:3]) == [86, 91, 244]
    shown = open_context(decoder.render(job, PNG))[0, 0].tolist()
    assert shown == ([249, 16, 20] if label == "YBR_FULL" else [86, 91, 244])


def test_frames_labelled_subsampled_with_three_bytes_per_pixel_are_rendered() -> None:
    elements = [
        element(0x00280002, "US", "3"),
        element(0x00280004, "CS", "YBR_FULL_422"),
        element(0x00280006, "US", "0"),
        element(0x00280010, "US", "4"),
        element(0x00280011, "US", "4"),
        element(0x00280100, "US", "8"),
    ]
    stored_elements = [*elements, Element("7FE0", "0010", "OB", bulk=BulkReference(0, 48))]
    whole = native_pixels(image_pixels(stored_elements))
    job = frame_decode_job(bytes([86, 91, 244]) * 16, elements, whole, EXPLICIT)
    assert open_context(decoder.render(job, PNG))[3, 3].tolist() == [249, 16, 20]


@pytest.mark.parametrize("dtype", ["<i2", "<u2", "u1", "i1"])
@pytest.mark.parametrize("window", [None, Window(40, 400), Window(40, 400, "sigmoid")])
def test_a_table_of_greys_shows_what_each_pixel_would(
    dtype: str, window: Window | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(1).integers(-100, 100, (64, 64)).astype(dtype)
    data_set = Dataset()
    data_set.RescaleSlope, data_set.RescaleIntercept = "2.5", "-10"
    data_set.BitsAllocated = pixels.dtype.itemsize * 8
    data_set.BitsStored = data_set.BitsAllocated - 1
    data_set.PhotometricInterpretation = "MONOCHROME1"
    by_table = display.grey_pixels(pixels, data_set, window)
    monkeypatch.setattr(display, "_LONGEST_COUNTED", 0)
    assert (by_table == display.grey_pixels(pixels, data_set, window)).all()


async def test_images_that_share_a_display_differ_in_their_pixels() -> None:
    pictures = {decoder.render(greys(values), PNG) for values in ([0, 100], [100, 0], [0, 100])}
    assert len(pictures) == 2

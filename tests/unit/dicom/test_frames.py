from copy import deepcopy
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID

from dimse_ingestion.dicom import frames
from dimse_ingestion.dicom.elements import BulkReference, Element, element
from dimse_ingestion.dicom.frames import FrameNotFound, image_pixels, native_frame, native_pixels
from dimse_ingestion.dicom.scanner import scan
from tests.storable import data_set_of, storable

BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"


def native_frames(data_set: bytes, elements: list[Element]) -> list[bytes]:
    pixels = native_pixels(image_pixels(elements))
    places = [native_frame(pixels, n) for n in range(1, pixels.number_of_frames + 1)]
    return [each.frame(data_set[each.offset : each.offset + each.length]) for each in places]


def has_pixels(path: Path) -> bool:
    return "PixelData" in dcmread(path, specific_tags=["PixelData"])


DAMAGED = {"badVR.dcm"}  # 1A frames
IMAGES = [path for path in storable() if path.name not in DAMAGED and has_pixels(path)]


def syntax_of(path: Path) -> UID:
    return UID(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)


NATIVE = [
    path
    for path in IMAGES
    if not syntax_of(path).is_encapsulated and syntax_of(path) not in (DEFLATED, BIG_ENDIAN)
]


@pytest.mark.parametrize("path", NATIVE, ids=lambda path: path.name)
def test_native_frames_hold_the_samples_that_pydicom_decodes(path: Path) -> None:
    theirs = dcmread(path)
    data_set = data_set_of(path)
    mine = native_frames(data_set, scan(data_set, syntax_of(path)))
    alone = deepcopy(theirs)
    alone.NumberOfFrames = 1
    for frame, expected in zip(mine, iter_pixels(theirs, raw=True), strict=True):
        alone.PixelData = frame + b"\0" * (len(frame) % 2)
        assert (next(iter_pixels(alone, raw=True)) == expected).all()


def test_the_files_have_all_kinds() -> None:
    assert len(NATIVE) > 60
    assert any(dcmread(each, stop_before_pixels=True).BitsAllocated == 1 for each in NATIVE)


def test_bit_packed_frames_are_moved_to_begin_with_a_byte() -> None:
    elements = [
        element(0x00280008, "IS", "2"),
        element(0x00280010, "US", "1"),
        element(0x00280011, "US", "3"),
        element(0x00280100, "US", "1"),
        Element("7FE0", "0010", "OB", bulk=BulkReference(100, 2)),
    ]
    second = native_frame(image_pixels(elements), 2)
    assert (second.offset, second.length, second.shift) == (100, 1, 3)
    assert second.frame(bytes([0b00_101_010])) == bytes([0b101])


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_missing_frame_is_reported_with_the_number_of_frames(number: int) -> None:
    pixels = stored(2, 128)
    with pytest.raises(FrameNotFound, match="has 2 frames"):
        native_frame(pixels, number)


def test_what_has_no_pixels_is_no_image() -> None:
    with pytest.raises(FrameNotFound, match="not an image"):
        image_pixels([element(0x00080060, "CS", "SR")])


def stored(
    number: int | str,
    length: int,
    *,
    side: int = 8,
    bits: int = 8,
    samples: int = 1,
    colour: str = "MONOCHROME2",
) -> frames.ImagePixels:
    """Return the attributes of square frames of which `length` bytes are stored."""
    return image_pixels(
        [
            element(0x00280002, "US", str(samples)),
            element(0x00280004, "CS", colour),
            element(0x00280008, "IS", str(number)),
            element(0x00280010, "US", str(side)),
            element(0x00280011, "US", str(side)),
            element(0x00280100, "US", str(bits)),
            Element("7FE0", "0010", "OW", bulk=BulkReference(100, length)),
        ]
    )


def spans(pixels: frames.ImagePixels, number: int) -> list[tuple[int, int]]:
    """Begin and end of each frame in the pixel data."""
    found = native_pixels(pixels)
    places = [native_frame(found, n) for n in range(1, number + 1)]
    return [(each.offset - 100, each.offset - 100 + each.length) for each in places]


@pytest.mark.parametrize(
    ("colour", "length", "expected"),
    [
        ("YBR_FULL_422", 3 * 32, [(0, 32), (32, 64), (64, 96)]),
        ("YBR_FULL_422", 3 * 48, [(0, 48), (48, 96), (96, 144)]),  # three bytes a pixel after all
        ("YBR_FULL", 3 * 48, [(0, 48), (48, 96), (96, 144)]),
        ("YBR_FULL", 3 * 32, [(0, 32), (32, 64), (64, 96)]),
        ("YBR_PARTIAL_422", 3 * 32, [(0, 32), (32, 64), (64, 96)]),
        ("YBR_PARTIAL_420", 3 * 24, [(0, 24), (24, 48), (48, 72)]),
    ],
)
def test_the_stored_length_tells_whether_colours_are_subsampled(
    colour: str, length: int, expected: list[tuple[int, int]]
) -> None:
    pixels = stored(3, length, side=4, samples=3, colour=colour)
    assert spans(pixels, 3) == expected


def test_subsampled_frames_of_three_bytes_a_pixel_are_labelled_as_what_they_are() -> None:
    pixels = stored(3, 3 * 48, side=4, samples=3, colour="YBR_FULL_422")
    assert native_pixels(pixels).photometric_interpretation == "YBR_FULL"


@pytest.mark.parametrize(("bits", "cell"), [(12, 16), (1, 8), (24, 24), (10, 16)])
def test_odd_bits_in_whole_cells_are_found_by_the_length(bits: int, cell: int) -> None:
    pixels = stored(3, 3 * 64 * cell // 8, bits=bits)
    assert native_pixels(pixels).bits_allocated == cell
    assert spans(pixels, 3)[1] == (64 * cell // 8, 2 * 64 * cell // 8)


def test_frames_that_are_padded_each_are_found_by_the_length() -> None:
    assert spans(stored(3, 3 * 10, side=3), 3) == [(0, 9), (10, 19), (20, 29)]
    assert spans(stored(3, 28, side=3), 3) == [(0, 9), (9, 18), (18, 27)]
    assert spans(stored(8, 8 * 2, side=3, bits=1), 2) == [(0, 2), (2, 4)]
    assert spans(stored(8, 9 + 1, side=3, bits=1), 2) == [(0, 2), (1, 3)]


@pytest.mark.parametrize(
    ("number", "expected"), [("3.0", 3), ("03", 3), ("-3", 1), ("abc", 1), ("2.5", 1), ("1e9", 1)]
)
def test_a_number_of_frames_that_is_none_counts_as_one(number: str, expected: int) -> None:
    assert stored(number, 3 * 64).number_of_frames == expected


@pytest.mark.parametrize(("number", "expected"), [(1, 1), (2, 2), (3, 2), (9, 2), (2000000000, 2)])
def test_the_middle_frame_is_one_that_is_stored(number: int, expected: int) -> None:
    assert stored(number, 3 * 64).middle_frame == expected
    assert stored(number, 0).middle_frame == 1


@pytest.mark.parametrize("number", ["", "0", "1", "2", "7", "2000000000"])
def test_whole_frames_are_right_whatever_number_of_frames_says(number: str) -> None:
    pixels = stored(number, 3 * 64)
    assert spans(pixels, 1) == [(0, 64)]
    last = pixels.number_of_frames
    if last > 3:
        with pytest.raises(FrameNotFound, match="ends before frame"):
            native_frame(native_pixels(pixels), last)


@pytest.mark.parametrize("length", [0, 63, 100, 3 * 64 - 20, 3 * 64 + 3, 3 * 72])
def test_frames_that_no_layout_explains_are_refused(length: int) -> None:
    with pytest.raises(FrameNotFound, match="its frames can't be separated"):
        native_pixels(stored(3, length))


def test_padding_behind_frames_costs_none() -> None:
    assert spans(stored(3, 3 * 64 + 2), 3)[2] == (128, 192)
    assert spans(stored(1, 64 + 37), 1) == [(0, 64)]

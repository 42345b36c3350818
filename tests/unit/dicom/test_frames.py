import struct
from copy import deepcopy
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import iter_pixels

from dimse_ingestion.dicom import frames
from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.frames import FragmentIndex, NoFrame, image_pixels, native_frame
from dimse_ingestion.dicom.keeping import Limits
from dimse_ingestion.dicom.scanning import Scanner, scanned
from tests.storable import data_set_of, storable

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"


def lengths_of(data_set: bytes, bulk) -> tuple[int, ...]:
    """The item lengths, by walking."""
    found, place = [], bulk.offset
    while place < bulk.offset + bulk.length:
        found.append(int.from_bytes(data_set[place + 4 : place + 8], "little"))
        place += 8 + found[-1]
    return tuple(found)


def encapsulated_frames(data_set: bytes, elements: list[Element]) -> list[bytes]:
    pixels = image_pixels(elements)
    walked = lengths_of(data_set, pixels.bulk)
    assert pixels.bulk.fragments == walked
    index = FragmentIndex(pixels, walked)
    if index.is_plain:
        starts = index.plain_starts()
    elif index.table_length:
        table = data_set[index.table_offset : index.table_offset + index.table_length]
        starts = index.starts_by_table(table)
    else:
        starts = index.starts_by_ends(data_set[o : o + n] for o, n in index.ends())
    places = [index.frame(starts, n) for n in range(1, pixels.number_of_frames + 1)]
    return [each.frame(data_set[each.offset : each.offset + each.length]) for each in places]


def native_frames(data_set: bytes, elements: list[Element]) -> list[bytes]:
    pixels = image_pixels(elements)
    places = [native_frame(pixels, n) for n in range(1, pixels.number_of_frames + 1)]
    return [each.frame(data_set[each.offset : each.offset + each.length]) for each in places]


def has_pixels(path) -> bool:
    return "PixelData" in dcmread(path, specific_tags=["PixelData"])


DAMAGED = {"badVR.dcm"}  # 1A frames
IMAGES = [path for path in storable() if path.name not in DAMAGED and has_pixels(path)]


def syntax_of(path) -> str:
    return dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID


ENCAPSULATED = [path for path in IMAGES if syntax_of(path).is_encapsulated]
NATIVE = [
    path
    for path in IMAGES
    if not syntax_of(path).is_encapsulated and syntax_of(path) not in (DEFLATED, BIG_ENDIAN)
]


@pytest.mark.parametrize("path", ENCAPSULATED, ids=lambda path: path.name)
def test_encapsulated_frames_are_those_of_pydicom(path):
    theirs = dcmread(path)
    data_set = data_set_of(path)
    mine = encapsulated_frames(data_set, scanned(data_set, syntax_of(path)))
    number = int(theirs.get("NumberOfFrames", 1) or 1)
    expected = list(generate_frames(theirs.PixelData, number_of_frames=number))
    assert [each.rstrip(b"\0") for each in mine] == [each.rstrip(b"\0") for each in expected]


@pytest.mark.parametrize("path", NATIVE, ids=lambda path: path.name)
def test_native_frames_hold_the_samples_that_pydicom_decodes(path):
    theirs = dcmread(path)
    data_set = data_set_of(path)
    mine = native_frames(data_set, scanned(data_set, syntax_of(path)))
    alone = deepcopy(theirs)
    alone.NumberOfFrames = 1
    for frame, expected in zip(mine, iter_pixels(theirs, raw=True), strict=True):
        alone.PixelData = frame + b"\0" * (len(frame) % 2)
        assert (next(iter_pixels(alone, raw=True)) == expected).all()


def test_the_files_have_all_kinds():
    assert len(ENCAPSULATED) > 30
    assert len(NATIVE) > 60
    assert any(dcmread(each, stop_before_pixels=True).BitsAllocated == 1 for each in NATIVE)


def image(number_of_frames: int, pixel_data: bytes) -> bytes:
    """A data set of 8 by 8 pixels."""
    frames_text = str(number_of_frames).encode().ljust(4)
    short = [
        (0x0002, b"US", struct.pack("<H", 1)),
        (0x0008, b"IS", frames_text),
        (0x0010, b"US", struct.pack("<H", 8)),
        (0x0011, b"US", struct.pack("<H", 8)),
        (0x0100, b"US", struct.pack("<H", 8)),
    ]
    head = b"".join(
        struct.pack("<HH2sH", 0x0028, number, vr, len(value)) + value for number, vr, value in short
    )
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return head + struct.pack("<HH2s2xI", 0x7FE0, 0x10, b"OB", 0xFFFFFFFF) + pixel_data + end


@pytest.mark.parametrize("has_table", [True, False])
@given(sizes=st.lists(st.integers(4, 40), min_size=2, max_size=6), pieces=st.integers(1, 3))
def test_frames_of_several_fragments_are_put_together(has_table, sizes, pieces):
    whole = [bytes([n + 1]) * (2 * size) + b"\xff\xd9" for n, size in enumerate(sizes)]
    data = encapsulate(whole, fragments_per_frame=pieces, has_bot=has_table)
    data_set = image(len(whole), data)
    assert encapsulated_frames(data_set, scanned(data_set, JPEG_BASELINE)) == whole


def test_fragments_that_nothing_tells_apart_are_refused():
    data = encapsulate([b"ab" * 20, b"cd" * 20], fragments_per_frame=2, has_bot=False)
    data_set = image(2, data)
    with pytest.raises(NoFrame, match="4 fragments for 2 frames"):
        encapsulated_frames(data_set, scanned(data_set, JPEG_BASELINE))


def test_a_table_that_does_not_fit_is_refused():
    elements = scanned(image(2, encapsulate([b"ab", b"cd"])), JPEG_BASELINE)
    index = FragmentIndex(image_pixels(elements), (8, 4, 4))
    with pytest.raises(NoFrame, match="does not fit"):
        index.starts_by_table(struct.pack("<II", 0, 11))


def test_more_fragments_than_are_noted_leave_no_index():
    data_set = image(4, encapsulate([b"ab"] * 4))
    scanner = Scanner(JPEG_BASELINE, Limits(fragments=4))
    scanner.feed(data_set)
    assert image_pixels(scanner.finish()).bulk.fragments is None


def test_bit_packed_frames_are_moved_to_begin_with_a_byte():
    elements = [
        element(0x00280008, "IS", "2"),
        element(0x00280010, "US", "1"),
        element(0x00280011, "US", "3"),
        element(0x00280100, "US", "1"),
        Element("7FE0", "0010", "OB", bulk=frames.BulkReference(100, 2)),
    ]
    second = native_frame(image_pixels(elements), 2)
    assert (second.offset, second.length, second.shift) == (100, 1, 3)
    assert second.frame(bytes([0b00_101_010])) == bytes([0b101])


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_frame_that_is_not_there_is_told_with_the_number_of_those_that_are(number):
    data_set = image(2, encapsulate([b"ab", b"cd"]))
    pixels = image_pixels(scanned(data_set, JPEG_BASELINE))
    with pytest.raises(NoFrame, match="has 2 frames"):
        native_frame(pixels, number)


def test_what_has_no_pixels_is_no_image():
    with pytest.raises(NoFrame, match="not an image"):
        image_pixels([element(0x00080060, "CS", "SR")])


def test_offsets_add_up():
    lengths = (0, 10, 20, 30)
    data_set = image(3, b"")
    pixels = image_pixels(scanned(data_set, JPEG_BASELINE))
    index = FragmentIndex(pixels, lengths)
    begins = [index.frame((0, 1, 2), n).offset - pixels.bulk.offset for n in (1, 2, 3)]
    assert begins == [16 + each for each in accumulate((18, 28), initial=0)]

import struct
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID

from dimse_ingestion.dicom.elements import BulkReference
from dimse_ingestion.dicom.fragments import FragmentIndex
from dimse_ingestion.dicom.frames import FrameNotFound, image_pixels
from dimse_ingestion.dicom.limits import ParserLimits
from dimse_ingestion.dicom.scanner import Scanner, scan
from tests.storable import data_set_of, storable

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"
JPEG_XL = "1.2.840.10008.1.2.4.110"


def lengths_of(data_set: bytes, bulk: BulkReference) -> tuple[int, ...]:
    """Return the item lengths by walking over the items."""
    found, place = [], bulk.offset
    while place < bulk.offset + bulk.length:
        found.append(int.from_bytes(data_set[place + 4 : place + 8], "little"))
        place += 8 + found[-1]
    return tuple(found)


def index_of(data_set: bytes, syntax: str = JPEG_BASELINE) -> FragmentIndex:
    pixels = image_pixels(scan(data_set, syntax))
    walked = lengths_of(data_set, pixels.bulk)
    assert pixels.bulk.fragments == walked
    return FragmentIndex(pixels, walked, syntax)


def read(data_set: bytes, place: tuple[int, int]) -> bytes:
    return data_set[place[0] : sum(place)]


def starts_by_markers(data_set: bytes, index: FragmentIndex) -> tuple[int, ...]:
    reads = [read(data_set, index.boundary(n)) for n in range(index.number - 1)]
    is_image = index.begins_image(read(data_set, index.first_bytes()))
    return index.starts_by_markers(index.boundaries(reads), is_image=is_image)


def encapsulated_frames(data_set: bytes, syntax: str) -> list[bytes]:
    index = index_of(data_set, syntax)
    number = image_pixels(scan(data_set, syntax)).number_of_frames
    if index.is_plain:
        starts = index.plain_starts()
    elif number == 1:
        starts = (0,)
    else:
        table = read(data_set, (index.table_offset, index.table_length))
        starts = index.starts_by_table(table) or starts_by_markers(data_set, index)
    places = [index.frame(starts, n) for n in range(1, number + 1)]
    return [each.frame(data_set[each.offset : each.offset + each.length]) for each in places]


def has_pixels(path: Path) -> bool:
    return "PixelData" in dcmread(path, specific_tags=["PixelData"])


def syntax_of(path: Path) -> UID:
    return UID(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)


DAMAGED = {"badVR.dcm"}  # 1A frames
ENCAPSULATED = [
    path
    for path in storable()
    if path.name not in DAMAGED and has_pixels(path) and syntax_of(path).is_encapsulated
]


def test_the_files_have_enough_of_them() -> None:
    assert len(ENCAPSULATED) > 30


@pytest.mark.parametrize("path", ENCAPSULATED, ids=lambda path: path.name)
def test_encapsulated_frames_are_those_of_pydicom(path: Path) -> None:
    theirs = dcmread(path)
    data_set = data_set_of(path)
    mine = encapsulated_frames(data_set, syntax_of(path))
    number = int(theirs.get("NumberOfFrames", 1) or 1)
    expected = list(generate_frames(theirs.PixelData, number_of_frames=number))
    assert [each.rstrip(b"\0") for each in mine] == [each.rstrip(b"\0") for each in expected]


def image(number_of_frames: int, pixel_data: bytes) -> bytes:
    """Return a data set of 8 by 8 pixels."""
    frames_text = str(number_of_frames).encode().ljust(10)
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
def test_frames_of_several_fragments_are_put_together(
    has_table: bool, sizes: list[int], pieces: int
) -> None:
    whole = [bytes([n + 1]) * (2 * size) + b"\xff\xd9" for n, size in enumerate(sizes)]
    data = encapsulate(whole, fragments_per_frame=pieces, has_bot=has_table)
    data_set = image(len(whole), data)
    assert encapsulated_frames(data_set, JPEG_BASELINE) == whole


def test_fragments_without_frame_boundaries_are_refused() -> None:
    data = encapsulate([b"ab" * 20, b"cd" * 20], fragments_per_frame=2, has_bot=False)
    data_set = image(2, data)
    with pytest.raises(FrameNotFound, match="4 fragments for 2 frames"):
        encapsulated_frames(data_set, JPEG_BASELINE)


@pytest.mark.parametrize(
    "table",
    [
        struct.pack("<3I", 0, 0, 0),
        struct.pack("<3I", 0, 11, 20),
        struct.pack("<3I", 0, 20, 10),
        struct.pack("<3I", 10, 20, 30),
        struct.pack("<3I", 0, 10, 60),
        struct.pack("<3I", 0, 10, 2**32 - 1),
        struct.pack("<2I", 0, 10),
        struct.pack("<3Q", 0, 0, 0),
        struct.pack("<3Q", 0, 10, 2**64 - 1),
        b"",
        b"123",
    ],
)
def test_an_offset_table_that_does_not_fit_is_ignored(table: bytes) -> None:
    index = index_of(image(3, encapsulate([b"ab"] * 6, has_bot=False)))
    assert index.starts_by_table(table) is None


@pytest.mark.parametrize("code", ["<3I", "<3Q"])
def test_an_offset_table_that_fits_gives_the_first_fragments(code: str) -> None:
    index = index_of(image(3, encapsulate([b"ab"] * 6, has_bot=False)))
    assert index.starts_by_table(struct.pack(code, 0, 10, 40)) == (0, 1, 4)


def jpeg(number: int, length: int = 40) -> bytes:
    """Return bytes that begin and end as a JPEG does, with a thumbnail in an APP segment."""
    thumbnail = b"\xff\xd8\xff\xe0\x00\x02" + b"\xff\xd9"
    return b"\xff\xd8\xff\xe1\x00\x0a" + thumbnail + bytes([number]) * length + b"\xff\xd9"


def fragments(*each: bytes) -> bytes:
    items = [b"", *each]
    return b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(one)) + one for one in items)


def pieces(whole: bytes, *places: int) -> list[bytes]:
    ends = [*places, len(whole)]
    return [whole[a:b] for a, b in zip([0, *places], ends, strict=True)]


@pytest.mark.parametrize(
    "places",
    [
        (20,),
        (14,),  # behind the thumbnail's end
        (6,),  # before the thumbnail's begin
        (2,),
        (2, 4, 6),
        (52,),  # before the marker that ends the image
        (53,),  # within it
        (50, 52, 53),
    ],
)
def test_markers_tell_frames_wherever_their_fragments_are_cut(places: tuple[int, ...]) -> None:
    whole = [jpeg(n) for n in (1, 2, 3)]
    data_set = image(3, fragments(*[piece for each in whole for piece in pieces(each, *places)]))
    index = index_of(data_set)
    starts = starts_by_markers(data_set, index)
    assert starts == tuple(n * (len(places) + 1) for n in range(3))


def test_padding_behind_an_image_does_not_hide_its_end() -> None:
    parts = [piece for n in (1, 2) for piece in pieces(jpeg(n) + b"\0" * n, 30)]
    data_set = image(2, fragments(*parts))
    assert starts_by_markers(data_set, index_of(data_set)) == (0, 2)


def test_an_image_without_an_end_does_not_join_the_next() -> None:
    parts = [piece for n in (1, 2) for piece in pieces(jpeg(n)[:-2], 30)]
    data_set = image(2, fragments(*parts))
    assert starts_by_markers(data_set, index_of(data_set)) == (0, 2)


def test_more_images_than_frames_are_separated_too() -> None:
    data_set = image(2, fragments(*[jpeg(n) for n in range(3)]))
    assert starts_by_markers(data_set, index_of(data_set))[:2] == (0, 1)


def test_fragments_of_rle_are_recognized_by_their_headers() -> None:
    header = struct.pack("<16I", 1, 64, *[0] * 14)
    data_set = image(2, fragments(header, b"1234", header, b"5678"))
    assert starts_by_markers(data_set, index_of(data_set, RLE)) == (0, 2)


def test_a_syntax_without_markers_says_so() -> None:
    data_set = image(2, fragments(b"12", b"34", b"56"))
    assert not index_of(data_set, JPEG_XL).has_markers
    assert index_of(data_set, JPEG_2000).has_markers


def test_a_boundary_holds_a_table_to_account() -> None:
    data_set = image(2, fragments(*[piece for n in (1, 2) for piece in pieces(jpeg(n), 30)]))
    index = index_of(data_set)
    found = index.boundaries([read(data_set, index.boundary(n)) for n in range(3)])
    wrong = [[index.contradicts(b, n, s) for n, b in enumerate(found)] for s in [(0, 2), (0, 1)]]
    assert wrong == [[False] * 3, [True, True, False]]
    assert [index.around((0, 2), n) for n in (1, 2)] == [range(2), range(1, 3)]


def test_fewer_fragments_than_frames_are_refused_at_once() -> None:
    with pytest.raises(FrameNotFound, match="1 fragments for 2000000000 frames"):
        index_of(image(2000000000, fragments(jpeg(1))))


def test_more_fragments_than_are_noted_leave_no_index() -> None:
    data_set = image(4, encapsulate([b"ab"] * 4))
    scanner = Scanner(JPEG_BASELINE, ParserLimits(fragments=4))
    scanner.feed(data_set)
    assert image_pixels(scanner.finish()).bulk.fragments is None


def test_offsets_add_up() -> None:
    lengths = (0, 10, 20, 30)
    data_set = image(3, b"")
    pixels = image_pixels(scan(data_set, JPEG_BASELINE))
    index = FragmentIndex(pixels, lengths, JPEG_BASELINE)
    begins = [index.frame((0, 1, 2), n).offset - pixels.bulk.offset for n in (1, 2, 3)]
    assert begins == [16 + each for each in accumulate((18, 28), initial=0)]

import struct

import pytest
from pydicom.encaps import encapsulate

from dimse_ingestion.dicom.frames import FrameNotFound
from dimse_ingestion.dicom.limits import ParserLimits
from dimse_ingestion.dicom.scanner import Scanner
from dimse_ingestion.operations.frame_reader import FrameReader
from dimse_ingestion.operations.retrieve import Retriever
from dimse_ingestion.queries.contract import Located
from tests.retrievable import Archive
from tests.unit.operations.fragmented import fragments, jpeg, jpeg_like, multi_frame, stored

JPEG_XL = "1.2.840.10008.1.2.4.110"


def frame_reader(archive: Archive) -> FrameReader:
    return FrameReader(Retriever(archive.bucket, archive.queries))


@pytest.mark.parametrize(("has_table", "reads"), [(True, 2 + 3 + 2), (False, 600)])
async def test_frame_boundaries_are_read_once(has_table: bool, reads: int) -> None:
    frames = jpeg_like(300)
    value = encapsulate(frames, fragments_per_frame=2, has_bot=has_table)
    archive, located = await stored(300, value)
    reader = frame_reader(archive)
    for number in (7, 300):
        place = (await reader.locate(located, [number]))[0]
        assert await reader.read_frame(place) == frames[number - 1]
    assert len(archive.bucket.reads) == reads + 2


async def test_item_lengths_unknown_to_the_catalogue_are_read_once() -> None:
    frames = jpeg_like(50, 50_000)
    archive, located = await stored(50, encapsulate(frames, has_bot=False))
    scanner = Scanner(located.transfer_syntax_uid, ParserLimits(fragments=0))
    scanner.feed(multi_frame(50, encapsulate(frames, has_bot=False)))
    unknown = Located(
        elements=scanner.finish(),
        transfer_syntax_uid=located.transfer_syntax_uid,
        bucket_name=located.bucket_name,
        object_name=located.object_name,
        size=located.size,
        header_size=located.header_size,
        sha256=located.sha256,
    )
    reader = frame_reader(archive)
    for number in (1, 50, 50):
        place = (await reader.locate(unknown, [number]))[0]
        assert await reader.read_frame(place) == frames[number - 1]
    assert len(archive.bucket.reads) <= 50 + 3


async def test_a_video_has_no_frames_of_its_own() -> None:
    archive, located = await stored(100, encapsulate([b"\0\0\1\xb3" * 100], has_bot=False))
    with pytest.raises(FrameNotFound, match="1 fragments for 100 frames"):
        await frame_reader(archive).locate(located, [2])


def halves(number: int) -> list[bytes]:
    return [half for n in range(1, number + 1) for half in (jpeg(n)[:30], jpeg(n)[30:])]


def offsets(code: str, *fragment: int) -> bytes:
    """Return offsets of fragments that are halves."""
    return struct.pack(code, *[n // 2 * 76 + n % 2 * 38 for n in fragment])


@pytest.mark.parametrize(
    ("basic", "extended"),
    [
        (b"", b""),
        (bytes(12), b""),
        (b"", bytes(24)),
        (bytes(12), bytes(24)),
        (b"\0" * 10, b""),
        (offsets("<3I", 0, 2, 4), b""),
        (b"", offsets("<3Q", 0, 2, 4)),
        (offsets("<3I", 0, 1, 2), b""),  # fits fragments, and is wrong
        (offsets("<3I", 0, 2, 3), b""),
        (b"", offsets("<3Q", 0, 1, 4)),
        (offsets("<3I", 0, 4, 2), bytes(24)),
        (offsets("<2I", 0, 2), b""),
        (struct.pack("<3I", 0, 77, 2**32 - 1), b""),
    ],
)
async def test_frames_are_correct_with_any_offset_table(basic: bytes, extended: bytes) -> None:
    value = fragments(*halves(3), table=basic)
    archive, located = await stored(3, value, table=extended)
    for order in ([1, 2, 3], [3, 1], [2]):
        reader = frame_reader(archive)
        for place in await reader.locate(located, order):
            assert await reader.read_frame(place) == jpeg(place.number)


async def test_a_correct_table_costs_reads_around_the_frame_only() -> None:
    count = 200
    table = offsets(f"<{count}I", *range(0, 2 * count, 2))
    archive, located = await stored(count, fragments(*halves(count), table=table))
    reader = frame_reader(archive)
    (place,) = await reader.locate(located, [100])
    assert await reader.read_frame(place) == jpeg(100)
    assert len(archive.bucket.reads) == 2 + 3 + 1  # table and first bytes; around it; itself


async def test_one_frame_of_many_fragments_costs_one_read_more() -> None:
    archive, located = await stored(1, fragments(*[jpeg(1)[n : n + 2] for n in range(0, 60, 2)]))
    reader = frame_reader(archive)
    (place,) = await reader.locate(located, [1])
    assert await reader.read_frame(place) == jpeg(1)
    assert len(archive.bucket.reads) == 2


async def test_more_images_than_the_single_frame_declared_are_separated() -> None:
    archive, located = await stored(1, fragments(jpeg(1), jpeg(2), jpeg(3)))
    reader = frame_reader(archive)
    (place,) = await reader.locate(located, [1])
    assert place.length == len(jpeg(1))
    assert await reader.read_frame(place) == jpeg(1)


async def test_an_offset_table_is_used_where_images_have_no_markers() -> None:
    table = struct.pack("<2I", 0, 20)
    archive, located = await stored(2, fragments(b"12", b"34", b"56", table=table), JPEG_XL)
    reader = frame_reader(archive)
    places = await reader.locate(located, [1, 2])
    assert [await reader.read_frame(place) for place in places] == [b"1234", b"56"]


async def test_fragments_without_table_and_markers_are_refused_without_reading_them() -> None:
    archive, located = await stored(2, fragments(b"12", b"34", b"56"), JPEG_XL)
    with pytest.raises(FrameNotFound, match="3 fragments for 2 frames"):
        await frame_reader(archive).locate(located, [1])
    assert not archive.bucket.reads

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID

from dimse_ingestion.dicom.frames import FrameNotFound
from dimse_ingestion.operations import frame_reader as frame_reader_module
from dimse_ingestion.operations.frame_reader import FrameReader
from dimse_ingestion.operations.retrieve import Retriever
from dimse_ingestion.queries.contract import Located
from tests.retrievable import Archive
from tests.storable import storable
from tests.unit.operations.fragmented import fragments, jpeg, jpeg_like, stored

DAMAGED = {"badVR.dcm"}
EXPLICIT = "1.2.840.10008.1.2.1"
UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
VIDEO = "1.2.840.10008.1.2.4.102"


def images() -> Iterator[Path]:
    for path in storable():
        if path.name not in DAMAGED and "PixelData" in dcmread(path, specific_tags=["PixelData"]):
            yield path


def frame_reader(archive: Archive) -> FrameReader:
    return FrameReader(Retriever(archive.bucket, archive.queries))


async def all_frames(archive: Archive, located: Located) -> list[bytes]:
    frames = frame_reader(archive)
    first = (await frames.locate(located, [1]))[0]
    numbers = range(1, first.pixels.number_of_frames + 1)
    contents = []
    for place in await frames.locate(located, numbers):
        contents.append(b"".join([chunk async for chunk in frames.chunks(place)]))
        assert len(contents[-1]) == place.length
    return contents


@pytest.mark.parametrize("path", list(images()), ids=lambda path: path.name)
async def test_every_frame_of_every_file_equals_pydicoms(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        frame_reader_module, "_MAX_WHOLE_READ", 30_000
    )  # larger ones come in pieces
    theirs = dcmread(path)
    archive = Archive()
    mine = await all_frames(archive, await archive.add_file(path))
    number = int(theirs.get("NumberOfFrames", 1) or 1)
    assert len(mine) == number
    if theirs.file_meta.TransferSyntaxUID.is_encapsulated:
        expected = list(generate_frames(theirs.PixelData, number_of_frames=number))
        assert [each.rstrip(b"\0") for each in mine] == [each.rstrip(b"\0") for each in expected]
        return
    alone = dcmread(path)
    alone.NumberOfFrames = 1
    alone.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    alone.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
    for frame, samples in zip(mine, iter_pixels(theirs, raw=True), strict=True):
        alone.PixelData = frame + b"\0" * (len(frame) % 2)
        assert (next(iter_pixels(alone, raw=True)) == samples).all()


async def test_a_frame_of_many_costs_one_read_of_its_own_length() -> None:
    frames = jpeg_like(3000)
    archive, located = await stored(3000, encapsulate(frames, has_bot=False))
    place = (await (reader := frame_reader(archive)).locate(located, [2000]))[0]
    assert await reader.read_frame(place) == frames[1999]
    assert [length for _, _, length in archive.bucket.reads] == [5002]


async def test_a_frame_number_beyond_the_last_is_refused_without_a_read() -> None:
    archive, located = await stored(3, encapsulate(jpeg_like(3), has_bot=False))
    with pytest.raises(FrameNotFound, match="no frame 4"):
        await frame_reader(archive).locate(located, [1, 4])
    assert not archive.bucket.reads


async def test_samples_in_fragments_are_cut_to_their_length() -> None:
    archive, located = await stored(2, fragments(bytes(256) + b"\1\1", bytes(256)), UNCOMPRESSED)
    reader = frame_reader(archive)
    for place in await reader.locate_all(located):
        assert place.length == 256
        assert await reader.read_frame(place) == bytes(256)
        assert [chunk async for chunk in reader.chunks(place)] == [bytes(256)]


async def test_a_fragment_with_fewer_samples_than_a_frame_is_refused() -> None:
    archive, located = await stored(2, fragments(bytes(256), bytes(100)), UNCOMPRESSED)
    with pytest.raises(FrameNotFound, match="100 bytes"):
        await frame_reader(archive).locate(located, [2])


async def test_fragments_in_a_native_syntax_are_frames_too() -> None:
    archive, located = await stored(2, fragments(bytes(256), b"\2" * 256), EXPLICIT)
    reader = frame_reader(archive)
    (place,) = await reader.locate(located, [2])
    assert await reader.read_frame(place) == b"\2" * 256


async def test_a_range_of_all_fragments_is_read_without_item_headers() -> None:
    archive, located = await stored(30, fragments(b"abcdef", b"ghij", b"klmn"), VIDEO)
    reader = frame_reader(archive)
    places = await reader.fragments(located)

    async def part(offset: int, length: int) -> bytes:
        return b"".join(
            [each async for each in reader.read_fragments(located, places, offset, length)]
        )

    assert await part(0, 14) == b"abcdefghijklmn"
    assert await part(4, 8) == b"efghijkl"
    assert await part(6, 2) == b"gh"


async def test_an_impossible_number_of_frames_is_refused_before_locating_them() -> None:
    archive, located = await stored(2000000000, fragments(b"12", b"34"))
    with pytest.raises(FrameNotFound, match="2 fragments for 2000000000"):
        await frame_reader(archive).locate_all(located)


@pytest.mark.parametrize(
    "wrong",
    [
        [jpeg(1)[:30], jpeg(1)[30:], jpeg(2)[:20], jpeg(2)[20:]],
        [jpeg(1), jpeg(2), jpeg(3)[:30], jpeg(3)[30:]],
    ],
)
async def test_a_fragment_for_each_frame_that_begins_within_an_image_is_refused(
    wrong: list[bytes],
) -> None:
    archive, located = await stored(4, fragments(*wrong))
    reader = frame_reader(archive)
    (place,) = await reader.locate(located, [4])
    with pytest.raises(FrameNotFound, match="nothing that separates them"):
        await reader.read_frame(place)


async def test_a_frame_without_an_end_marker_is_returned() -> None:
    archive, located = await stored(2, fragments(jpeg(1)[:-2], jpeg(2)[:-2]))
    reader = frame_reader(archive)
    (place,) = await reader.locate(located, [2])
    assert await reader.read_frame(place) == jpeg(2)[:-2]


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_an_empty_fragment_is_not_a_frame(number: int) -> None:
    value = fragments(*[b"" if n == number else jpeg(n) for n in (1, 2, 3)])
    archive, located = await stored(3, value)
    reader = frame_reader(archive)
    with pytest.raises(FrameNotFound, match=f"Frame {number} is empty"):
        await reader.locate(located, [number])
    (other,) = await reader.locate(located, [number % 3 + 1])
    assert await reader.read_frame(other) == jpeg(number % 3 + 1)
    assert all(length for _, _, length in archive.bucket.reads)


async def test_frames_with_empty_fragments_among_them_are_refused() -> None:
    value = fragments(b"", jpeg(1)[:30], jpeg(1)[30:], b"", jpeg(2), b"")
    archive, located = await stored(2, value)
    reader = frame_reader(archive)
    with pytest.raises(FrameNotFound, match="nothing that separates them"):
        await reader.locate(located, [1])
    assert all(length for _, _, length in archive.bucket.reads)

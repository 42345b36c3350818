import struct

import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import iter_pixels

from dimse_ingestion.dicom.frames import NoFrame
from dimse_ingestion.dicom.keeping import Limits
from dimse_ingestion.dicom.scanning import Scanner
from dimse_ingestion.operations import frame_reading as room
from dimse_ingestion.operations.frame_reading import FrameReading
from dimse_ingestion.operations.retrieving import Retrieving
from dimse_ingestion.queries.contract import Located
from tests.retrievable import Archive
from tests.storable import storable

DAMAGED = {"badVR.dcm"}


def images():
    for path in storable():
        if path.name not in DAMAGED and "PixelData" in dcmread(path, specific_tags=["PixelData"]):
            yield path


def reading(archive: Archive) -> FrameReading:
    return FrameReading(Retrieving(archive.bucket, archive.queries))


async def all_frames(archive: Archive, located: Located) -> list[bytes]:
    frames = reading(archive)
    first = (await frames.places(located, [1]))[0]
    numbers = range(1, first.pixels.number_of_frames + 1)
    found = []
    for place in await frames.places(located, numbers):
        found.append(b"".join([chunk async for chunk in frames.chunks(place)]))
        assert len(found[-1]) == place.length
    return found


@pytest.mark.parametrize("path", list(images()), ids=lambda path: path.name)
async def test_every_frame_of_every_file_is_pydicoms(path, monkeypatch):
    monkeypatch.setattr(room, "_READ_WHOLE", 30_000)  # larger ones come in pieces
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
    alone.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    alone.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
    for frame, samples in zip(mine, iter_pixels(theirs, raw=True), strict=True):
        alone.PixelData = frame + b"\0" * (len(frame) % 2)
        assert (next(iter_pixels(alone, raw=True)) == samples).all()


def multi_frame(number: int, value: bytes) -> bytes:
    head = b"".join(
        struct.pack("<HH2sH", group, tag, vr, len(text)) + text
        for group, tag, vr, text in [
            (8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.3.1\0"),
            (8, 0x18, b"UI", b"1.2.3.4\0"),
            (0x20, 0x0D, b"UI", b"1.2\0"),
            (0x20, 0x0E, b"UI", b"1.2.3\0"),
            (0x28, 0x02, b"US", b"\1\0"),
            (0x28, 0x08, b"IS", str(number).encode().ljust(6)),
            (0x28, 0x10, b"US", b"\x10\0"),
            (0x28, 0x11, b"US", b"\x10\0"),
            (0x28, 0x100, b"US", b"\x08\0"),
        ]
    )
    pixel_data = struct.pack("<HH2s2xI", 0x7FE0, 0x10, b"OB", 0xFFFFFFFF) + value
    return head + pixel_data + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


async def stored(number: int, value: bytes) -> tuple[Archive, Located]:
    archive = Archive()
    located = await archive.add(
        multi_frame(number, value),
        "1.2.840.10008.1.2.4.50",
        uid="1.2.3.4",
        sop="1.2.840.10008.5.1.4.1.1.3.1",
    )
    return archive, located


def jpeg_like(number: int, length: int = 5000) -> list[bytes]:
    return [bytes([n % 250]) * length + b"\xff\xd9" for n in range(number)]


async def test_a_frame_of_many_costs_one_read_of_its_own_length():
    frames = jpeg_like(3000)
    archive, located = await stored(3000, encapsulate(frames, has_bot=False))
    place = (await (read := reading(archive)).places(located, [2000]))[0]
    assert await read.whole(place) == frames[1999]
    assert [length for _, _, length in archive.bucket.reads] == [5002]


@pytest.mark.parametrize(("has_table", "reads"), [(True, 1), (False, 600)])
async def test_fragments_are_told_apart_once(has_table, reads):
    frames = jpeg_like(300)
    value = encapsulate(frames, fragments_per_frame=2, has_bot=has_table)
    archive, located = await stored(300, value)
    read = reading(archive)
    for number in (7, 300):
        place = (await read.places(located, [number]))[0]
        assert await read.whole(place) == frames[number - 1]
    assert len(archive.bucket.reads) == reads + 2


async def test_what_is_not_in_the_catalogue_is_walked_once():
    frames = jpeg_like(50, 50_000)
    archive, located = await stored(50, encapsulate(frames, has_bot=False))
    scanner = Scanner(located.transfer_syntax_uid, Limits(fragments=0))
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
    read = reading(archive)
    for number in (1, 50, 50):
        place = (await read.places(unknown, [number]))[0]
        assert await read.whole(place) == frames[number - 1]
    assert len(archive.bucket.reads) <= 50 + 3


async def test_a_video_has_no_frames_of_its_own():
    archive, located = await stored(100, encapsulate([b"\0\0\1\xb3" * 100], has_bot=False))
    with pytest.raises(NoFrame, match="1 fragments for 100 frames"):
        await reading(archive).places(located, [2])


async def test_frames_that_are_not_there_are_refused_without_a_read():
    archive, located = await stored(3, encapsulate(jpeg_like(3), has_bot=False))
    with pytest.raises(NoFrame, match="no frame 4"):
        await reading(archive).places(located, [1, 4])
    assert not archive.bucket.reads
